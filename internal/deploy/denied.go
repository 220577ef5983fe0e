package deploy

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// denials are the objects that this user may not write, and that the set had not before.
type denials map[objectKey]bool

func (n *denials) add(t target) {
	if *n == nil {
		*n = denials{}
	}
	(*n)[t.key] = true
}

// empty are those of the fresh kinds and namespaces of the set in which nothing can have been
// written, since each of the objects was denied. They must not stay in the set: who may not
// write there may most often not list either, and a prune or a down lists all of the set.
func (n denials) empty(objects []*Object, home string, fresh members) members {
	if len(n) == 0 {
		return members{}
	}
	kinds, namespaces := map[schema.GroupKind]bool{}, map[string]bool{}
	for _, o := range objects {
		key := keyOf(o)
		// The object of the manifests may be without the namespace that its target has.
		denied := n[key] || key.namespace == "" && n[objectKey{key.GroupKind, home, key.name}] || n[objectKey{key.GroupKind, "", key.name}]
		if !denied {
			kinds[key.GroupKind] = true
			namespaces[key.namespace] = true
		}
	}
	return fresh.without(members{kinds, namespaces})
}
