package kube

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// Follow keeps objects of one more kind: those of the watched namespace, or of the
// cluster where the kind has no namespaces, that a label selector matches. Of those that
// keep (nil: all) does not want it holds the name alone: there may be ten thousand. A kind
// that is followed already stays as it is. It returns when the first list is there, or when it is
// known why it is not: a kind that RBAC forbids is named by [Namespace.Denied], and what
// may come later comes by itself.
func (n *Namespace) Follow(ctx context.Context, gvr schema.GroupVersionResource, namespaced bool, selector string, keep func(metav1.Object) bool) error {
	informer, failed, err := n.follow(gvr, namespaced, selector, keep)
	if err != nil || informer == nil {
		return err
	}
	select {
	case <-informer.HasSyncedChecker().Done():
	case <-failed:
	case <-n.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// follow starts the informer of a kind; nil where there is one, or where nothing is
// watched any more.
func (n *Namespace) follow(gvr schema.GroupVersionResource, namespaced bool, selector string, keep func(metav1.Object) bool) (cache.SharedIndexInformer, <-chan struct{}, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dynamic == nil || n.watching.Err() != nil || n.followed[gvr] != nil {
		return nil, nil, nil
	}
	namespace := ""
	if namespaced {
		namespace = n.Name
	}
	informer := dynamicinformer.NewFilteredDynamicInformer(n.dynamic, gvr, namespace, 0, cache.Indexers{},
		func(o *metav1.ListOptions) { o.LabelSelector = selector }).Informer()
	failed := make(chan struct{}, 1)
	if err := informer.SetTransform(dropAllBut(keep)); err != nil {
		return nil, nil, fmt.Errorf("watch %s: %w", gvr.Resource, err)
	}
	if err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if apierrors.IsForbidden(err) {
			n.mu.Lock()
			n.denied[gvr.GroupResource().String()] = err
			n.mu.Unlock()
		}
		select {
		case failed <- struct{}{}:
		default:
		}
	}); err != nil {
		return nil, nil, fmt.Errorf("watch %s: %w", gvr.Resource, err)
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.signal() },
		UpdateFunc: func(any, any) { n.signal() },
		DeleteFunc: func(any) { n.signal() },
	}); err != nil {
		return nil, nil, fmt.Errorf("watch %s: %w", gvr.Resource, err)
	}
	if n.followed == nil {
		n.followed = map[schema.GroupVersionResource]cache.SharedIndexInformer{}
	}
	n.followed[gvr] = informer
	n.followers.Go(func() { informer.RunWithContext(n.watching) })
	return informer, failed, nil
}

// dropAllBut reduces what keep does not want to its name.
func dropAllBut(keep func(metav1.Object) bool) cache.TransformFunc {
	return func(obj any) (any, error) {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok || keep == nil || keep(u) {
			return dropManagedFields(obj)
		}
		name := &unstructured.Unstructured{Object: map[string]any{}}
		name.SetGroupVersionKind(u.GroupVersionKind())
		name.SetNamespace(u.GetNamespace())
		name.SetName(u.GetName())
		name.SetResourceVersion(u.GetResourceVersion())
		return name, nil
	}
}

// Followed looks up an object of a kind that is followed. known says whether the kind's
// first list is there, so that an object that is not found is none.
func (n *Namespace) Followed(gvr schema.GroupVersionResource, namespace, name string) (u *unstructured.Unstructured, known bool) {
	n.mu.Lock()
	informer := n.followed[gvr]
	n.mu.Unlock()
	if informer == nil || !informer.HasSynced() {
		return nil, false
	}
	obj, ok, err := informer.GetStore().GetByKey(strings.TrimPrefix(namespace+"/"+name, "/"))
	if err != nil || !ok {
		return nil, true
	}
	u, _ = obj.(*unstructured.Unstructured)
	return u, true
}
