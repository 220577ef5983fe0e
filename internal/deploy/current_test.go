package deploy

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// current is tested against a real API server too (TestUnchangedWritesNothing);
// here are the differences that it must not overlook.
func TestCurrent(t *testing.T) {
	const want = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  template:
    spec:
      hostNetwork: false
      containers:
      - {name: web, image: "web:1", resources: {limits: {cpu: 0.5}}, ports: [{containerPort: 80}]}
`
	const live = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}, uid: x}
spec:
  replicas: 2
  progressDeadlineSeconds: 600
  template:
    spec:
      restartPolicy: Always
      containers:
      - {name: web, image: "web:1", imagePullPolicy: Always, resources: {limits: {cpu: 500m}}, ports: [{containerPort: 80, protocol: TCP}]}
status: {replicas: 2}
`
	const owned = `{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:hostNetwork":{},"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:name":{},"f:image":{},"f:resources":{"f:limits":{"f:cpu":{}}},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}`
	containers := func(u *unstructured.Unstructured) []any {
		c, _, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "template", "spec", "containers")
		return c.([]any)
	}
	set := func(value any, fields ...string) func(w, l *unstructured.Unstructured) {
		return func(_, l *unstructured.Unstructured) {
			if err := unstructured.SetNestedField(l.Object, value, fields...); err != nil {
				panic(err)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		change func(want, live *unstructured.Unstructured)
		owned  string
		same   bool
	}{
		{"the same", func(_, _ *unstructured.Unstructured) {}, owned, true},
		{"never applied by kdev", func(_, _ *unstructured.Unstructured) {}, "", false},
		{"another image", func(_, l *unstructured.Unstructured) { containers(l)[0].(map[string]any)["image"] = "web:2" }, owned, false},
		{"a changed label", set("other", "metadata", "labels", "app"), owned, false},
		{"a label taken away", func(_, l *unstructured.Unstructured) { l.SetLabels(nil) }, owned, false},
		{"a label of somebody else", set("x", "metadata", "labels", "other"), owned, true},
		{"a field that left the manifest", func(w, _ *unstructured.Unstructured) { w.SetLabels(nil) }, owned, false},
		{"replicas that kdev set", set(int64(5), "spec", "replicas"), owned, false},
		{"replicas that somebody set", set(int64(5), "spec", "replicas"), `{"f:spec":{"f:template":{}}}`, true},
		{"a container that was injected", func(_, l *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(l.Object, append([]any{map[string]any{"name": "proxy", "image": "proxy:1"}}, containers(l)...), "spec", "template", "spec", "containers")
		}, owned, true},
		{"a container that is new in the manifest", func(w, _ *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(w.Object, append(containers(w), map[string]any{"name": "side", "image": "side:1"}), "spec", "template", "spec", "containers")
		}, owned, false},
		{"a container that left the manifest", func(w, _ *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(w.Object, []any{}, "spec", "template", "spec", "containers")
		}, owned, false},
		{"another limit", func(_, l *unstructured.Unstructured) {
			containers(l)[0].(map[string]any)["resources"] = map[string]any{"limits": map[string]any{"cpu": "600m"}}
		}, owned, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, l := &unstructured.Unstructured{}, &unstructured.Unstructured{}
			for text, u := range map[string]*unstructured.Unstructured{want: w, live: l} {
				if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
					t.Fatal(err)
				}
			}
			tc.change(w, l)
			if tc.owned != "" {
				l.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: fieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(tc.owned)}})
			}
			if got := current(w, l); got != tc.same {
				t.Errorf("current = %v", got)
			}
		})
	}
}

func FuzzCovered(f *testing.F) {
	f.Add(`{"f:spec":{"k:{\"name\":\"a\"}":{},"v:1":{}}}`, `{"spec":[{"name":"a"},1]}`)
	f.Fuzz(func(_ *testing.T, owned, want string) {
		var o map[string]any
		var w any
		if yaml.Unmarshal([]byte(owned), &o) == nil && yaml.Unmarshal([]byte(want), &w) == nil {
			covered(o, w)
			contained(w, nil, w, o, true)
		}
	})
}
