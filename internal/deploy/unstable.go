package deploy

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// A trail leads to a field: through the keys of maps, and through the items of lists by
// their name, else by their place.
type trail []hop

// A hop is one step of a trail.
type hop struct {
	key   string // of a map; of a list the item's name, "" for one that goes by its place
	item  bool   // of a list
	index int
}

func (p trail) String() string {
	path := ""
	for _, h := range p {
		switch {
		case h.item && h.key != "":
			path += "[" + h.key + "]"
		case h.item:
			path += fmt.Sprintf("[%d]", h.index)
		default:
			path = join(path, h.key)
		}
	}
	return path
}

// in is where the path leads to in an object, through what has the same places as like: a list
// that goes by place and has another length there is another list.
func (p trail) in(v, like any) (any, bool) {
	for _, h := range p {
		var ok bool
		if v, ok = h.in(v, like); !ok {
			return nil, false
		}
		like, _ = h.in(like, like)
	}
	return v, true
}

func (h hop) in(v, like any) (any, bool) {
	if !h.item {
		return entry(v, h.key)
	}
	list, _ := v.([]any)
	if h.key != "" {
		item := itemNamed(list, h.key)
		return item, item != nil
	}
	if other, _ := like.([]any); len(other) != len(list) || h.index >= len(list) {
		return nil, false
	}
	return list[h.index], true
}

// set puts a value where the path leads to; remove takes away what is there. In a list its
// place stays, so that those behind it keep theirs.
func (p trail) set(object map[string]any, v any) bool { return p.change(object, v, false) }
func (p trail) remove(object map[string]any)          { p.change(object, nil, true) }

func (p trail) change(object map[string]any, v any, remove bool) bool {
	above, ok := p[:len(p)-1].in(object, object)
	if !ok {
		return false
	}
	last := p[len(p)-1]
	switch above := above.(type) {
	case map[string]any:
		if remove {
			delete(above, last.key)
		} else {
			above[last.key] = v
		}
		return true
	case []any:
		for i := range above {
			if i == last.index && last.key == "" || last.key != "" && itemNamed(above[i:i+1], last.key) != nil {
				above[i] = v
				return true
			}
		}
	}
	return false
}

// markUnstable compares two renders of the same files and marks, in the first, the
// fields that differ: passwords that a chart makes up, certificates, times.
func markUnstable(first, second []*Object) {
	again := map[objectKey]*Object{}
	for _, o := range second {
		again[keyOf(o)] = o
	}
	for _, o := range first {
		if other := again[keyOf(o)]; other != nil {
			differing(o.Object, other.Object, nil, func(path trail) { o.unstable = append(o.unstable, path) })
		}
	}
}

// differing calls found for each field whose values differ: within maps, and within lists
// whose items have names, or are as many.
func differing(a, b any, path trail, found func(trail)) {
	below := func(h hop, a, b any) { differing(a, b, append(slices.Clip(path), h), found) }
	if am, ok := a.(map[string]any); ok {
		if bm, ok := b.(map[string]any); ok {
			for key, v := range am {
				below(hop{key: key}, v, bm[key])
			}
			return
		}
	}
	al, aok := a.([]any)
	bl, bok := b.([]any)
	switch {
	case aok && bok && itemNames(al, bl) != nil:
		for _, item := range al {
			name := item.(map[string]any)["name"].(string) // itemNames has looked
			below(hop{key: name, item: true}, item, itemNamed(bl, name))
		}
	case aok && bok && len(al) == len(bl):
		for i := range al {
			below(hop{item: true, index: i}, al[i], bl[i])
		}
	case !sameValue(a, b):
		found(slices.Clone(path))
	}
}

func sameValue(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// keepLive puts the live values of unstable fields into an object, so that what a
// chart makes up once is not made up again at each apply. It says which, and which it had to
// leave as this render has them: a list that has other items each time has no value that
// could stay, and an image is kdev's to choose.
func keepLive(o *Object, live *unstructured.Unstructured) (kept, anew []string) {
	if live == nil {
		return nil, nil
	}
	for _, path := range o.unstable {
		path = path.moved()
		want, ok := path.in(o.Object, o.Object)
		if !ok || holdsImage(path, want) {
			continue
		}
		v, ok := path.in(live.Object, o.Object)
		_, list := want.([]any)
		switch {
		case ok && !list && !holdsImage(path, v) && path.set(o.Object, runtime.DeepCopyJSONValue(v)):
			kept = append(kept, path.String())
		case list || path.inList():
			anew = append(anew, path.String())
		}
	}
	slices.Sort(kept)
	slices.Sort(anew)
	return kept, anew
}

// moved is where a path of a Secret's stringData leads to once [readable] has been there.
func (p trail) moved() trail {
	if p[0].key == "stringData" {
		p = append(trail{{key: "data"}}, p[1:]...)
	}
	return p
}

func (p trail) inList() bool { return slices.ContainsFunc(p, func(h hop) bool { return h.item }) }

// holdsImage says whether a field is an image, or has one within it.
func holdsImage(path trail, v any) bool {
	last := path[len(path)-1]
	if _, text := v.(string); text && !last.item && last.key == "image" {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		for key, below := range v {
			if holdsImage(trail{{key: key}}, below) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(below any) bool { return holdsImage(trail{{item: true}}, below) })
	}
	return false
}
