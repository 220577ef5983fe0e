package deploy

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
)

// adopted are the managers whose fields adopt hands over.
func adopted() sets.Set[string] { return sets.New("kubectl-client-side-apply", creator) }

// adopt hands the fields that `kubectl apply` wrote over to kdev, at the first
// contact with an object that it made: a field that later leaves the manifest
// would otherwise stay for ever, since kubectl still owns it (kubernetes#99003).
// The same holds for what kdev created before it applied.
func (d *Deployer) adopt(ctx context.Context, t target, was *unstructured.Unstructured) error {
	if ownedFields(was) != nil {
		return nil
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(was, adopted(), fieldManager)
	if err != nil || patch == nil {
		return err
	}
	_, err = t.resource.Patch(ctx, t.key.name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		return nil // it changed meanwhile; the apply takes what it can
	}
	if err != nil {
		return d.refusedProblem(err, t.Object)
	}
	return nil
}

// tryAdopted completes a dry run by what adopt lets go: it writes, so that no dry run of an
// apply could follow it. now is what the dry run of the apply alone came to.
func (d *Deployer) tryAdopted(ctx context.Context, t target, was, now *unstructured.Unstructured) *unstructured.Unstructured {
	left := afterAdoption(was, now)
	if left == now {
		return now
	}
	// What goes may have a default. Who may patch and not update sees it go.
	full, err := t.resource.Update(ctx, left, metav1.UpdateOptions{FieldManager: fieldManager, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return left
	}
	return full
}

// afterAdoption is now without the fields of was that adopt hands over, that the manifest
// does not have and that nobody else owns.
func afterAdoption(was, now *unstructured.Unstructured) *unstructured.Unstructured {
	handed := was.DeepCopy()
	if ownedFields(was) != nil || csaupgrade.UpgradeManagedFields(handed, adopted(), fieldManager) != nil {
		return now
	}
	left := now.DeepCopy()
	stays := fieldsOfOthers(handed)
	mergeFields(stays, ownedFields(now))
	left.Object, _ = lose(left.Object, ownedFields(handed), stays).(map[string]any)
	if reflect.DeepEqual(left.Object, now.Object) {
		return now
	}
	return left
}

// fieldsOfOthers is the FieldsV1 tree of all that somebody else than kdev manages.
func fieldsOfOthers(u *unstructured.Unstructured) map[string]any {
	all := map[string]any{}
	for _, e := range u.GetManagedFields() {
		if e.Manager == fieldManager && e.Operation == metav1.ManagedFieldsOperationApply || e.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) == nil {
			mergeFields(all, fields)
		}
	}
	return all
}

// mergeFields puts a FieldsV1 tree into another one.
func mergeFields(into, tree map[string]any) {
	for key, v := range tree {
		below, _ := v.(map[string]any)
		had, ok := into[key].(map[string]any)
		if !ok {
			had = map[string]any{}
			into[key] = had
		}
		mergeFields(had, below)
	}
}

// lose is a value without what the FieldsV1 tree going has and stays has not. Fields that
// neither has, as defaults, stay where what holds them does.
func lose(v any, going, stays map[string]any) any {
	for key, tree := range going {
		if _, there := step(key, v); key == "." || !there {
			continue
		}
		below, _ := tree.(map[string]any)
		keep, kept := stays[key].(map[string]any)
		_, whole := below["."]
		whole = (whole || len(below) == 0) && !kept
		switch from := v.(type) {
		case map[string]any:
			name := strings.TrimPrefix(key, "f:")
			if whole {
				delete(from, name)
			} else {
				from[name] = lose(from[name], below, keep)
			}
		case []any:
			left := make([]any, 0, len(from))
			for _, item := range from {
				if _, is := step(key, []any{item}); !is {
					left = append(left, item)
				} else if !whole {
					left = append(left, lose(item, below, keep))
				}
			}
			v = left
		}
	}
	return v
}
