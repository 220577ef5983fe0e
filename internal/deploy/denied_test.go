package deploy

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
)

// denySecrets makes the stub's user one who may do nothing with Secrets.
func denySecrets(s *stub) {
	forbidden := func() error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "keys", nil)
	}
	s.refuse = func(u *unstructured.Unstructured, _ metav1.PatchOptions) error {
		if u.GetKind() == "Secret" {
			return forbidden()
		}
		return nil
	}
	s.PrependReactor("list", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden() })
	s.PrependReactor("list", "persistentvolumeclaims", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden() })
}

func recordedKinds(t *testing.T, d *Deployer) string {
	t.Helper()
	cm, err := d.parent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if cm == nil {
		return "no parent"
	}
	return cm.Annotations[groupKindsAnnot] + " in " + cm.Annotations[namespacesAnnot]
}

const settingsAndKeys = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\n"

// A kind of which nothing may be written leaves no trace in the set: prune and down go on.
func TestADeniedKindDoesNotStayInTheSet(t *testing.T) {
	d, s := stubbed(t, t.TempDir())
	denySecrets(s)
	_, err := d.Apply(t.Context(), Copy(parse(t, settingsAndKeys+"---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: other}\n")))
	if !hasCode(err, "rbac-denied") {
		t.Fatalf("%v", err)
	}
	if got := recordedKinds(t, d); got != "ConfigMap in " {
		t.Errorf("the set has %s", got)
	}
	pruned, err := d.PruneReport(t.Context(), parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"))
	if err != nil || len(pruned.Unseen) > 0 {
		t.Errorf("%+v, %v", pruned, err)
	}
	report, err := d.Down(t.Context(), DownOptions{})
	if err != nil || strings.Join(report.Removed, " ") != "ConfigMap/settings" {
		t.Errorf("%+v, %v", report, err)
	}
}

// What somebody else has made stays in the set's record, and keeps nothing else back.
func TestAKindThatCannotBeListedKeepsNothingElseBack(t *testing.T) {
	d, s := stubbed(t, t.TempDir())
	two := settingsAndKeys + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n"
	if _, err := d.Apply(t.Context(), Copy(parse(t, two))); err != nil {
		t.Fatal(err)
	}
	denySecrets(s)
	pruned, err := d.PruneReport(t.Context(), parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"))
	if err != nil || strings.Join(pruned.Removed, " ") != "ConfigMap/more" || strings.Join(pruned.Unseen, " ") != "Secret in namespace shop" {
		t.Errorf("%+v, %v", pruned, err)
	}
	report, err := d.Down(t.Context(), DownOptions{})
	if err != nil || strings.Join(report.Removed, " ") != "ConfigMap/settings" || !slices.ContainsFunc(report.Kept, func(k Kept) bool {
		return k.Object == "Secret in namespace shop" && strings.Contains(k.Why, "may not list")
	}) {
		t.Errorf("%+v, %v", report, err)
	}
	if got := recordedKinds(t, d); got != "Secret in " {
		t.Errorf("the set has %s", got)
	}
}
