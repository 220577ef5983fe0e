package deploy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// plainForm is an object without what the API server and kdev keep in it for
// themselves, in canonical form where that is known.
func plainForm(u *unstructured.Unstructured) map[string]any {
	o := &Object{Unstructured: u.DeepCopy()}
	readable(o)
	if canon, err := canonical(o.Unstructured); err == nil {
		// A field that client-go does not know would be lost.
		o.Object = overlay(o.Object, canon).(map[string]any)
	}
	delete(o.Object, "status")
	metadata, _ := o.Object["metadata"].(map[string]any)
	for _, key := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "finalizers", "ownerReferences", "namespace"} {
		delete(metadata, key)
	}
	for _, where := range []struct{ field, key string }{
		{"labels", partOfLabel}, {"annotations", "kubectl.kubernetes.io/last-applied-configuration"}, {"annotations", "deployment.kubernetes.io/revision"},
	} {
		if m, ok := metadata[where.field].(map[string]any); ok {
			delete(m, where.key)
			if len(m) == 0 {
				delete(metadata, where.field)
			}
		}
	}
	return o.Object
}

// overlay puts the canonical form over the original.
func overlay(original, canon any) any {
	switch o := original.(type) {
	case map[string]any:
		c, ok := canon.(map[string]any)
		if !ok {
			return original
		}
		out := map[string]any{}
		for key, v := range o {
			if cv, ok := c[key]; ok {
				out[key] = overlay(v, cv)
			} else if !isZero(v) {
				out[key] = v
			}
		}
		return out
	case []any:
		c, ok := canon.([]any)
		if !ok || len(c) != len(o) {
			return original
		}
		out := make([]any, len(o))
		for i := range o {
			out[i] = overlay(o[i], c[i])
		}
		return out
	}
	if canon == nil {
		return original
	}
	return canon
}

// only keeps of live what want has too, and what kdev wrote: the rest is what the API server
// filled in.
func only(live, want *unstructured.Unstructured) *unstructured.Unstructured {
	kept, _ := intersect(live.Object, want.Object, ownedFields(live)).(map[string]any)
	return &unstructured.Unstructured{Object: kept}
}

// intersect is only, below fields of which owned is the FieldsV1 tree.
func intersect(live, want any, owned map[string]any) any {
	l, lok := live.(map[string]any)
	w, wok := want.(map[string]any)
	if lok && wok {
		out := map[string]any{}
		for key, v := range l {
			below, ours := owned["f:"+key].(map[string]any)
			if wv, ok := w[key]; ok {
				out[key] = intersect(v, wv, below)
			} else if ours {
				out[key] = v
			}
		}
		return out
	}
	ll, lok := live.([]any)
	wl, wok := want.([]any)
	if lok && wok && len(ll) == len(wl) {
		out := make([]any, len(ll))
		for i := range ll {
			out[i] = intersect(ll[i], wl[i], nil)
		}
		return out
	}
	return live
}

// fieldDiffs walks two objects side by side.
func fieldDiffs(from, to map[string]any, secret bool) []FieldDiff {
	var diffs []FieldDiff
	walkDiff("", from, to, func(path string, a, b any) {
		if secret && ofValues(path) {
			a, b = masked(a, hiddenValue), masked(b, "*** (another)")
		}
		diffs = append(diffs, FieldDiff{path, a, b})
	})
	return diffs
}

// ofValues says whether a path of a Secret leads to one of its values, or to all of them.
func ofValues(path string) bool {
	for _, field := range []string{"data", "stringData"} {
		if rest, ok := strings.CutPrefix(path, field); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// hiddenValue stands for a value of a Secret.
const hiddenValue = "***"

func masked(v any, as string) any {
	if v == nil {
		return nil
	}
	return as
}

func walkDiff(path string, from, to any, found func(path string, from, to any)) {
	if reflect.DeepEqual(from, to) || equalScalarAny(from, to) {
		return
	}
	a, aok := from.(map[string]any)
	b, bok := to.(map[string]any)
	if aok && bok {
		keys := slices.Collect(maps.Keys(a))
		for key := range b {
			if _, both := a[key]; !both {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			walkDiff(join(path, key), a[key], b[key], found)
		}
		return
	}
	la, aok := from.([]any)
	lb, bok := to.([]any)
	if aok && bok {
		if names := itemNames(la, lb); names != nil {
			for _, name := range names {
				walkDiff(path+"["+name+"]", itemNamed(la, name), itemNamed(lb, name), found)
			}
			return
		}
		if len(la) == len(lb) {
			for i := range la {
				walkDiff(fmt.Sprintf("%s[%d]", path, i), la[i], lb[i], found)
			}
			return
		}
	}
	found(path, from, to)
}

func equalScalarAny(a, b any) bool {
	_, aok := number(a)
	_, bok := number(b)
	return aok && bok && equalScalar(a, b)
}

// join quotes keys that have dots, as annotations do.
func join(path, key string) string {
	if strings.ContainsAny(key, ".[]") {
		return path + "[" + key + "]"
	}
	return strings.TrimPrefix(path+"."+key, ".")
}

// itemNames lists the names of two lists' items, nil when an item has none or
// one name is there twice: such lists go by position.
func itemNames(a, b []any) []string {
	var names []string
	for _, list := range [][]any{a, b} {
		var seen []string
		for _, item := range list {
			m, _ := item.(map[string]any)
			name, _ := m["name"].(string)
			if name == "" || slices.Contains(seen, name) {
				return nil
			}
			seen = append(seen, name)
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func itemNamed(list []any, name string) any {
	for _, item := range list {
		if m, ok := item.(map[string]any); ok && m["name"] == name {
			return item
		}
	}
	return nil
}
