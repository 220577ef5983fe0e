package deploy

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestMoveNamespace(t *testing.T) {
	object := func(kind, name, ns string) *Object {
		o := &Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{}}}
		o.SetKind(kind)
		o.SetName(name)
		if ns != "" {
			o.SetNamespace(ns)
		}
		return o
	}
	binding := object("RoleBinding", "b", "shop")
	binding.Object["subjects"] = []any{map[string]any{"kind": "ServiceAccount", "name": "a", "namespace": "shop"}, map[string]any{"namespace": "kube-system"}}
	objects := []*Object{object("Service", "web", "shop"), object("ConfigMap", "c", ""), object("Namespace", "shop", ""), object("Namespace", "other", ""), binding}
	MoveNamespace(objects, "mine")
	for i, want := range []string{"mine", "", "", "", "mine"} {
		if got := objects[i].GetNamespace(); got != want {
			t.Errorf("%s is in %q, want %q", RefOf(objects[i]), got, want)
		}
	}
	if objects[2].GetName() != "mine" || objects[3].GetName() != "other" {
		t.Errorf("namespaces: %s, %s", objects[2].GetName(), objects[3].GetName())
	}
	subjects := binding.Object["subjects"].([]any)
	if subjects[0].(map[string]any)["namespace"] != "mine" || subjects[1].(map[string]any)["namespace"] != "kube-system" {
		t.Errorf("subjects: %v", subjects)
	}

	several := []*Object{object("Service", "web", "shop"), object("Service", "db", "data")}
	MoveNamespace(several, "mine")
	if several[0].GetNamespace() != "shop" || several[1].GetNamespace() != "data" {
		t.Error("manifests of several namespaces were moved")
	}
}
