package deploy

import (
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// current says whether applying want would change nothing: everything in it is
// live with the same value, and every field that kdev owns is still in it. A
// value that the API server writes in another form (0.5 against 500m) counts
// as different: that costs one request that changes nothing, while taking a
// difference for none would leave the cluster wrong.
func current(want, live *unstructured.Unstructured) bool {
	if !contained(want.Object, live.Object, true) {
		return false
	}
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != fieldManager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" {
			continue
		}
		var owned map[string]any
		if entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned) != nil {
			return false
		}
		return covered(owned, want.Object)
	}
	return false // never applied by kdev
}

// contained says whether every value of want is in live. Items of lists of
// maps are compared by position: the API server keeps an applied list's order.
func contained(want, live any, top bool) bool {
	switch want := want.(type) {
	case map[string]any:
		have, ok := live.(map[string]any)
		if !ok {
			return false
		}
		for key, v := range want {
			if top && key == "status" {
				continue
			}
			h, ok := have[key]
			if !ok {
				// The API server drops what is empty.
				if isEmpty(v) {
					continue
				}
				return false
			}
			if !contained(v, h, false) {
				return false
			}
		}
		return true
	case []any:
		have, ok := live.([]any)
		if !ok || len(have) != len(want) {
			return false
		}
		for i := range want {
			if !contained(want[i], have[i], false) {
				return false
			}
		}
		return true
	}
	return equalScalar(want, live)
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
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
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		next, ok := m[rest]
		return next, ok
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
