package assemble

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A rootfs is the file tree of an image, merged from the listings of its layers.
type rootfs struct {
	nodes map[string]*node
	names map[string][]string // by folder, sorted
}

// newRootfs applies listings from the bottom up, as a runtime unpacks layers.
func newRootfs(layers []*listing) *rootfs {
	r := &rootfs{nodes: map[string]*node{".": {Mode: fs.ModeDir | 0o755}}}
	for _, l := range layers {
		r.apply(l)
	}
	r.names = make(map[string][]string, len(r.nodes)/8)
	for p := range r.nodes {
		if p != "." {
			dir := path.Dir(p)
			r.names[dir] = append(r.names[dir], path.Base(p))
		}
	}
	for _, names := range r.names {
		slices.Sort(names)
	}
	return r
}

// Whiteouts of the OCI layer spec.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

func (r *rootfs) apply(l *listing) {
	// Whiteouts hide what is below this layer, whatever their place in it.
	for i := range l.Entries {
		e := &l.Entries[i]
		dir, base := path.Dir(e.Path), path.Base(e.Path)
		switch {
		case base == opaque:
			r.removeBelow(dir)
		case strings.HasPrefix(base, whiteout):
			gone := path.Join(dir, strings.TrimPrefix(base, whiteout))
			r.removeBelow(gone)
			delete(r.nodes, gone)
		}
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		if strings.HasPrefix(path.Base(e.Path), whiteout) {
			continue
		}
		r.add(l, e)
	}
}

func (r *rootfs) add(l *listing, e *entry) {
	// Tar files may leave folders out.
	for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
		if n := r.nodes[dir]; n != nil && n.isDir() {
			break
		}
		r.nodes[dir] = &node{Mode: fs.ModeDir | 0o755}
	}
	n := e.node
	if e.Hard != "" {
		// A second name of a file: the same content, wherever that is.
		target := r.nodes[e.Hard]
		if target == nil {
			return
		}
		n = *target
	} else if n.isRegular() {
		n.Content = content{Layer: l.Layer, Path: e.Path, Data: l.Small[e.Path]}
	}
	if old := r.nodes[e.Path]; old != nil && old.isDir() && !n.isDir() {
		r.removeBelow(e.Path)
	}
	r.nodes[e.Path] = &n
}

func (r *rootfs) removeBelow(dir string) {
	prefix := dir + "/"
	for p := range r.nodes {
		if strings.HasPrefix(p, prefix) || dir == "." && p != "." {
			delete(r.nodes, p)
		}
	}
}

func (r *rootfs) lstat(p string) (*node, error) { return r.nodes[p], nil }

func (r *rootfs) readDir(p string) ([]string, error) { return r.names[p], nil }

// merge is the union of a sorted list and more names, without those that keep
// refuses; sorted.
func merge(sorted, more []string, keep func(string) bool) []string {
	all := slices.Concat(sorted, more)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(n string) bool { return !keep(n) })
}
