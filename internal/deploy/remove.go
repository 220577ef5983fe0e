package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/kdev-io/kdev/internal/problem"
)

// member is a live object of the set.
type member struct {
	*unstructured.Unstructured
	key      objectKey
	resource dynamic.ResourceInterface
}

// members lists every live object that carries the set's label, in the kinds
// and namespaces that the parent names.
func (d *Deployer) members(ctx context.Context, m members) ([]member, error) {
	namespaces := []string{d.options.Namespace}
	for ns := range m.namespaces {
		namespaces = append(namespaces, ns)
	}
	var mu sync.Mutex
	var all []member
	var failed []error
	var lists sync.WaitGroup
	slots := make(chan struct{}, concurrentRequests)
	for gk := range m.kinds {
		mapping, err := d.client.Mapper.RESTMapping(gk)
		if meta.IsNoMatchError(err) {
			continue // its CRD is gone and took the instances along
		}
		if err != nil {
			return nil, d.apiProblem(err, gk.String(), "")
		}
		in := namespaces
		if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
			in = []string{""}
		}
		for _, ns := range in {
			lists.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				list, err := d.client.Dynamic.Resource(mapping.Resource).Namespace(ns).List(ctx, metav1.ListOptions{LabelSelector: partOfLabel + "=" + d.id})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = append(failed, d.apiProblem(err, gk.String(), ""))
					return
				}
				for i := range list.Items {
					o := &list.Items[i]
					all = append(all, member{o, objectKey{gk, o.GetNamespace(), o.GetName()}, d.client.Dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace())})
				}
			})
		}
	}
	lists.Wait()
	slices.SortFunc(all, func(a, b member) int { return strings.Compare(a.label(), b.label()) })
	return all, errors.Join(failed...)
}

func (m member) label() string { return m.GetKind() + "/" + m.GetName() }

// precious says why an object is not removed although it left the manifests.
func precious(m member) string {
	switch {
	case m.key.GroupKind == schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		return "it holds data"
	case isFoundation(m.key.GroupKind):
		return "other objects live in it"
	case m.GetAnnotations()[keepAnnotation] != "":
		return keepAnnotation
	}
	return ""
}

// Prune removes what is in the set but not among objects, the whole render:
// call it when the rollout of that render is ready. It returns what it
// removed, as "Kind/name".
func (d *Deployer) Prune(ctx context.Context, objects []*Object) ([]string, error) {
	cm, err := d.parent(ctx)
	if err != nil || cm == nil {
		return nil, err
	}
	keep := map[objectKey]bool{}
	left := members{map[schema.GroupKind]bool{}, map[string]bool{}}
	for _, o := range Copy(objects) {
		t, err := d.target(o)
		if err != nil {
			return nil, err
		}
		keep[t.key] = true
		left.add(t.key, d.options.Namespace)
	}
	have := parseMembers(cm.Annotations)
	all, err := d.members(ctx, have.union(left))
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, m := range all {
		if keep[m.key] {
			continue
		}
		if precious(m) != "" {
			left.add(m.key, d.options.Namespace)
			continue
		}
		if err := d.delete(ctx, m); err != nil {
			return removed, err
		}
		removed = append(removed, m.label())
	}
	if !left.equal(have) {
		return removed, d.writeParent(ctx, left)
	}
	return removed, nil
}

// delete removes one object and, in the foreground, what it controls.
func (d *Deployer) delete(ctx context.Context, m member) error {
	uid, policy := m.GetUID(), metav1.DeletePropagationForeground
	err := m.resource.Delete(ctx, m.GetName(), metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid},
		PropagationPolicy: &policy,
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return d.apiProblem(err, m.label(), "")
	}
	return nil
}

// DownOptions say what Down may remove beyond the ordinary.
type DownOptions struct {
	Volumes bool // PersistentVolumeClaims too
}

// DownReport says what Down did.
type DownReport struct {
	Removed       []string // "Kind/name"
	KeptVolumes   []string // names of PersistentVolumeClaims that still hold data
	KeptNamespace string   // why the namespace stays; empty when it went or is not kdev's
	Namespace     bool     // the namespace went
}

// Down removes every member of the set, and nothing else, and waits until the
// objects and the pods under them are gone. Claims stay unless asked for. The
// namespace goes when kdev made it and nothing of anybody is left in it. A
// second call finds nothing and says so in an empty report.
func (d *Deployer) Down(ctx context.Context, o DownOptions) (*DownReport, error) {
	report := &DownReport{}
	cm, err := d.parent(ctx)
	if err != nil {
		return nil, err
	}
	left := members{}
	if cm != nil {
		left = parseMembers(cm.Annotations)
	}
	// Without a parent there may still be claims that an earlier Down kept.
	if err := d.removeMembers(ctx, left, o, report); err != nil {
		return report, err
	}
	if cm != nil {
		err := d.client.Core.CoreV1().ConfigMaps(d.options.Namespace).Delete(ctx, cm.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return report, d.apiProblem(err, "ConfigMap/"+cm.Name, "")
		}
	}
	return report, d.removeNamespace(ctx, report)
}

func (d *Deployer) removeMembers(ctx context.Context, m members, o DownOptions, report *DownReport) error {
	all, err := d.members(ctx, m)
	if err != nil {
		return err
	}
	claims, err := d.claims(ctx, all)
	if err != nil {
		return err
	}
	var going []member
	for _, m := range all {
		switch {
		case m.GetKind() == "PersistentVolumeClaim":
			continue // with the claims
		case m.key.GroupKind == schema.GroupKind{Kind: "Namespace"} && m.GetName() == d.options.Namespace:
			continue // last, and only if it is empty
		}
		going = append(going, m)
	}
	if o.Volumes {
		going = append(going, claims...)
	} else {
		for _, c := range claims {
			report.KeptVolumes = append(report.KeptVolumes, c.GetName())
		}
		for _, c := range claims {
			if err := d.claim(ctx, c); err != nil {
				return err
			}
		}
	}
	// Foundations go last: deleting a CRD first would take instances along
	// without the order that their controllers expect.
	slices.SortStableFunc(going, func(a, b member) int {
		return boolInt(isFoundation(a.key.GroupKind)) - boolInt(isFoundation(b.key.GroupKind))
	})
	for _, m := range going {
		if err := d.delete(ctx, m); err != nil {
			return err
		}
	}
	for _, m := range going {
		if err := d.awaitGone(ctx, m); err != nil {
			return err
		}
		report.Removed = append(report.Removed, m.label())
	}
	return nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// claim labels a volume claim that stays as the project's: the StatefulSet
// that it could be told by is about to go, and a later `down --volumes` must
// still find it.
func (d *Deployer) claim(ctx context.Context, c member) error {
	if c.GetLabels()[projectLabel] == d.options.Project {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{projectLabel: d.options.Project}}})
	if err != nil {
		return err
	}
	_, err = c.resource.Patch(ctx, c.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return d.apiProblem(err, c.label(), "")
	}
	return nil
}

// claims finds the PersistentVolumeClaims of the project: its own, and those
// that StatefulSets of it made, which carry no label of the set.
func (d *Deployer) claims(ctx context.Context, all []member) ([]member, error) {
	gvr := corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")
	gk := schema.GroupKind{Kind: "PersistentVolumeClaim"}
	list, err := d.client.Dynamic.Resource(gvr).Namespace(d.options.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, d.apiProblem(err, "PersistentVolumeClaim", "")
	}
	var prefixes []string
	for _, m := range all {
		if m.GetKind() != "StatefulSet" {
			continue
		}
		templates, _, _ := unstructured.NestedSlice(m.Object, "spec", "volumeClaimTemplates")
		for _, t := range templates {
			if tm, ok := t.(map[string]any); ok {
				name, _, _ := unstructured.NestedString(tm, "metadata", "name")
				prefixes = append(prefixes, name+"-"+m.GetName()+"-")
			}
		}
	}
	var claims []member
	for i := range list.Items {
		c := &list.Items[i]
		ours := c.GetLabels()[partOfLabel] == d.id || c.GetLabels()[projectLabel] == d.options.Project || slices.ContainsFunc(prefixes, func(p string) bool {
			ordinal, ok := strings.CutPrefix(c.GetName(), p)
			return ok && ordinal != "" && strings.Trim(ordinal, "0123456789") == ""
		})
		if ours {
			claims = append(claims, member{c, objectKey{gk, c.GetNamespace(), c.GetName()}, d.client.Dynamic.Resource(gvr).Namespace(c.GetNamespace())})
		}
	}
	return claims, nil
}

// awaitGone waits until the object with m's UID no longer exists.
func (d *Deployer) awaitGone(ctx context.Context, m member) error {
	for {
		list, err := m.resource.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + m.GetName()})
		if err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return d.apiProblem(err, m.label(), "")
		}
		if !slices.ContainsFunc(list.Items, func(o unstructured.Unstructured) bool { return o.GetUID() == m.GetUID() }) {
			return nil
		}
		w, err := m.resource.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + m.GetName(), ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			return d.apiProblem(err, m.label(), "")
		}
		_, err = watchtools.UntilWithoutRetry(ctx, w, func(e watch.Event) (bool, error) { return e.Type == watch.Deleted, nil })
		if ctx.Err() != nil {
			return &problem.Problem{
				Class: problem.Timeout, Code: "removal-stuck", Where: m.label(), Summary: "it is being deleted but does not go", Err: ctx.Err(),
				Hint: "finalizers keep it: " + strings.Join(m.GetFinalizers(), ", ") + "; `kubectl describe` says who should have removed them",
			}
		}
		if err == nil {
			return nil
		}
		// The watch ended without the deletion: look again.
	}
}

func (d *Deployer) awaitNamespaceGone(ctx context.Context, ns *corev1.Namespace) error {
	gvr := corev1.SchemeGroupVersion.WithResource("namespaces")
	u := &unstructured.Unstructured{}
	u.SetKind("Namespace")
	u.SetName(ns.Name)
	u.SetUID(types.UID(ns.UID))
	return d.awaitGone(ctx, member{u, objectKey{schema.GroupKind{Kind: "Namespace"}, "", ns.Name}, d.client.Dynamic.Resource(gvr)})
}

// removeNamespace deletes the namespace when kdev made it and it is empty.
func (d *Deployer) removeNamespace(ctx context.Context, report *DownReport) error {
	namespaces := d.client.Core.CoreV1().Namespaces()
	ns, err := namespaces.Get(ctx, d.options.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return d.apiProblem(err, "Namespace/"+d.options.Namespace, "")
	}
	if ns.Annotations[createdAnnotation] != d.options.Project {
		return nil
	}
	if len(report.KeptVolumes) > 0 {
		report.KeptNamespace = "it holds the volumes"
		return nil
	}
	left, err := d.leftIn(ctx)
	if err != nil {
		return err
	}
	if left != "" {
		report.KeptNamespace = left + " in it is not kdev's"
		return nil
	}
	if err := namespaces.Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return d.apiProblem(err, "Namespace/"+ns.Name, "")
	}
	report.Namespace = true
	return d.awaitNamespaceGone(ctx, ns)
}

// leftIn names one object of somebody else in the namespace, "" when there is
// none. What the cluster itself puts into every namespace does not count, nor
// what goes with its owner.
func (d *Deployer) leftIn(ctx context.Context) (string, error) {
	_, lists, err := d.client.Core.Discovery().ServerGroupsAndResources()
	if err != nil && len(lists) == 0 {
		return "", d.apiProblem(err, "API discovery", "")
	}
	seen := map[string]bool{}
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			id := r.Kind + "." + gv.Group
			if !r.Namespaced || strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || seen[id] || isBookkeeping(r.Kind) {
				continue
			}
			seen[id] = true
			found, err := d.client.Dynamic.Resource(gv.WithResource(r.Name)).Namespace(d.options.Namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				continue // not ours to read, or a broken extension API
			}
			for i := range found.Items {
				if o := &found.Items[i]; !isClusters(o) {
					return o.GetKind() + "/" + o.GetName(), nil
				}
			}
		}
	}
	return "", nil
}

func isBookkeeping(kind string) bool {
	switch kind {
	case "Event", "Endpoints", "EndpointSlice", "Lease", "PodMetrics", "ControllerRevision":
		return true
	}
	return false
}

func isClusters(o *unstructured.Unstructured) bool {
	return o.GetDeletionTimestamp() != nil || len(o.GetOwnerReferences()) > 0 ||
		o.GetKind() == "ConfigMap" && o.GetName() == "kube-root-ca.crt" ||
		o.GetKind() == "ServiceAccount" && o.GetName() == "default"
}
