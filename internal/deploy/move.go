package deploy

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/config"
)

// MoveNamespace puts objects whose manifests name one namespace for all of
// them into another: `-n` and `namespace:` of kdev.yaml win over a
// kustomization. Manifests that spread over several namespaces mean it, and
// stay as they are, and so does what a source names beside objects that name none: a
// RoleBinding in kube-system. It writes to objects, and refuses those that come to be the
// same: manifest-duplicate.
func MoveNamespace(objects []*Object, to string) error {
	if from := homeOf(objects, to); from != "" {
		move(objects, from, to)
	}
	return duplicates(objects, to)
}

// homeOf is the one namespace, other than the environment's, for which manifests are
// written, "" where there is none. A source that names none but the environment's, as most
// charts, goes there anyway and decides nothing.
func homeOf(objects []*Object, environment string) string {
	home := ""
	open := map[int]bool{} // sources of which an object names no other namespace
	named := map[int]bool{}
	for _, o := range objects {
		switch ns := o.GetNamespace(); {
		case ns == environment, ns == "" && config.InNamespace(o.GetAPIVersion(), o.GetKind()):
			open[o.source] = true
		case ns == "":
		case config.OfCluster(ns), home != "" && home != ns:
			return ""
		default:
			home = ns
			named[o.source] = true
		}
	}
	for source := range named {
		if open[source] {
			return ""
		}
	}
	return home
}

// move puts what is in one namespace into another, with what names that namespace.
func move(objects []*Object, from, to string) {
	if from == to {
		return
	}
	for _, o := range objects {
		if o.GetNamespace() == from {
			o.SetNamespace(to)
			o.moves = append(o.moves, FieldDiff{"metadata.namespace", from, to})
		}
		if o.GetKind() == "Namespace" && o.GetName() == from {
			o.SetName(to)
			o.moves = append(o.moves, FieldDiff{"metadata.name", from, to})
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
	for i, s := range list {
		if subject, ok := s.(map[string]any); ok && subject["namespace"] == from {
			subject["namespace"] = to
			o.moves = append(o.moves, FieldDiff{fmt.Sprintf("subjects[%d].namespace", i), from, to})
		}
	}
}

// WithoutNamespace takes the namespace of an environment out of its objects, so that they
// compare with those of another one; where they speak of it, it is called as. It writes to
// objects.
func WithoutNamespace(objects []*Object, environment, as string) {
	move(objects, environment, as)
	for _, o := range objects {
		if o.GetNamespace() == as {
			o.SetNamespace("")
		}
	}
}
