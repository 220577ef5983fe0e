package deploy

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// An Object is one rendered manifest.
type Object struct {
	*unstructured.Unstructured
	Origin string // "deploy/base/webui.yaml:3" where known, else ""
	Hook   *Hook  // nil for what is no hook of a chart
	Part   string // of kdev.yaml's own: the service or store of which it is a part

	inputs   string      // of a hook that runs: what other hooks give it to read, with hashes; "" where that is nothing
	unstable []trail     // fields that every render makes differently: the live value stays
	source   int         // which of those of a render it comes from
	moves    []FieldDiff // what a move to another namespace changed in it
	values   *values     // of a Secret that kdev makes; nil for all other objects
}

// A Ref names a workload or another object of the project's namespace.
type Ref struct{ Kind, Name string }

func (r Ref) String() string { return r.Kind + "/" + r.Name }

// RefOf names an object.
func RefOf(o *Object) Ref { return Ref{o.GetKind(), o.GetName()} }

// Generates are the keys of a Secret whose values kdev makes up.
func (o *Object) Generates() []string {
	if o.values == nil {
		return nil
	}
	return o.values.from.Generate
}

// Copy copies objects deeply, so that an injection leaves the render as it is.
func Copy(objects []*Object) []*Object {
	out := make([]*Object, len(objects))
	for i, o := range objects {
		out[i] = &Object{Unstructured: o.DeepCopy(), Origin: o.Origin, Hook: o.Hook, Part: o.Part, inputs: o.inputs, unstable: o.unstable, source: o.source, moves: o.moves, values: o.values}
	}
	return out
}

// podSpecs says where each kind that runs pods keeps the pod's spec.
var podSpecs = map[schema.GroupKind][]string{
	{Kind: "Pod"}:                        {"spec"},
	{Kind: "ReplicationController"}:      {"spec", "template", "spec"},
	{Group: "apps", Kind: "Deployment"}:  {"spec", "template", "spec"},
	{Group: "apps", Kind: "StatefulSet"}: {"spec", "template", "spec"},
	{Group: "apps", Kind: "DaemonSet"}:   {"spec", "template", "spec"},
	{Group: "apps", Kind: "ReplicaSet"}:  {"spec", "template", "spec"},
	{Group: "batch", Kind: "Job"}:        {"spec", "template", "spec"},
	{Group: "batch", Kind: "CronJob"}:    {"spec", "jobTemplate", "spec", "template", "spec"},
}

// podSpecPath returns the path of the pod spec, nil for kinds without one.
func podSpecPath(o *Object) []string { return podSpecs[o.GroupVersionKind().GroupKind()] }

// IsWorkload says whether an object runs pods.
func IsWorkload(o *Object) bool { return podSpecPath(o) != nil }

// containerLists are the fields of a pod spec that hold containers.
var containerLists = []string{"initContainers", "containers"}

// eachContainer calls fn for each container of a workload with its field, for
// messages: "spec.template.spec.containers[0]". Writing to the map writes to
// the object.
func eachContainer(o *Object, fn func(container map[string]any, field string)) {
	eachPodContainer(o, func(_, c map[string]any, _, field string) { fn(c, field) })
}

// eachPodContainer is eachContainer with the pod spec, and the list that the
// container is in.
func eachPodContainer(o *Object, fn func(pod, container map[string]any, list, field string)) {
	path := podSpecPath(o)
	if path == nil {
		return
	}
	spec, ok, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	pod, isMap := spec.(map[string]any)
	if !ok || !isMap {
		return
	}
	for _, list := range containerLists {
		containers, _ := pod[list].([]any)
		for i, c := range containers {
			if container, ok := c.(map[string]any); ok {
				fn(pod, container, list, fieldPath(append(slices.Clone(path), list), i))
			}
		}
	}
}
