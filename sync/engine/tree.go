package engine

import (
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// A Tree maps absolute container paths to files. It also counts what lies below
// each directory, so that one changed file costs no walk. Not safe for
// concurrent use.
type Tree struct {
	files map[string]File
	below map[string]int
}

// NewTree returns a tree that holds files.
func NewTree(files map[string]File) *Tree {
	t := &Tree{files: make(map[string]File, len(files)), below: map[string]int{}}
	for p, f := range files {
		t.Set(p, f)
	}
	return t
}

// Len is the number of entries.
func (t *Tree) Len() int { return len(t.files) }

// Get returns the entry at p.
func (t *Tree) Get(p string) (File, bool) { f, ok := t.files[p]; return f, ok }

// All yields the entries in no order.
func (t *Tree) All() iter.Seq2[string, File] { return maps.All(t.files) }

// Set puts an entry at p.
func (t *Tree) Set(p string, f File) {
	if _, ok := t.files[p]; !ok {
		t.count(p, 1)
	}
	t.files[p] = f
}

// Delete removes the entry at p, not those below it.
func (t *Tree) Delete(p string) {
	if _, ok := t.files[p]; ok {
		delete(t.files, p)
		t.count(p, -1)
	}
}

func (t *Tree) count(p string, n int) {
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if t.below[dir] += n; t.below[dir] == 0 {
			delete(t.below, dir)
		}
		if dir == "/" || dir == "." {
			return
		}
	}
}

// Below says whether there are entries below p: it is a directory then, with or
// without an entry of its own.
func (t *Tree) Below(p string) bool { return t.below[p] > 0 }

// Under lists the paths below p, sorted. It looks at the whole tree.
func (t *Tree) Under(p string) []string {
	if !t.Below(p) {
		return nil
	}
	prefix := strings.TrimSuffix(p, "/") + "/"
	var all []string
	for q := range t.files {
		if strings.HasPrefix(q, prefix) {
			all = append(all, q)
		}
	}
	slices.Sort(all)
	return all
}

// Clone returns a copy.
func (t *Tree) Clone() *Tree {
	return &Tree{files: maps.Clone(t.files), below: maps.Clone(t.below)}
}

// Roots are the directories within which the operations on a set of paths stay:
// for each first component of a path the longest directory that they share. They
// bound what an operation may touch, links included.
type Roots struct{ top map[string]string }

// Add widens the roots so that p is strictly below one.
func (r *Roots) Add(p string) {
	if r.top == nil {
		r.top = map[string]string{}
	}
	dir := path.Dir(p)
	first := firstOf(dir)
	have, ok := r.top[first]
	if !ok {
		r.top[first] = dir
		return
	}
	for dir != have {
		if len(dir) > len(have) {
			dir = path.Dir(dir)
		} else {
			have = path.Dir(have)
		}
	}
	r.top[first] = have
}

// For returns the root of p, adding it if need be.
func (r *Roots) For(p string) string {
	root, ok := r.top[firstOf(path.Dir(p))]
	if !ok || root != "/" && !strings.HasPrefix(p, root+"/") {
		r.Add(p)
		root = r.top[firstOf(path.Dir(p))]
	}
	return root
}

// Inside says whether dir is strictly below a root.
func (r *Roots) Inside(dir string) bool {
	root, ok := r.top[firstOf(dir)]
	return ok && root != "/" && strings.HasPrefix(dir, root+"/")
}

func firstOf(dir string) string {
	rest := strings.TrimPrefix(dir, "/")
	first, _, _ := strings.Cut(rest, "/")
	return first
}
