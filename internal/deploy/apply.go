package deploy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kdev-io/kdev/internal/config"
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
	Recreated                   []string // a field of it can only be set when it is made
	Anew                        []string // of these, in words: which field that is
	Notes                       []string // what of the manifests was not applied, in words
	Rolled                      []string // what comes of changed ConfigMaps and Secrets, in words: a line for each workload that reads them

	Renewals []Renewal // the volumes among these, whose files the kubelet renews

	refused map[Ref]bool // what of the project's namespace was not written
	denied  denials
}

// refuse notes that an object was not written.
func (a *Applied) refuse(o *Object) {
	if a.refused == nil {
		a.refused = map[Ref]bool{}
	}
	a.refused[RefOf(o)] = true
}

func (a *Applied) add(label string, out outcome) {
	switch {
	case out.recreated:
		a.Recreated = append(a.Recreated, label)
		a.Anew = append(a.Anew, label+" is made anew: "+out.why)
	case out.created:
		a.Created = append(a.Created, label)
	case out.changed:
		a.Changed = append(a.Changed, label)
	default:
		a.Unchanged = append(a.Unchanged, label)
	}
	if out.note != "" {
		a.Notes = append(a.Notes, out.note)
	}
}

// Counts says how many objects there are of each: "1 created, 2 changed, 3 unchanged".
func (a *Applied) Counts() string {
	text := fmt.Sprintf("%d created, %d changed, ", len(a.Created), len(a.Changed))
	if n := len(a.Recreated); n > 0 {
		text += fmt.Sprintf("%d recreated, ", n)
	}
	return text + fmt.Sprintf("%d unchanged", len(a.Unchanged))
}

// merge adds a later attempt: its last word counts, but for what it found done.
func (a *Applied) merge(later *Applied) {
	done := slices.Concat(a.Created, a.Changed, a.Recreated)
	a.Created = append(a.Created, later.Created...)
	a.Changed = append(a.Changed, later.Changed...)
	a.Recreated = append(a.Recreated, later.Recreated...)
	a.Anew = append(a.Anew, later.Anew...)
	a.Unchanged = slices.DeleteFunc(later.Unchanged, func(label string) bool { return slices.Contains(done, label) })
	a.Notes = later.Notes
	a.Rolled = append(a.Rolled, later.Rolled...)
	a.Renewals = append(a.Renewals, later.Renewals...)
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

// Apply writes what differs, in stages, eight at a time. Every object becomes a member of the
// project's ApplySet. Errors of several objects are joined; the others are
// applied all the same. Problems: object-refused, object-conflict,
// kind-unknown, rbac-denied, cluster-unreachable, secret-source.
func (d *Deployer) Apply(ctx context.Context, objects []*Object) (*Applied, error) {
	total := &Applied{}
	err := d.through(ctx, func() error {
		// What an attempt before an outage has done is unchanged in the next one.
		applied, err := d.applyOnce(ctx, objects)
		if applied != nil {
			total.merge(applied)
		}
		return err
	})
	for _, list := range [][]string{total.Created, total.Changed, total.Unchanged, total.Recreated, total.Anew, total.Notes, total.Rolled} {
		slices.Sort(list)
	}
	return total, err
}

func (d *Deployer) applyOnce(ctx context.Context, objects []*Object) (*Applied, error) {
	if err := d.makeNamespace(ctx, d.options.Namespace); err != nil {
		return nil, err
	}
	var stages [stageCount][]*Object
	var hooks []*Object
	want := members{map[schema.GroupKind]bool{}, map[string]bool{}}
	for _, o := range objects {
		gk := o.GroupVersionKind().GroupKind()
		want.kinds[gk] = true
		if ns := o.GetNamespace(); ns != "" && ns != d.options.Namespace {
			want.namespaces[ns] = true
		}
		if o.Hook != nil {
			hooks = append(hooks, o)
		} else {
			stages[stageOf(gk)] = append(stages[stageOf(gk)], o)
		}
	}
	want, fresh, err := d.remember(ctx, want)
	if err != nil {
		return nil, err
	}
	save := func() error {
		if d.jobs.changed() || d.data.changed() {
			return d.writeParent(ctx, want)
		}
		return nil
	}
	result := &Applied{}
	err = d.stage(ctx, stages[foundations], save, result)
	if err == nil {
		err = d.established(ctx, stages[foundations])
	}
	if err == nil {
		// One object that is refused keeps no other back, but for a hook: what comes
		// after it counts on it.
		first := !d.installed
		var before, after []*Object
		for _, o := range hooks {
			if o.Hook.before(first) {
				before = append(before, o)
			} else {
				after = append(after, o)
			}
		}
		err = d.stage(ctx, stages[surroundings], save, result)
		hooked := d.runHooks(ctx, before, first, save, result)
		err = errors.Join(err, hooked)
		for _, s := range stages[workloads:] {
			if hooked == nil {
				err = errors.Join(err, d.stage(ctx, s, save, result))
			}
		}
		if hooked == nil && !hasCode(err, "cluster-unreachable") && ctx.Err() == nil {
			err = errors.Join(err, d.reroll(ctx, slices.Concat(stages[workloads], lasting(before, first)), objects, result))
		}
		if err == nil {
			err = d.runHooks(ctx, after, first, save, result)
		}
		if err == nil {
			err = d.reroll(ctx, lasting(after, first), objects, result)
		}
	}
	if empty := result.denied.empty(objects, d.options.Namespace, fresh); !empty.equal(members{}) && ctx.Err() == nil {
		want = want.without(empty)
		return result, errors.Join(err, d.writeParent(ctx, want))
	}
	return result, errors.Join(err, save())
}

// The stages of an apply: what others live in or are instances of; what pods read
// and are reached by, so that none starts without; what runs pods, and instances
// of CRDs; what would stand in the way of all these until its pods answer.
const (
	foundations = iota
	surroundings
	workloads
	gatekeepers
	stageCount
)

func stageOf(gk schema.GroupKind) int {
	switch {
	case isFoundation(gk):
		return foundations
	case gk.Group == "admissionregistration.k8s.io", gk.Group == "apiregistration.k8s.io":
		return gatekeepers
	case podSpecs[gk] != nil, !scheme.Scheme.IsGroupRegistered(gk.Group):
		return workloads
	}
	return surroundings
}

// isFoundation says whether other objects may live in or be instances of this kind.
func isFoundation(gk schema.GroupKind) bool { return gk == namespaceKind || gk == crdKind }

// stage applies objects side by side. save writes the parent where it is to say more.
func (d *Deployer) stage(ctx context.Context, objects []*Object, save func() error, result *Applied) error {
	if len(objects) == 0 {
		return nil
	}
	var targets []target
	var failed []error
	for _, o := range objects {
		t, err := d.target(o)
		if err != nil {
			result.refuse(o)
			failed = append(failed, err)
			continue
		}
		targets = append(targets, t)
	}
	live, err := d.live(ctx, targets)
	if err == nil {
		err = d.announce(ctx, targets, live, save)
	}
	if err != nil {
		for _, t := range targets {
			result.refuse(t.Object)
		}
		return errors.Join(append(failed, err)...)
	}
	var mu sync.Mutex
	failed = append(failed, each(targets, func(t target) (failure error) {
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			if failure != nil && t.key.namespace == d.options.Namespace {
				result.refuse(t.Object)
			}
			if p := problem.As(failure); p != nil && p.Code == "rbac-denied" && live[t.key] == nil {
				result.denied.add(t)
			}
		}()
		was, made, err := d.certain(ctx, t, live[t.key])
		if err != nil {
			return err
		}
		kept, anew := keepLive(t.Object, was)
		moving, err := t.fill(ctx, was)
		if err != nil {
			return err
		}
		out, err := d.write(ctx, t, was)
		if err != nil {
			if p := problem.As(err); p != nil && p.Code != "cluster-unreachable" && t.key.namespace == d.options.Namespace {
				d.data.refused(t.Object)
			}
			return err
		}
		if made {
			out.created, out.changed = true, false
		}
		d.note(t, out.now)
		if t.key.namespace == d.options.Namespace {
			d.data.see(t.Object, was, out)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(kept) > 0 && (out.changed || out.recreated) {
			result.Notes = append(result.Notes, RefOf(t.Object).String()+" keeps what its chart made up at first: "+strings.Join(kept, ", "))
		}
		if len(anew) > 0 && (out.changed || out.recreated) {
			result.Notes = append(result.Notes, RefOf(t.Object).String()+" has made up anew, since no live value could be kept: "+strings.Join(anew, ", ")+": its chart has a list there that differs at each render")
		}
		if len(moving) > 0 {
			result.Notes = append(result.Notes, fmt.Sprintf("%s keeps its %s: its command prints another value each time; kubectl delete secret %s -n %s, and an apply makes it anew",
				RefOf(t.Object), strings.Join(moving, ", "), t.key.name, t.key.namespace))
		}
		result.add(RefOf(t.Object).String(), out)
		return nil
	}))
	return errors.Join(failed...)
}

// Knows says whether the cluster has an object's kind. Where it cannot be asked, it
// is taken to have it: applying will say what is the matter.
func (d *Deployer) Knows(o *Object) bool {
	_, err := d.mapping(o)
	return !meta.IsNoMatchError(err)
}

// mapping finds the resource of an object's kind.
func (d *Deployer) mapping(o *Object) (*meta.RESTMapping, error) {
	gvk := o.GroupVersionKind()
	mapping, err := d.client.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		// Discovery is cached; a kind that came since is worth a second look.
		d.client.Mapper.Reset()
		mapping, err = d.client.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	return mapping, err
}

// kindHint is what may help with a kind that is not among those of the cluster: the
// version that has it, or the name that was meant.
func kindHint(gvk schema.GroupVersionKind, kinds []schema.GroupVersionKind) string {
	var near []string
	elsewhere := ""
	for _, k := range kinds {
		switch {
		case k.Kind == gvk.Kind && (elsewhere == "" || k.Group == gvk.Group):
			elsewhere = k.GroupVersion().String()
		case k.Group == gvk.Group:
			near = append(near, k.Kind)
		}
	}
	if elsewhere != "" {
		return "the cluster has " + gvk.Kind + " in " + elsewhere + ": correct apiVersion, and the fields that are others there"
	}
	return config.DidYouMean(gvk.Kind, near, "install its CustomResourceDefinition, or add it to the manifests; `kubectl api-resources` lists what there is")
}

// target finds where an object goes and makes it a member of the set.
func (d *Deployer) target(o *Object) (target, error) {
	gvk := o.GroupVersionKind()
	mapping, err := d.mapping(o)
	if meta.IsNoMatchError(err) {
		return target{}, &problem.Problem{
			Class: problem.Rollout, Code: "kind-unknown", Where: at(RefOf(o).String(), o.Origin),
			Summary: "the cluster does not know kind " + gvk.Kind + " of " + gvk.GroupVersion().String(),
			Hint:    kindHint(gvk, d.client.Kinds()),
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
