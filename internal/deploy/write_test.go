package deploy

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/problem"
)

// owners makes a stub answer applies as one on which others own fields, by their paths.
func (s *stub) owners(by map[string]string) {
	s.refuse = func(u *unstructured.Unstructured, o metav1.PatchOptions) error {
		var causes []metav1.StatusCause
		for field, manager := range by {
			_, has, _ := unstructured.NestedFieldNoCopy(u.Object, strings.Split(strings.TrimPrefix(field, "."), ".")...)
			if u.GetKind() == "Deployment" && has && (o.Force == nil || !*o.Force) {
				causes = append(causes, metav1.StatusCause{Type: metav1.CauseTypeFieldManagerConflict, Field: field, Message: fmt.Sprintf("conflict with %q using apps/v1", manager)})
			}
		}
		if len(causes) == 0 {
			return nil
		}
		return apierrors.NewApplyConflict(causes, "Apply failed")
	}
}

// Replicas that somebody scaled stay, whatever else is in conflict; a diff says what an apply
// would do of that.
func TestScaledBesideOtherConflicts(t *testing.T) {
	const text = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 1, paused: false, minReadySeconds: 5}
`
	for _, tc := range []struct {
		name   string
		owners map[string]string
		left   string // replicas and minReadySeconds after the apply
		notes  string
		code   string
		diff   string // the fields, and why
	}{
		{"nobody", nil, "1 5", "", "", "spec.minReadySeconds spec.replicas"},
		{"scaled", map[string]string{".spec.replicas": "hpa"}, "3 5", "Deployment/web keeps its number of replicas, which hpa set", "", "spec.minReadySeconds"},
		{"scaled and edited", map[string]string{".spec.replicas": "hpa", ".spec.minReadySeconds": "kubectl-edit"}, "3 5", "Deployment/web keeps its number of replicas, which hpa set", "", "spec.minReadySeconds"},
		{"scaled and another's", map[string]string{".spec.replicas": "hpa", ".spec.minReadySeconds": "argocd"}, "3 1", "", "object-conflict",
			"spec.minReadySeconds: fields of it belong to argocd (spec.minReadySeconds), so that an apply is refused"},
		{"created", map[string]string{".spec.replicas": "kubectl-create"}, "1 5", "", "", "spec.minReadySeconds spec.replicas"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, s := stubbed(t, "")
			if _, err := d.Apply(t.Context(), parse(t, strings.NewReplacer("replicas: 1", "replicas: 3", "Seconds: 5", "Seconds: 1").Replace(text))); err != nil {
				t.Fatal(err)
			}
			s.owners(tc.owners)
			diffs, err := d.Diff(t.Context(), parse(t, text))
			if err != nil || len(diffs) != 1 {
				t.Fatalf("%+v, %v", diffs, err)
			}
			var fields []string
			for _, f := range diffs[0].Fields {
				fields = append(fields, f.Path)
			}
			got := strings.Join(fields, " ")
			if diffs[0].Why != "" {
				got += ": " + diffs[0].Why
			}
			if got != tc.diff {
				t.Errorf("diff %q, want %q", got, tc.diff)
			}
			applied, err := d.Apply(t.Context(), parse(t, text))
			if p := problem.As(err); tc.code == "" && err != nil || tc.code != "" && (p == nil || p.Code != tc.code) {
				t.Errorf("error %v", err)
			}
			if notes := strings.Join(applied.Notes, ", "); notes != tc.notes {
				t.Errorf("notes %q, want %q", notes, tc.notes)
			}
			live, err := s.Tracker().Get(deployments, "shop", "web")
			if err != nil {
				t.Fatal(err)
			}
			spec := live.(*unstructured.Unstructured).Object["spec"].(map[string]any)
			if left := fmt.Sprint(spec["replicas"], " ", spec["minReadySeconds"]); left != tc.left {
				t.Errorf("left %s, want %s", left, tc.left)
			}
		})
	}
}

func TestScaled(t *testing.T) {
	const wide = `{"f:spec":{"f:replicas":{}}}`
	for name, c := range map[string]struct {
		manifest    string // what it says of replicas
		have        int64
		manager     string
		subresource string
		told        bool
	}{
		"as the manifest says": {"replicas: 3, ", 3, "kubectl", "scale", false},
		"by kubectl scale":     {"replicas: 3, ", 2, "kubectl", "scale", true},
		"by kubectl edit":      {"replicas: 3, ", 2, "kubectl-edit", "", true},
		"by an autoscaler":     {"replicas: 3, ", 2, autoscaler, "scale", false},
		"another field":        {"replicas: 3, ", 2, "kubectl", "status", false},
		"no number":            {"", 2, "kubectl", "scale", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {"+c.manifest+"selector: {}}\n")[0]
			live := o.Unstructured.DeepCopy()
			if err := unstructured.SetNestedField(live.Object, c.have, "spec", "replicas"); err != nil {
				t.Fatal(err)
			}
			live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: c.manager, Subresource: c.subresource, FieldsV1: metav1.NewFieldsV1(wide)}})
			if note := scaled(o, live); (note != "") != c.told || c.told && !strings.Contains(note, c.manager) {
				t.Errorf("%q", note)
			}
		})
	}
}
