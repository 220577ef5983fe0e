package deploy

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// MoveNamespace puts objects whose manifests name one namespace for all of
// them into another: `-n` and `namespace:` of kdev.yaml win over a
// kustomization. Manifests that spread over several namespaces mean it, and
// stay as they are. It writes to objects.
func MoveNamespace(objects []*Object, to string) {
	from := ""
	for _, o := range objects {
		switch ns := o.GetNamespace(); {
		case ns == "" || ns == from:
		case from != "":
			return
		default:
			from = ns
		}
	}
	if from == "" || from == to {
		return
	}
	for _, o := range objects {
		if o.GetNamespace() == from {
			o.SetNamespace(to)
		}
		if o.GetKind() == "Namespace" && o.GetName() == from {
			o.SetName(to)
		}
		moveSubjects(o, from, to)
	}
}

// moveSubjects follows the service accounts that role bindings name.
func moveSubjects(o *Object, from, to string) {
	if !slices.Contains([]string{"RoleBinding", "ClusterRoleBinding"}, o.GetKind()) {
		return
	}
	subjects, ok, _ := unstructured.NestedFieldNoCopy(o.Object, "subjects")
	list, isList := subjects.([]any)
	if !ok || !isList {
		return
	}
	for _, s := range list {
		if subject, ok := s.(map[string]any); ok && subject["namespace"] == from {
			subject["namespace"] = to
		}
	}
}
