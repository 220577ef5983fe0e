package deploy

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/problem"
)

// placed is an object of a kind in a namespace, "" where it names none.
func placed(kind, name, ns string) *Object {
	o := &Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{}}}
	o.SetAPIVersion(map[string]string{"RoleBinding": "rbac.authorization.k8s.io/v1", "Issuer": "cert-manager.io/v1"}[kind])
	if o.GetAPIVersion() == "" {
		o.SetAPIVersion("v1")
	}
	o.SetKind(kind)
	o.SetName(name)
	if ns != "" {
		o.SetNamespace(ns)
	}
	return o
}

func TestMoveNamespace(t *testing.T) {
	binding := placed("RoleBinding", "b", "shop")
	binding.Object["subjects"] = []any{map[string]any{"kind": "ServiceAccount", "name": "a", "namespace": "shop"}, map[string]any{"namespace": "kube-system"}}
	issuer := placed("Issuer", "i", "") // nobody knows whether it lives in a namespace
	objects := []*Object{placed("Service", "web", "shop"), issuer, placed("Namespace", "shop", ""), placed("Namespace", "other", ""), binding}
	if err := MoveNamespace(objects, "mine"); err != nil {
		t.Fatal(err)
	}
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

	d := New(nil, Options{Project: "shop", Namespace: "mine"})
	defer d.Close()
	var text strings.Builder
	if _, err := WriteDiff(&text, d.Declared(objects, Copy(objects)), false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"metadata.namespace\n", "metadata.name\n", "subjects[0].namespace\n", "- shop\n", "+ mine\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("declared without %q:\n%s", want, text.String())
		}
	}
}

// What does not move as a whole stays where it says, and what names no namespace too: it
// gets the environment's when it is applied.
func TestMoveNamespaceStays(t *testing.T) {
	source := func(n int, objects ...*Object) []*Object {
		for _, o := range objects {
			o.source = n
		}
		return objects
	}
	for name, tc := range map[string]struct {
		objects []*Object
		want    string
	}{
		"several":                   {[]*Object{placed("Service", "web", "shop"), placed("Service", "db", "data")}, "shop data"},
		"one names none":            {[]*Object{placed("ConfigMap", "conf", ""), placed("Service", "web", "shop"), placed("Namespace", "shop", "")}, "- shop -"},
		"of the cluster":            {[]*Object{placed("RoleBinding", "reader", "kube-system")}, "kube-system"},
		"another source names none": {append(source(0, placed("Service", "web", "shop")), source(1, placed("ConfigMap", "conf", ""))...), "mine -"},
		"a source of its own kind":  {append(source(0, placed("Service", "web", "shop")), source(1, placed("ConfigMap", "conf", ""), placed("Service", "mon", "shop"))...), "shop - shop"},
		"a chart of the release":    {append(source(0, placed("Service", "web", "shop")), source(1, placed("Service", "db", "mine"))...), "mine mine"},
		"one is there already":      {[]*Object{placed("Service", "web", "shop"), placed("Service", "db", "mine")}, "shop mine"},
	} {
		if err := MoveNamespace(tc.objects, "mine"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, o := range tc.objects {
			got = append(got, orElse(o.GetNamespace(), "-"))
			if o.GetKind() == "Namespace" && o.GetName() != "shop" {
				t.Errorf("%s: the Namespace is called %s", name, o.GetName())
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: in %s, want %s", name, strings.Join(got, " "), tc.want)
		}
	}
}

func TestMoveNamespaceDuplicate(t *testing.T) {
	for _, objects := range [][]*Object{
		{placed("ConfigMap", "conf", ""), placed("ConfigMap", "conf", "mine")},
		{placed("Service", "web", "shop"), placed("Namespace", "shop", ""), placed("Namespace", "mine", "")},
	} {
		if p := problem.As(MoveNamespace(objects, "mine")); p == nil || p.Code != "manifest-duplicate" {
			t.Errorf("%s: %v", RefOf(objects[0]), p)
		}
	}
}
