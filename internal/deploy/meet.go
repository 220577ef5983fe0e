package deploy

import (
	"context"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// fewMissing is how many objects of a kind are asked for one by one before the
// whole kind is listed: a request costs about as much as forty objects of a list.
const fewMissing = 4

// live reads the objects that targets will meet: one list of the set's members
// for each kind and namespace, which is all when nothing is new. What is no member
// yet is asked for by name, or found in a list of the whole kind.
func (d *Deployer) live(ctx context.Context, targets []target) (map[objectKey]*unstructured.Unstructured, error) {
	type place struct {
		gvr       schema.GroupVersionResource
		namespace string
	}
	groups := map[place][]target{}
	var places []place
	for _, t := range targets {
		p := place{t.mapping.Resource, t.key.namespace}
		if groups[p] == nil {
			places = append(places, p)
		}
		groups[p] = append(groups[p], t)
	}
	var mu sync.Mutex
	found := map[objectKey]*unstructured.Unstructured{}
	list := func(p place, selector string) error {
		items, err := d.client.Dynamic.Resource(p.gvr).Namespace(p.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			return nil // then each object is applied without a look first
		}
		if err != nil {
			return d.apiProblem(err, groups[p][0].GetKind(), "")
		}
		mu.Lock()
		defer mu.Unlock()
		for i := range items.Items {
			o := &items.Items[i]
			found[objectKey{groups[p][0].key.GroupKind, o.GetNamespace(), o.GetName()}] = o
		}
		return nil
	}
	missing := func(p place) []target {
		mu.Lock()
		defer mu.Unlock()
		return slices.DeleteFunc(slices.Clone(groups[p]), func(t target) bool { return found[t.key] != nil })
	}
	var single []target
	err := each(places, func(p place) error {
		if err := list(p, partOfLabel+"="+d.id); err != nil {
			return err
		}
		left := missing(p)
		if len(left) > fewMissing {
			return list(p, "")
		}
		mu.Lock()
		defer mu.Unlock()
		single = append(single, left...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = each(single, func(t target) error {
		o, err := t.resource.Get(ctx, t.key.name, metav1.GetOptions{})
		if err != nil {
			return nil //nolint:nilerr // absent, or not ours to read: the apply will say
		}
		mu.Lock()
		defer mu.Unlock()
		found[t.key] = o
		return nil
	})
	return found, err
}
