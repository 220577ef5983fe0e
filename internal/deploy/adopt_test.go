package deploy

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// managedBy notes who manages which fields of an object.
func managedBy(u *unstructured.Unstructured, entries ...string) *unstructured.Unstructured {
	u = u.DeepCopy()
	list := u.GetManagedFields()
	for _, e := range entries {
		manager, fields, _ := strings.Cut(e, " ")
		operation := metav1.ManagedFieldsOperationUpdate
		if manager == fieldManager {
			operation = metav1.ManagedFieldsOperationApply
		}
		list = append(list, metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, APIVersion: u.GetAPIVersion(), FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)})
	}
	u.SetManagedFields(list)
	return u
}

// What kubectl apply wrote and the manifests no longer have goes at the first apply, which
// takes its fields over: a diff shows it. What others own too stays, and so does a default.
func TestAfterAdoption(t *testing.T) {
	was := parse(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {mine: "1", theirs: "2"}}
spec:
  template:
    spec:
      restartPolicy: Always
      containers:
      - name: web
        image: web:1
        imagePullPolicy: IfNotPresent
        env: [{name: A, value: "1"}, {name: OLD, value: "x"}, {name: SHARED, value: "y"}]
`)[0].Unstructured
	const env = `"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:image":{},"f:env":{`
	item := func(name string) string {
		return `"k:{\"name\":\"` + name + `\"}":{".":{},"f:name":{},"f:value":{}}`
	}
	kubectl := `kubectl-client-side-apply {"f:metadata":{"f:annotations":{".":{},"f:mine":{},"f:theirs":{}}},` + env + `".":{},` + item("A") + "," + item("OLD") + "," + item("SHARED") + "}}}}}}}"
	other := `operator {"f:metadata":{"f:annotations":{"f:theirs":{}}},` + env + item("SHARED") + "}}}}}}}"
	live := managedBy(was, kubectl, other)
	now := managedBy(live, "kdev {"+env+item("A")+"}}}}}}}")

	left := afterAdoption(live, now)
	var paths []string
	for _, f := range fieldDiffs(plainForm(live), plainForm(left), false) {
		if f.To != nil {
			t.Errorf("%s becomes %v", f.Path, f.To)
		}
		paths = append(paths, f.Path)
	}
	if got, want := strings.Join(paths, " "), "metadata.annotations.mine spec.template.spec.containers[web].env[OLD]"; got != want {
		t.Errorf("what goes: %s\nwant: %s", got, want)
	}
	if adopted := managedBy(live, "kdev {}"); afterAdoption(adopted, now) != now {
		t.Error("an object that kdev applied is adopted again")
	}
}
