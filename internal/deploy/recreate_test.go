package deploy

import (
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/problem"
)

const labelled = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web, common: shop}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec: {template: {spec: {containers: [{name: migrate, image: web}]}}}
`

// immutable refuses, as the API server does, another selector or another template of a Job.
func (s *stub) immutable(t *testing.T) {
	s.refuse = func(u *unstructured.Unstructured, _ metav1.PatchOptions) error {
		path := map[string][]string{"Deployment": {"spec", "selector"}, "Job": {"spec", "template"}}[u.GetKind()]
		gvr := map[string]schema.GroupVersionResource{"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"}, "Job": {Group: "batch", Version: "v1", Resource: "jobs"}}[u.GetKind()]
		was, err := s.Tracker().Get(gvr, u.GetNamespace(), u.GetName())
		if path == nil || err != nil {
			return nil
		}
		want, _, _ := unstructured.NestedFieldNoCopy(u.Object, path...)
		have, _, _ := unstructured.NestedFieldNoCopy(was.(*unstructured.Unstructured).Object, path...)
		var causes []metav1.StatusCause
		if !reflect.DeepEqual(want, have) {
			causes = append(causes, metav1.StatusCause{Field: strings.Join(path, "."), Message: "Invalid value: {}: field is immutable"})
		}
		if replicas, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); replicas < 0 {
			causes = append(causes, metav1.StatusCause{Field: "spec.replicas", Message: "Invalid value: -1: must be greater than or equal to 0"})
		}
		if len(causes) == 0 {
			return nil
		}
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 422, Reason: metav1.StatusReasonInvalid, Message: causes[0].Field + " " + causes[0].Message,
			Details: &metav1.StatusDetails{Causes: causes}}}
	}
	t.Cleanup(func() { s.refuse = nil })
}

// What is made anew is told with the field that it comes of, before by a diff and when it is done.
func TestRecreated(t *testing.T) {
	d, s := stubbed(t, "")
	first := parse(t, labelled)
	if _, err := d.Apply(t.Context(), Copy(first)); err != nil {
		t.Fatal(err)
	}
	s.immutable(t)
	changed := parse(t, strings.NewReplacer(", common: shop", "", "name: migrate, image: web", "name: migrate, image: other").Replace(labelled))
	diffs, err := d.Diff(t.Context(), changed)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _, err := WriteDiff(&text, diffs, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"± Deployment/web (recreated: spec.selector cannot be changed)", "spec.selector.matchLabels.common\n      - shop\n", "± Job/migrate (recreated: spec.template cannot be changed)"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the diff lacks %q:\n%s", want, text.String())
		}
	}
	// Outside dev, a workload that runs stays; a Job is there to run again.
	d.options.NoRecreate = true
	applied, err := d.Apply(t.Context(), Copy(changed))
	if p := problem.As(err); p == nil || p.Code != "object-immutable" || !strings.Contains(p.Summary, "spec.selector cannot be changed") || !strings.Contains(p.Hint, "--recreate") {
		t.Errorf("error %v", err)
	}
	if strings.Join(applied.Anew, ", ") != "Job/migrate is made anew: spec.template cannot be changed" {
		t.Errorf("anew: %v", applied.Anew)
	}
	d.options.NoRecreate = false
	// What is wrong besides would not be made again.
	if _, err := d.Apply(t.Context(), parse(t, strings.NewReplacer(", common: shop", "", "replicas: 2", "replicas: -1").Replace(labelled))[:1]); err == nil || s.there(t, "deployments") != "web" {
		t.Errorf("error %v; there is %q", err, s.there(t, "deployments"))
	}
	applied, err = d.Apply(t.Context(), Copy(changed))
	if err != nil || strings.Join(applied.Anew, ", ") != "Deployment/web is made anew: spec.selector cannot be changed" {
		t.Errorf("anew: %v, %v", applied.Anew, err)
	}
	if got := applied.Counts(); got != "0 created, 0 changed, 1 recreated, 1 unchanged" {
		t.Errorf("counts: %s", got)
	}
	// One that runs nothing is missed by nobody.
	idle := strings.Replace(labelled, "replicas: 2", "replicas: 0", 1)
	if _, err := d.Apply(t.Context(), parse(t, strings.Replace(idle, ", common: shop", "", 1))[:1]); err != nil {
		t.Fatal(err)
	}
	d.options.NoRecreate = true
	if _, err := d.Apply(t.Context(), parse(t, idle)[:1]); err != nil {
		t.Error(err)
	}
}
