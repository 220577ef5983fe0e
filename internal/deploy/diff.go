package deploy

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/problem"
)

// A Change is what would become of an object.
type Change string

const (
	Create   Change = "create"
	Update   Change = "update"
	Recreate Change = "recreate" // a field can only be set when it is made
	Remove   Change = "remove"
	Unseen   Change = "unseen" // nobody knows: this user may not read it
)

// An ObjectDiff is one object that differs.
type ObjectDiff struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Namespace  string      `json:"namespace,omitempty"`
	Name       string      `json:"name"`
	Origin     string      `json:"origin,omitempty"` // file:line
	Change     Change      `json:"change"`
	Fields     []FieldDiff `json:"fields,omitempty"` // by path; of Update and Recreate
	Why        string      `json:"why,omitempty"`    // of Recreate and Unseen, of an Update that an apply refuses, and of what is not checked or goes slowly
}

// A FieldDiff is one field that differs. Secrets' values are masked.
type FieldDiff struct {
	Path string `json:"path"`           // spec.template.spec.containers[web].image
	From any    `json:"from,omitempty"` // absent: the field is new
	To   any    `json:"to,omitempty"`   // absent: the field goes
}

// Compare says what differs between two renders, sorted by kind and name: the
// manifests of two environments, or a plain render and what kdev makes of it.
// Forms that mean the same (0.5 and 500m) do not differ.
func Compare(from, to []*Object) []ObjectDiff {
	old := map[objectKey]*Object{}
	for _, o := range from {
		old[keyOf(o)] = o
	}
	var diffs []ObjectDiff
	for _, o := range to {
		was := old[keyOf(o)]
		delete(old, keyOf(o))
		if was == nil {
			diffs = append(diffs, objectDiff(o, Create, nil))
			continue
		}
		if fields := fieldDiffs(plainForm(was.Unstructured), plainForm(o.Unstructured), isSecret(o.Unstructured)); len(fields) > 0 {
			diffs = append(diffs, objectDiff(o, Update, fields))
		}
	}
	for _, o := range old {
		diffs = append(diffs, objectDiff(o, Remove, nil))
	}
	sortDiffs(diffs)
	return diffs
}

// Diff says what an Apply of objects, and the Prune after it, would change in the
// cluster. It writes nothing: the API server computes each change in a dry run, and refuses
// what it would refuse, of objects that are not there yet too. Problems as those of Apply.
func (d *Deployer) Diff(ctx context.Context, objects []*Object) ([]ObjectDiff, error) {
	d = d.beside()
	if _, err := d.parent(ctx); err != nil {
		return nil, err // it knows which Jobs and hooks ran
	}
	var targets []target
	var diffs []ObjectDiff
	var unknown []error
	wanted := map[objectKey]bool{}
	kinds := kindsOf(objects)
	for _, o := range Copy(objects) {
		t, err := d.target(o)
		if isUnknownKind(err) && kinds[o.GroupVersionKind().GroupKind()] {
			diff := objectDiff(o, Create, nil)
			diff.Why = "not checked: its kind is not there yet"
			diffs = append(diffs, diff)
			continue
		}
		if isUnknownKind(err) {
			unknown = append(unknown, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		wanted[t.key] = true
		targets = append(targets, t)
	}
	live, err := d.live(ctx, targets)
	if err != nil {
		return nil, err
	}
	found := make([]*ObjectDiff, len(targets))
	index := make([]int, len(targets))
	for i := range index {
		index[i] = i
	}
	err = each(index, func(i int) error {
		diff, err := d.diff(ctx, targets[i], live[targets[i].key])
		found[i] = diff
		return err
	})
	if err = errors.Join(append(unknown, err)...); err != nil {
		return nil, err
	}
	for _, f := range found {
		if f != nil {
			diffs = append(diffs, *f)
		}
	}
	going, err := d.prunable(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for _, m := range going {
		diff := objectDiff(&Object{Unstructured: m.Unstructured}, Remove, nil)
		if m.GetDeletionTimestamp() != nil {
			diff.Why = "it is being deleted and waits for " + waitsFor(m)
		}
		diffs = append(diffs, diff)
	}
	sortDiffs(diffs)
	return diffs, nil
}

// diff compares one object with what it would become.
func (d *Deployer) diff(ctx context.Context, t target, live *unstructured.Unstructured) (*ObjectDiff, error) {
	if t.Hook != nil && !t.Hook.due(!d.installed) {
		return nil, nil // an apply leaves it as it is
	}
	if live == nil {
		var err error
		if live, err = t.resource.Get(ctx, t.key.name, metav1.GetOptions{}); apierrors.IsForbidden(err) {
			diff := objectDiff(t.Object, Unseen, nil)
			diff.Why = "not visible: this user may not read " + t.mapping.Resource.GroupResource().String()
			return &diff, nil
		} else if err != nil && !apierrors.IsNotFound(err) {
			return nil, d.apiProblem(err, RefOf(t.Object).String(), t.Origin)
		} else if err != nil {
			return d.created(ctx, t)
		}
	}
	if live.GetDeletionTimestamp() != nil {
		if d.jobs.ran(t) {
			return nil, nil // it goes because it ran, and an apply does not run it again
		}
		diff := objectDiff(t.Object, Recreate, nil)
		diff.Why = "it is being deleted and waits for " + waitsFor(d.memberOf(live, t.key.GroupKind, t.mapping.Resource))
		return &diff, nil
	}
	keepLive(t.Object, live)
	if _, err := t.fill(ctx, live); err != nil {
		return nil, err
	}
	if isCurrent := current(t.Unstructured, live); isCurrent && t.Hook != nil && d.jobs.stale(t) {
		diff := objectDiff(t.Object, Recreate, nil)
		diff.Why = "it runs again, since what it reads has changed"
		return &diff, nil
	} else if isCurrent {
		return nil, nil
	}
	change, why := Update, ""
	want, held, err := d.try(ctx, t)
	if isImmutable(err) {
		change, why, want = Recreate, immutableFields(err)+" cannot be changed", t.Unstructured.DeepCopy()
		if !isRecreated(t.key.GroupKind, live) {
			change = Update
			why += ", and kdev deletes no " + t.GetKind() + " for it, so that an apply is refused"
		}
		live = only(live, want)
	} else if err != nil {
		return nil, err
	} else if held != nil {
		why = held.String() + " (" + held.fields + "), so that an apply is refused"
	}
	if err == nil {
		want = d.tryAdopted(ctx, t, live, want)
	}
	fields := fieldDiffs(plainForm(live), plainForm(want), isSecret(want))
	if len(fields) == 0 && change == Update && err == nil {
		return nil, nil
	}
	diff := objectDiff(t.Object, change, fields)
	diff.Why = why
	return &diff, nil
}

// created is the diff of an object that is not there. The API server looks at it all the
// same, but where it can not: then the diff says so.
func (d *Deployer) created(ctx context.Context, t target) (*ObjectDiff, error) {
	if d.jobs.ran(t) {
		return nil, nil
	}
	diff := objectDiff(t.Object, Create, nil)
	if t.values != nil {
		return &diff, nil // kdev makes it, and its values when it is applied
	}
	_, _, err := d.try(ctx, t)
	var r *refusal
	switch {
	case err == nil:
	case !errors.As(err, &r):
		return nil, err
	case isNoNamespace(r.status):
		diff.Why = "not checked: namespace " + t.key.namespace + " is not there yet"
	case apierrors.IsForbidden(r.status):
		// A quota, a policy, or a right that other objects may give it.
		diff.Why = "not checked: " + oneLine(r.status.Error(), 300)
	case strings.Contains(r.status.Error(), "does not support dry run"):
		diff.Why = "not checked: an admission webhook supports no dry run"
	default:
		return nil, err
	}
	return &diff, nil
}

// kindsOf are the kinds of the CRDs among objects.
func kindsOf(objects []*Object) map[schema.GroupKind]bool {
	kinds := map[schema.GroupKind]bool{}
	for _, o := range objects {
		if o.GroupVersionKind().GroupKind() == crdKind {
			group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
			kinds[schema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	return kinds
}

// prunable lists what Prune would remove.
func (d *Deployer) prunable(ctx context.Context, wanted map[objectKey]bool) ([]member, error) {
	cm, err := d.parent(ctx)
	if err != nil || cm == nil {
		return nil, err
	}
	all, err := d.members(ctx, parseMembers(cm.Annotations))
	if err != nil {
		return nil, err
	}
	var going []member
	none := func(objectKey) (string, error) { return "", nil } // the pods will be others by then
	for _, m := range all {
		if wanted[m.key] {
			continue
		}
		why, err := d.precious(ctx, m, none)
		if err != nil {
			return nil, err
		}
		if why == "" {
			going = append(going, m)
		}
	}
	return going, nil
}

func objectDiff(o *Object, change Change, fields []FieldDiff) ObjectDiff {
	return ObjectDiff{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(),
		Origin: o.Origin, Change: change, Fields: fields}
}

func sortDiffs(diffs []ObjectDiff) {
	slices.SortStableFunc(diffs, func(a, b ObjectDiff) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
}

func keyOf(o *Object) objectKey {
	return objectKey{o.GroupVersionKind().GroupKind(), o.GetNamespace(), o.GetName()}
}

func isSecret(u *unstructured.Unstructured) bool {
	return u.GroupVersionKind().GroupKind() == schema.GroupKind{Kind: "Secret"}
}

func isUnknownKind(err error) bool {
	p := problem.As(err)
	return p != nil && p.Code == "kind-unknown"
}
