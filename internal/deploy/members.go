package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var (
	namespaceKind = schema.GroupKind{Kind: "Namespace"}
	claimKind     = schema.GroupKind{Kind: "PersistentVolumeClaim"}
	crdKind       = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
)

// member is a live object of the set.
type member struct {
	*unstructured.Unstructured
	key      objectKey
	gvr      schema.GroupVersionResource
	resource dynamic.ResourceInterface
}

func (m member) label() string { return m.GetKind() + "/" + m.GetName() }

func (d *Deployer) memberOf(u *unstructured.Unstructured, gk schema.GroupKind, gvr schema.GroupVersionResource) member {
	return member{u, objectKey{gk, u.GetNamespace(), u.GetName()}, gvr, d.client.Dynamic.Resource(gvr).Namespace(u.GetNamespace())}
}

// members lists every live object that carries the set's label, in the kinds
// and namespaces that the parent names, but for copies of the label. What this user may not
// list is left out.
func (d *Deployer) members(ctx context.Context, m members) ([]member, error) {
	all, _, err := d.visible(ctx, m)
	return all, err
}

// An unseen is a kind of the set that this user may not list in one namespace.
type unseen struct {
	gk        schema.GroupKind
	namespace string // "" for objects of the whole cluster
}

func (u unseen) String() string {
	if u.namespace == "" {
		return u.gk.Kind
	}
	return u.gk.Kind + " in namespace " + u.namespace
}

// visible is [Deployer.members] with what was left out, sorted.
func (d *Deployer) visible(ctx context.Context, m members) (all []member, hidden []unseen, _ error) {
	namespaces := []string{d.options.Namespace}
	for ns := range m.namespaces {
		namespaces = append(namespaces, ns)
	}
	type place struct {
		gk  schema.GroupKind
		gvr schema.GroupVersionResource
		ns  string
	}
	var places []place
	for gk := range m.kinds {
		mapping, err := d.client.Mapper.RESTMapping(gk)
		if meta.IsNoMatchError(err) {
			continue // its CRD is gone and took the instances along
		}
		if err != nil {
			return nil, nil, d.apiProblem(err, gk.String(), "")
		}
		in := namespaces
		if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
			in = []string{""}
		}
		for _, ns := range in {
			places = append(places, place{gk, mapping.Resource, ns})
		}
	}
	var mu sync.Mutex
	err := each(places, func(p place) error {
		list, err := d.client.Dynamic.Resource(p.gvr).Namespace(p.ns).List(ctx, metav1.ListOptions{LabelSelector: partOfLabel + "=" + d.id})
		if err != nil && !apierrors.IsForbidden(err) {
			return d.apiProblem(err, p.gk.String(), "")
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			hidden = append(hidden, unseen{p.gk, p.ns})
			return nil
		}
		for i := range list.Items {
			if o := &list.Items[i]; !isLabelCopy(o) {
				all = append(all, d.memberOf(o, p.gk, p.gvr))
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b member) int {
		return strings.Compare(a.label()+" "+a.GetNamespace(), b.label()+" "+b.GetNamespace())
	})
	slices.SortFunc(hidden, func(a, b unseen) int { return strings.Compare(a.String(), b.String()) })
	return all, hidden, err
}

// isLabelCopy says whether an object carries the set's label though kdev never wrote it:
// controllers give what they make the labels of what they make it for. The endpointslice
// controller copies a Service's, cert-manager's ingress-shim an Ingress's. Where nobody is
// noted as the manager of any field, somebody has cleared that, and the label counts.
func isLabelCopy(o *unstructured.Unstructured) bool {
	entries := o.GetManagedFields()
	return len(entries) > 0 && !slices.ContainsFunc(entries, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == fieldManager || e.Manager == creator
	})
}

// each calls fn for all items, some at a time, and joins the errors.
func each[T any](items []T, fn func(T) error) error {
	failed := make([]error, len(items))
	slots := make(chan struct{}, concurrentRequests)
	var wg sync.WaitGroup
	for i, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			failed[i] = fn(item)
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}
