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
	made  map[madeKey]version           // objects of the project's namespace
	kinds map[schema.GroupKind]followed // that live keeps for Objects
}

// madeKey names an object of the project's namespace: there may be a Service of Kubernetes'
// own and one of Knative's by the same name.
type madeKey struct {
	schema.GroupKind
	name string
}

func madeKeyOf(o *Object) madeKey { return madeKey{o.GroupVersionKind().GroupKind(), o.GetName()} }

// workloadKey names a workload: of their kinds there is one of each name.
func workloadKey(ref Ref) madeKey {
	for gk := range podSpecs {
		if gk.Kind == ref.Kind {
			return madeKey{gk, ref.Name}
		}
	}
	return madeKey{schema.GroupKind{Kind: ref.Kind}, ref.Name}
}

type version struct {
	uid        types.UID // "" for a Job that ran and is gone
	generation int64
}

// note remembers what was applied, nil for a Job that ran and is gone.
func (d *Deployer) note(t target, now *unstructured.Unstructured) {
	if t.key.namespace != d.options.Namespace {
		return
	}
	v := version{}
	if now != nil {
		v = version{now.GetUID(), now.GetGeneration()}
	}
	d.noteVersion(madeKeyOf(t.Object), v)
}

// noteVersion is note for an object of the project's namespace.
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
