package deploy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// markUnstable compares two renders of the same files and marks, in the first, the
// fields that differ: passwords that a chart makes up, certificates, times.
func markUnstable(first, second []*Object) {
	again := map[objectKey]*Object{}
	for _, o := range second {
		again[keyOf(o)] = o
	}
	for _, o := range first {
		if other := again[keyOf(o)]; other != nil {
			differing(o.Object, other.Object, nil, func(path []string) { o.unstable = append(o.unstable, path) })
		}
	}
}

// differing calls found for each field, within maps, whose values differ.
func differing(a, b any, path []string, found func([]string)) {
	am, aok := a.(map[string]any)
	bm, bok := b.(map[string]any)
	if !aok || !bok {
		if !sameValue(a, b) {
			found(slices.Clone(path))
		}
		return
	}
	for key, v := range am {
		differing(v, bm[key], append(path, key), found)
	}
}

func sameValue(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// keepLive puts the live values of unstable fields into an object, so that what a
// chart makes up once is not made up again at each apply. It says which.
func keepLive(o *Object, live *unstructured.Unstructured) []string {
	if live == nil {
		return nil
	}
	var kept []string
	for _, path := range o.unstable {
		if path[0] == "stringData" { // where it has moved to
			path = append([]string{"data"}, path[1:]...)
		}
		v, ok, err := unstructured.NestedFieldCopy(live.Object, path...)
		if err != nil || !ok {
			continue
		}
		if unstructured.SetNestedField(o.Object, v, path...) == nil {
			kept = append(kept, strings.Join(path, "."))
		}
	}
	slices.Sort(kept)
	return kept
}
