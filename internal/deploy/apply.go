package deploy

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/kdev-io/kdev/internal/problem"
)

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	crds       = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// establishing bounds how long a new CRD may take to be served.
const establishing = 30 * time.Second

// Applied says what Apply did, by "Kind/name".
type Applied struct {
	Created, Changed, Unchanged []string
}

// appliedSet remembers, for Status, which generation of an object an Apply made.
type appliedSet struct {
	mu         sync.Mutex
	generation map[types.UID]int64
}

// objectKey names an object across namespaces.
type objectKey struct {
	schema.GroupKind
	namespace, name string
}

// target is an object with where it goes.
type target struct {
	*Object
	resource dynamic.ResourceInterface
	mapping  *meta.RESTMapping
	key      objectKey
}

// Apply writes what differs: first Namespaces and CustomResourceDefinitions,
// then the rest, eight at a time. Every object becomes a member of the
// project's ApplySet. Errors of several objects are joined; the others are
// applied all the same. Problems: object-refused, object-conflict,
// kind-unknown, rbac-denied, cluster-unreachable.
func (d *Deployer) Apply(ctx context.Context, objects []*Object) (*Applied, error) {
	if err := d.makeNamespace(ctx); err != nil {
		return nil, err
	}
	var first, rest []*Object
	want := members{map[schema.GroupKind]bool{}, map[string]bool{}}
	for _, o := range objects {
		gk := o.GroupVersionKind().GroupKind()
		want.kinds[gk] = true
		if ns := o.GetNamespace(); ns != "" && ns != d.options.Namespace {
			want.namespaces[ns] = true
		}
		if isFoundation(gk) {
			first = append(first, o)
		} else {
			rest = append(rest, o)
		}
	}
	if err := d.remember(ctx, want); err != nil {
		return nil, err
	}
	result := &Applied{}
	err := d.stage(ctx, first, result)
	if err == nil {
		err = d.established(ctx, first)
	}
	if err == nil {
		err = d.stage(ctx, rest, result)
	}
	for _, list := range [][]string{result.Created, result.Changed, result.Unchanged} {
		slices.Sort(list)
	}
	return result, err
}

// isFoundation says whether other objects of the same set may live in or be
// instances of this kind.
func isFoundation(gk schema.GroupKind) bool {
	return gk == schema.GroupKind{Kind: "Namespace"} || gk == schema.GroupKind{Group: crds.Group, Kind: "CustomResourceDefinition"}
}

// stage applies objects side by side.
func (d *Deployer) stage(ctx context.Context, objects []*Object, result *Applied) error {
	if len(objects) == 0 {
		return nil
	}
	var targets []target
	var failed []error
	for _, o := range objects {
		t, err := d.target(o)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		targets = append(targets, t)
	}
	live, err := d.live(ctx, targets)
	if err != nil {
		return errors.Join(append(failed, err)...)
	}
	var mu sync.Mutex
	var requests sync.WaitGroup
	slots := make(chan struct{}, concurrentRequests)
	for _, t := range targets {
		requests.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			was := live[t.key]
			now, err := d.write(ctx, t, was)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
				return
			}
			d.note(now)
			label := RefOf(t.Object).String()
			switch {
			case was == nil:
				result.Created = append(result.Created, label)
			case was != now && differs(was, now):
				result.Changed = append(result.Changed, label)
			default:
				result.Unchanged = append(result.Unchanged, label)
			}
		})
	}
	requests.Wait()
	return errors.Join(failed...)
}

// target finds where an object goes and makes it a member of the set.
func (d *Deployer) target(o *Object) (target, error) {
	gvk := o.GroupVersionKind()
	mapping, err := d.client.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		// Discovery is cached; a kind that came since is worth a second look.
		d.client.Mapper.Reset()
		mapping, err = d.client.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if meta.IsNoMatchError(err) {
		return target{}, &problem.Problem{
			Class: problem.Rollout, Code: "kind-unknown", Where: at(RefOf(o).String(), o.Origin),
			Summary: "the cluster does not know kind " + gvk.Kind + " of " + gvk.GroupVersion().String(),
			Hint:    "install its CustomResourceDefinition, or add it to the manifests; `kubectl api-resources` lists what there is",
		}
	}
	if err != nil {
		return target{}, d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	readable(o)
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[partOfLabel] = d.id
	o.SetLabels(labels)
	t := target{Object: o, mapping: mapping, key: objectKey{gvk.GroupKind(), "", o.GetName()}}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		if o.GetNamespace() == "" {
			o.SetNamespace(d.options.Namespace)
		}
		t.key.namespace = o.GetNamespace()
		t.resource = d.client.Dynamic.Resource(mapping.Resource).Namespace(t.key.namespace)
	} else {
		o.SetNamespace("")
		t.resource = d.client.Dynamic.Resource(mapping.Resource)
	}
	return t, nil
}

// readable moves a Secret's stringData into data, as the API server does on
// every write: it never gives stringData back, so that nothing could tell
// whether it changed, and it keeps the data of a key that left stringData.
func readable(o *Object) {
	plain, ok := o.Object["stringData"].(map[string]any)
	if !ok || o.GroupVersionKind().GroupKind() != (schema.GroupKind{Kind: "Secret"}) {
		return
	}
	data, _ := o.Object["data"].(map[string]any)
	data = maps.Clone(data)
	if data == nil {
		data = map[string]any{}
	}
	for key, value := range plain {
		text, ok := value.(string)
		if !ok {
			return // the API server says best what is wrong with it
		}
		data[key] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	o.Object["data"] = data
	delete(o.Object, "stringData")
}

// live reads the objects that targets will meet: one list of members for each
// kind and namespace, and a get for what is not a member yet.
func (d *Deployer) live(ctx context.Context, targets []target) (map[objectKey]*unstructured.Unstructured, error) {
	type where struct {
		resource  schema.GroupVersionResource
		namespace string
	}
	groups := map[where][]target{}
	for _, t := range targets {
		w := where{t.mapping.Resource, t.key.namespace}
		groups[w] = append(groups[w], t)
	}
	var mu sync.Mutex
	found := map[objectKey]*unstructured.Unstructured{}
	var failed []error
	var lists sync.WaitGroup
	for w, group := range groups {
		lists.Go(func() {
			var client dynamic.ResourceInterface = d.client.Dynamic.Resource(w.resource)
			if w.namespace != "" {
				client = d.client.Dynamic.Resource(w.resource).Namespace(w.namespace)
			}
			list, err := client.List(ctx, metav1.ListOptions{LabelSelector: partOfLabel + "=" + d.id})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if apierrors.IsForbidden(err) {
					return // then each object is applied without a look first
				}
				failed = append(failed, d.apiProblem(err, group[0].mapping.GroupVersionKind.Kind, ""))
				return
			}
			for i := range list.Items {
				o := &list.Items[i]
				found[objectKey{group[0].key.GroupKind, o.GetNamespace(), o.GetName()}] = o
			}
		})
	}
	lists.Wait()
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	var gets sync.WaitGroup
	slots := make(chan struct{}, concurrentRequests)
	for _, t := range targets {
		if found[t.key] != nil {
			continue
		}
		gets.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			o, err := t.resource.Get(ctx, t.key.name, metav1.GetOptions{})
			if err != nil {
				return // absent, or not ours to read: Apply will say
			}
			mu.Lock()
			defer mu.Unlock()
			found[t.key] = o
		})
	}
	gets.Wait()
	return found, nil
}

// write applies one object unless the live one is already so.
func (d *Deployer) write(ctx context.Context, t target, was *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if was != nil {
		if set := was.GetLabels()[partOfLabel]; set != "" && set != d.id {
			return nil, &problem.Problem{
				Class: problem.Rollout, Code: "object-taken", Where: at(RefOf(t.Object).String(), t.Origin),
				Summary: "it is already a member of another ApplySet (" + set + ")",
				Hint:    "give this project another `namespace:`, or remove the object from the other project first",
			}
		}
		if was.GetDeletionTimestamp() == nil && current(t.Unstructured, was) {
			return was, nil
		}
	}
	force := false
	u := t.Unstructured
	for {
		now, err := t.resource.Apply(ctx, t.key.name, u, metav1.ApplyOptions{FieldManager: fieldManager, Force: force})
		if err == nil {
			return now, nil
		}
		if force || !apierrors.IsConflict(err) {
			return nil, d.apiProblem(err, RefOf(t.Object).String(), t.Origin)
		}
		switch managers, onlyReplicas := conflicts(err); {
		case onlyReplicas:
			// Scaled by hand or by an autoscaler: what runs is left alone.
			u = u.DeepCopy()
			unstructured.RemoveNestedField(u.Object, "spec", "replicas")
		case slices.IndexFunc(managers, isForeign) < 0:
			force = true // made by kubectl: adopted
		default:
			return nil, &problem.Problem{
				Class: problem.Rollout, Code: "object-conflict", Where: at(RefOf(t.Object).String(), t.Origin),
				Summary: "fields of it belong to " + strings.Join(managers, " and "), Err: err,
				Hint: "take the fields out of the manifests, or out of what " + managers[0] + " writes",
			}
		}
	}
}

// conflicts reads who owns the fields that an apply conflicts on.
func conflicts(err error) (managers []string, onlyReplicas bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return []string{"another manager"}, false
	}
	onlyReplicas = true
	for _, c := range status.Status().Details.Causes {
		if c.Field != ".spec.replicas" {
			onlyReplicas = false
		}
		// conflict with "kubectl-edit" using apps/v1
		if _, rest, ok := strings.Cut(c.Message, `"`); ok {
			manager, _, _ := strings.Cut(rest, `"`)
			if !slices.Contains(managers, manager) {
				managers = append(managers, manager)
			}
		}
	}
	if len(managers) == 0 {
		return []string{"another manager"}, false
	}
	return managers, onlyReplicas
}

// isForeign says whether a field manager is more than a person's kubectl.
func isForeign(manager string) bool {
	return !strings.HasPrefix(manager, "kubectl") && manager != "before-first-apply" && manager != fieldManager
}

// note remembers what was applied.
func (d *Deployer) note(now *unstructured.Unstructured) {
	d.applied.mu.Lock()
	defer d.applied.mu.Unlock()
	if d.applied.generation == nil {
		d.applied.generation = map[types.UID]int64{}
	}
	d.applied.generation[now.GetUID()] = now.GetGeneration()
}

// established waits until new CRDs are served.
func (d *Deployer) established(ctx context.Context, objects []*Object) error {
	served := false
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		served = true
		if err := d.awaitCRD(ctx, o); err != nil {
			return err
		}
	}
	if served {
		d.client.Mapper.Reset()
	}
	return nil
}

func (d *Deployer) awaitCRD(ctx context.Context, o *Object) error {
	ctx, cancel := context.WithTimeout(ctx, establishing)
	defer cancel()
	client := d.client.Dynamic.Resource(crds)
	list, err := client.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + o.GetName()})
	if err != nil {
		return d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	for i := range list.Items {
		if isEstablished(&list.Items[i]) {
			return nil
		}
	}
	w, err := client.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + o.GetName(), ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		return d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	_, err = watchtools.UntilWithoutRetry(ctx, w, func(e watch.Event) (bool, error) {
		u, ok := e.Object.(*unstructured.Unstructured)
		return ok && isEstablished(u), nil
	})
	if err != nil {
		return &problem.Problem{Class: problem.Rollout, Code: "crd-not-established", Where: at(RefOf(o).String(), o.Origin), Summary: "the cluster does not serve it", Err: err,
			Hint: "`kubectl describe crd " + o.GetName() + "` says why"}
	}
	return nil
}

func isEstablished(u *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		m, _ := c.(map[string]any)
		return m["type"] == "Established" && m["status"] == "True"
	})
}

func toUnstructured(o any) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, err
	}
	return &unstructured.Unstructured{Object: m}, nil
}

// at joins an object's name with the file that it comes from.
func at(ref, origin string) string {
	if origin == "" {
		return ref
	}
	return ref + " (" + origin + ")"
}
