package deploy

import (
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// appliedSet remembers, for Status, what Apply made: informers may for a moment
// still hold what was there before.
type appliedSet struct {
	mu    sync.Mutex
	made  map[madeKey]version
	kinds map[schema.GroupKind]followed // that live keeps for Objects
}

// madeKey names an object: there may be a Service of Kubernetes' own and one of Knative's by
// the same name.
type madeKey struct {
	schema.GroupKind
	namespace string // where it is another than the project's
	name      string
}

// madeKeyOf names an object of the project's namespace.
func madeKeyOf(o *Object) madeKey {
	return madeKey{GroupKind: o.GroupVersionKind().GroupKind(), name: o.GetName()}
}

// workloadKey names a workload of the project's namespace: of their kinds there is one of each name.
func workloadKey(ref Ref) madeKey {
	for gk := range podSpecs {
		if gk.Kind == ref.Kind {
			return madeKey{GroupKind: gk, name: ref.Name}
		}
	}
	return madeKey{GroupKind: schema.GroupKind{Kind: ref.Kind}, name: ref.Name}
}

type version struct {
	uid        types.UID // "" for a Job that ran and is gone
	generation int64
}

// note remembers what was applied, nil for a Job that ran and is gone.
func (d *Deployer) note(t target, now *unstructured.Unstructured) {
	v := version{}
	if now != nil {
		v = version{now.GetUID(), now.GetGeneration()}
	}
	key := madeKeyOf(t.Object)
	if t.key.namespace != d.options.Namespace {
		key.namespace = t.key.namespace
	}
	d.noteVersion(key, v)
}

func (d *Deployer) noteVersion(key madeKey, v version) {
	d.applied.mu.Lock()
	defer d.applied.mu.Unlock()
	if d.applied.made == nil {
		d.applied.made = map[madeKey]version{}
	}
	d.applied.made[key] = v
}

func (d *Deployer) made(key madeKey) (version, bool) {
	d.applied.mu.Lock()
	defer d.applied.mu.Unlock()
	v, ok := d.applied.made[key]
	return v, ok
}
