package deploy

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// current says whether applying want would change nothing: everything in it is
// live with the same value, and every field that kdev owns is still in it.
// Where it errs, it errs towards false: that costs one request that changes
// nothing, while taking a difference for none would leave the cluster wrong.
func current(want, live *unstructured.Unstructured) bool {
	owned := ownedFields(live)
	if owned == nil {
		return false // never applied by kdev
	}
	if _, ours := entry(owned["f:spec"], "f:replicas"); !ours && podSpecPath(&Object{Unstructured: want}) != nil {
		// Somebody scales it; see [Deployer.apply].
		want = want.DeepCopy()
		unstructured.RemoveNestedField(want.Object, "spec", "replicas")
	}
	canon, _ := canonical(want)
	return contained(want.Object, canon, live.Object, owned, true) && covered(owned, want.Object)
}

// ownedFields is the FieldsV1 tree of what kdev applied, nil when there is none.
func ownedFields(live *unstructured.Unstructured) map[string]any {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != fieldManager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		var owned map[string]any
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned) == nil {
			return owned
		}
	}
	return nil
}

// canonical is the form that the API server gives a built-in object: quantities
// in their shortest form (0.5 is 500m), numbers and strings of the field's
// type, zero values left out. nil for kinds that client-go does not know.
func canonical(u *unstructured.Unstructured) (map[string]any, error) {
	typed, err := scheme.Scheme.New(u.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed); err != nil {
		return nil, err
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
}

// contained says whether every value of want is in live. canon is want in its
// canonical form, or nil; a field that is only in want is one of a newer API
// than client-go's and compared as it is. owned is the FieldsV1 tree here, which
// tells lists that are merged by key from those that are replaced.
func contained(want, canon, live any, owned map[string]any, top bool) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := live.(map[string]any)
		if !ok {
			return false
		}
		form, _ := canon.(map[string]any)
		for key, v := range want {
			if top && key == "status" {
				continue
			}
			h, ok := have[key]
			if !ok {
				if isZero(v) {
					continue // the API server leaves it out
				}
				return false
			}
			below, _ := owned["f:"+key].(map[string]any)
			if !contained(v, form[key], h, below, false) {
				return false
			}
		}
		return true
	case []any:
		have, ok := live.([]any)
		if !ok {
			return false
		}
		form, _ := canon.([]any)
		return containedList(want, form, have, owned)
	}
	if canon != nil {
		return equalScalar(canon, live)
	}
	return equalScalar(want, live)
}

// containedList compares a list as the API server merges it: by key or by value
// where the schema says so, which the keys of the owned fields show; others may
// then have items of their own in it, as sidecar injectors do.
func containedList(want, form, have []any, owned map[string]any) bool {
	at := func(i int) any {
		if i < len(form) {
			return form[i]
		}
		return nil
	}
	keys := slices.DeleteFunc(slices.Collect(maps.Keys(owned)), func(k string) bool { return !strings.HasPrefix(k, "k:") && !strings.HasPrefix(k, "v:") })
	if len(keys) == 0 {
		if len(have) != len(want) {
			return false
		}
		for i := range want {
			if !contained(want[i], at(i), have[i], nil, false) {
				return false
			}
		}
		return true
	}
	last := -1 // items keep their order; one that moved is a change
	for i := range want {
		key := slices.IndexFunc(keys, func(k string) bool { _, ok := step(k, []any{want[i]}); return ok })
		if key < 0 {
			return false // new in the manifest
		}
		below, _ := owned[keys[key]].(map[string]any)
		found := slices.IndexFunc(have, func(h any) bool { _, ok := step(keys[key], []any{h}); return ok })
		if found <= last || !contained(want[i], at(i), have[found], below, false) {
			return false
		}
		last = found
	}
	return true
}

// isZero says whether the API server may leave a value out.
func isZero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}

// equalScalar compares numbers by value: YAML gives int64, JSON may give float64.
func equalScalar(a, b any) bool {
	if a == b {
		return true
	}
	fa, aok := number(a)
	fb, bok := number(b)
	return aok && bok && fa == fb
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// covered says whether every field of a FieldsV1 tree is in want. The grammar
// is that of structured-merge-diff: "f:NAME" a field, `k:{"name":"x"}` a list
// item by its keys, `v:"x"` a value of a set, "." the thing itself.
func covered(owned map[string]any, want any) bool {
	for key, below := range owned {
		if key == "." {
			continue
		}
		next, ok := step(key, want)
		if !ok {
			return false
		}
		if sub, isMap := below.(map[string]any); isMap && len(sub) > 0 && !covered(sub, next) {
			return false
		}
	}
	return true
}

func step(key string, v any) (any, bool) {
	kind, rest, _ := strings.Cut(key, ":")
	switch kind {
	case "f":
		return entry(v, rest)
	case "k":
		var keys map[string]any
		if json.Unmarshal([]byte(rest), &keys) != nil {
			return nil, false
		}
		items, _ := v.([]any)
		for _, item := range items {
			if m, ok := item.(map[string]any); ok && hasKeys(m, keys) {
				return m, true
			}
		}
	case "v":
		var value any
		if json.Unmarshal([]byte(rest), &value) != nil {
			return nil, false
		}
		items, _ := v.([]any)
		for _, item := range items {
			if equalScalar(item, value) {
				return item, true
			}
		}
	}
	return nil, false
}

func entry(v any, key string) (any, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	next, ok := m[key]
	return next, ok
}

// hasKeys matches a list item; a key that the manifest leaves to its default
// (protocol: TCP) matches too.
func hasKeys(item, keys map[string]any) bool {
	for k, want := range keys {
		have, ok := item[k]
		if !ok && k == "protocol" && want == "TCP" {
			continue
		}
		if !ok || !equalScalar(have, want) {
			return false
		}
	}
	return true
}

// differs says whether an apply changed an object: not in what the API server
// and controllers write by themselves.
func differs(was, now *unstructured.Unstructured) bool {
	return !reflect.DeepEqual(substance(was), substance(now))
}

func substance(u *unstructured.Unstructured) map[string]any {
	out := maps.Clone(u.Object)
	delete(out, "status")
	if metadata, ok := out["metadata"].(map[string]any); ok {
		metadata = maps.Clone(metadata)
		for _, key := range []string{"managedFields", "resourceVersion", "generation"} {
			delete(metadata, key)
		}
		out["metadata"] = metadata
	}
	return out
}
