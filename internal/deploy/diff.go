package deploy

import (
	"cmp"
	"context"
	"slices"
	"strings"

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
	Why        string      `json:"why,omitempty"`    // of Recreate, and of an Update that an apply refuses
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
// cluster. It writes nothing: the API server computes each change in a dry run.
func (d *Deployer) Diff(ctx context.Context, objects []*Object) ([]ObjectDiff, error) {
	d = d.beside()
	if _, err := d.parent(ctx); err != nil {
		return nil, err // it knows which Jobs and hooks ran
	}
	var targets []target
	var diffs []ObjectDiff
	wanted := map[objectKey]bool{}
	for _, o := range Copy(objects) {
		t, err := d.target(o)
		if isUnknownKind(err) {
			diffs = append(diffs, objectDiff(o, Create, nil)) // its CRD is among the objects, or the apply will say
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
	if err != nil {
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
		diffs = append(diffs, objectDiff(&Object{Unstructured: m.Unstructured}, Remove, nil))
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
		if d.jobs.ran(t) {
			return nil, nil
		}
		diff := objectDiff(t.Object, Create, nil)
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
			why += ", and kdev deletes no " + t.GetKind() + " for it"
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
	if len(fields) == 0 && change == Update {
		return nil, nil
	}
	diff := objectDiff(t.Object, change, fields)
	diff.Why = why
	return &diff, nil
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
