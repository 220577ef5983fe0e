package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// makeNamespace creates a namespace when it is absent and marks it as made for
// the project, so that Down may take it away again. One that is still being
// deleted is waited for.
func (d *Deployer) makeNamespace(ctx context.Context, name string) error {
	namespaces := d.client.Core.CoreV1().Namespaces()
	ns, err := namespaces.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && ns.DeletionTimestamp == nil:
		return nil
	case err == nil:
		if err := d.awaitNamespaceGone(ctx, ns, d.tell); err != nil {
			return err
		}
	case apierrors.IsForbidden(err):
		return nil // somebody else made it for us; the first object will say if not
	case !apierrors.IsNotFound(err):
		return d.apiProblem(err, "Namespace/"+name, "")
	}
	_, err = namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:        name,
		Labels:      map[string]string{managedByLabel: "kdev"},
		Annotations: map[string]string{createdAnnotation: d.options.Project},
	}}, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return d.apiProblem(err, "Namespace/"+name, "")
	}
	return nil
}

// notOurs is why a namespace stays that kdev did not make.
const notOurs = "it was there before kdev"

// removeNamespace deletes a namespace when kdev made it for this project and it
// holds nothing but the objects in mine, and waits until it is gone. It returns
// why it stays, "" when it went. accepted, which may be nil, is called when its deletion has begun.
func (d *Deployer) removeNamespace(ctx context.Context, name string, tell func(string), mine map[types.UID]bool, accepted func()) (string, error) {
	namespaces := d.client.Core.CoreV1().Namespaces()
	ns, err := namespaces.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return notOurs, nil
	}
	if err != nil {
		return "", d.apiProblem(err, "Namespace/"+name, "")
	}
	if ns.Annotations[createdAnnotation] != d.options.Project {
		return notOurs, nil
	}
	if ns.DeletionTimestamp == nil {
		left, err := d.leftIn(ctx, name, mine)
		if err != nil || left != "" {
			return left, err
		}
		// What came between the look and the deletion goes with it: Kubernetes has
		// no precondition for "empty".
		if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &ns.UID}}); err != nil && !apierrors.IsNotFound(err) {
			return "", d.apiProblem(err, "Namespace/"+name, "")
		}
	}
	if accepted != nil {
		accepted()
	}
	return "", d.awaitNamespaceGone(ctx, ns, tell)
}

func (d *Deployer) awaitNamespaceGone(ctx context.Context, ns *corev1.Namespace, tell func(string)) error {
	u := &unstructured.Unstructured{}
	u.SetKind("Namespace")
	u.SetName(ns.Name)
	u.SetUID(ns.UID)
	return d.awaitGone(ctx, []member{d.memberOf(u, namespaceKind, corev1.SchemeGroupVersion.WithResource("namespaces"))}, tell)
}

// leftIn says what else than mine a namespace holds, "" when nothing.
// What the cluster itself puts into every namespace does not count, nor what
// goes with its owner. A kind that cannot be listed counts: it may hide anything.
func (d *Deployer) leftIn(ctx context.Context, namespace string, mine map[types.UID]bool) (string, error) {
	_, lists, err := d.client.Core.Discovery().ServerGroupsAndResources()
	if err != nil && len(lists) == 0 {
		return "", d.apiProblem(err, "API discovery", "")
	}
	var kinds []schema.GroupVersionResource
	var seen []schema.GroupKind
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			gk := schema.GroupKind{Group: gv.Group, Kind: r.Kind}
			if !r.Namespaced || strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || slices.Contains(seen, gk) || isBookkeeping(gk) {
				continue
			}
			seen = append(seen, gk)
			kinds = append(kinds, gv.WithResource(r.Name))
		}
	}
	found := make(chan string, len(kinds))
	err = each(kinds, func(gvr schema.GroupVersionResource) error {
		list, err := d.client.Dynamic.Resource(gvr).Namespace(namespace).List(ctx, metav1.ListOptions{})
		switch {
		case apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			found <- fmt.Sprintf("its %s cannot be listed: %v", gvr.Resource, err)
			return nil
		}
		for i := range list.Items {
			o := &list.Items[i]
			if mine != nil && o.GetKind() == "ConfigMap" && o.GetName() == d.parentName() {
				continue
			}
			if isMadeUp(o) && o.GetLabels()[partOfLabel] == d.id {
				continue // stays as long as the volumes do
			}
			if !mine[o.GetUID()] && !d.isClusters(o) {
				found <- d.leftover(o)
				return nil
			}
		}
		return nil
	})
	close(found)
	all := slices.Sorted(func(yield func(string) bool) {
		for s := range found {
			if !yield(s) {
				return
			}
		}
	})
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

func (d *Deployer) leftover(o *unstructured.Unstructured) string {
	if o.GetKind() == "PersistentVolumeClaim" {
		return "it holds volume claim " + o.GetName()
	}
	if keeps(o) != "" {
		return o.GetKind() + "/" + o.GetName() + " in it stays"
	}
	return o.GetKind() + "/" + o.GetName() + " in it is not kdev's"
}

// isBookkeeping names kinds that others write about objects that are gone.
func isBookkeeping(gk schema.GroupKind) bool {
	switch gk.Kind {
	case "Event", "Endpoints", "EndpointSlice", "Lease", "PodMetrics", "ControllerRevision":
		return true
	}
	return false
}

// isClusters says whether the cluster made an object, or will remove it soon
// without us: its owner in the namespace is gone or is counted itself.
func (d *Deployer) isClusters(o *unstructured.Unstructured) bool {
	if o.GetDeletionTimestamp() != nil ||
		o.GetKind() == "ConfigMap" && o.GetName() == "kube-root-ca.crt" ||
		o.GetKind() == "ServiceAccount" && o.GetName() == "default" {
		return true
	}
	for _, owner := range o.GetOwnerReferences() {
		gv, err := schema.ParseGroupVersion(owner.APIVersion)
		if err != nil {
			continue
		}
		mapping, err := d.client.Mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: owner.Kind}, gv.Version)
		if err == nil && mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			return true
		}
	}
	return false
}
