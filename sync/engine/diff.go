package engine

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// A Kind is what an operation does.
type Kind int

const (
	Remove Kind = iota // a file or link, or a directory if it is empty
	Mkdir
	Put
	Link
	Chmod
	Clash // nothing: a file is desired where other desired files need a directory
)

func (k Kind) String() string {
	return [...]string{"remove", "mkdir", "put", "link", "chmod", "clash"}[k]
}

// An Op makes one path what it should be.
type Op struct {
	Kind Kind
	Path string
	File File // what it becomes; nothing for Remove

	// Old is what the path is known to hold, nil when nobody knows. A zero Mode
	// and Digest stand for nothing.
	Old     *File
	SetPerm bool // Put: use the permission bits of File, not those of what is replaced
	Now     bool // Remove: at once, since it is in the way of an operation that follows
}

// Diff lists what makes known desired. roots bound the removal of directories:
// one that only had entries below it goes with the last of them, if it lies
// inside a root.
func Diff(desired, known *Tree, roots *Roots) []Op {
	paths := make([]string, 0, desired.Len())
	for p := range desired.files {
		paths = append(paths, p)
	}
	for p := range known.files {
		if _, ok := desired.files[p]; !ok {
			paths = append(paths, p)
		}
	}
	return DiffPaths(desired, known, roots, paths)
}

// DiffPaths is Diff for some of the paths.
func DiffPaths(desired, known *Tree, roots *Roots, paths []string) []Op {
	paths = slices.Clone(paths)
	slices.Sort(paths)
	d := differ{desired: desired, known: known, roots: roots, gone: map[string]bool{}, dirs: map[string]bool{}}
	for _, p := range slices.Compact(paths) {
		d.path(p)
	}
	return d.ops()
}

type differ struct {
	desired, known *Tree
	roots          *Roots

	now, mkdirs, puts, chmods, removes, clashes []Op
	gone                                        map[string]bool // removed by now
	dirs                                        map[string]bool // to be removed when empty
}

// ops puts the operations in order: what is in the way goes first; directories
// exist before their content; what is no longer wanted goes last, so that a file
// that was renamed is always there under one of its names.
func (d *differ) ops() []Op {
	dirs := slices.Sorted(maps.Keys(d.dirs))
	slices.Reverse(dirs) // what is below first
	for _, dir := range dirs {
		if d.gone[dir] {
			continue
		}
		d.removes = append(d.removes, Op{Kind: Remove, Path: dir})
	}
	removes := slices.DeleteFunc(d.removes, func(op Op) bool { return d.gone[op.Path] })
	return slices.Concat(d.now, d.mkdirs, d.puts, d.chmods, removes, d.clashes)
}

func (d *differ) path(p string) {
	want, wanted := d.desired.Get(p)
	have, had := d.known.Get(p)
	switch {
	case wanted && want.Stays():
	case wanted && want.dir():
		d.clearAbove(p)
		d.directory(p, want, have, had)
	case wanted:
		d.clearAbove(p)
		d.file(p, want, have, had)
	case had && d.stays(p):
	case had && have.dir():
		if !d.desired.Below(p) {
			d.dirs[p] = true
			d.emptied(p)
		}
	case had:
		if d.desired.Below(p) {
			d.removeNow(p) // a directory takes its place
			return
		}
		d.removes = append(d.removes, Op{Kind: Remove, Path: p, Old: &have})
		d.emptied(p)
	}
}

func (d *differ) directory(p string, want, have File, had bool) {
	switch {
	case had && have.dir():
		if !want.samePerm(have) {
			d.chmods = append(d.chmods, Op{Kind: Chmod, Path: p, File: want, Old: &have})
		}
		return
	case had:
		d.removeNow(p)
	case d.known.Below(p) && d.desired.Below(p):
		return // it is there, and its content keeps it
	}
	d.mkdirs = append(d.mkdirs, Op{Kind: Mkdir, Path: p, File: want, SetPerm: true})
}

func (d *differ) file(p string, want, have File, had bool) {
	if had && want.SameContent(have) {
		if !want.samePerm(have) {
			d.chmods = append(d.chmods, Op{Kind: Chmod, Path: p, File: want, Old: &have})
		}
		return
	}
	if d.desired.Below(p) && (!want.link() || d.known.Below(p)) {
		// No tree of files on a disk is like this, so two lines of a Dockerfile or two
		// rules are at odds. What is below was not given up: it stays.
		d.clashes = append(d.clashes, Op{Kind: Clash, Path: p, File: want})
		return
	}
	// A directory that was only met there is somebody else's: whoever carries out the Put
	// refuses it, even where it is empty.
	met := had && have.dir() && have.Mode&permBits == 0 && !d.known.Below(p)
	if !met && (d.known.Below(p) || had && have.dir()) {
		d.removeTree(p)
		have, had = File{}, false
	}
	op := Op{Kind: Put, Path: p, File: want, SetPerm: true}
	if want.link() {
		op.Kind = Link
	}
	switch {
	case met:
		op.Old = &have
	case !had:
		op.Old = &File{}
	case have.certain():
		op.Old = &have
		op.SetPerm = have.link() || !want.samePerm(have)
	default:
		op.SetPerm = !want.samePerm(have)
	}
	d.puts = append(d.puts, op)
}

// stays says whether p lies below a directory of which nobody knows what it should hold.
func (d *differ) stays(p string) bool {
	for dir := path.Dir(p); dir != "/" && dir != "."; dir = path.Dir(dir) {
		if want, ok := d.desired.Get(dir); ok && want.Stays() {
			return true
		}
	}
	return false
}

// clearAbove removes files that stand where p needs a directory.
func (d *differ) clearAbove(p string) {
	for dir := path.Dir(p); dir != "/" && dir != "."; dir = path.Dir(dir) {
		have, had := d.known.Get(dir)
		if !had || have.dir() || d.gone[dir] {
			continue
		}
		if want, wanted := d.desired.Get(dir); !wanted || want.dir() {
			d.removeNow(dir)
		}
	}
}

func (d *differ) removeNow(p string) {
	if d.gone[p] {
		return
	}
	d.gone[p] = true
	have, had := d.known.Get(p)
	op := Op{Kind: Remove, Path: p, Now: true}
	if had && !have.dir() && have.certain() {
		op.Old = &have
	}
	d.now = append(d.now, op)
}

// removeTree removes what is known below p and the directories there, so that a
// file can take p's place.
func (d *differ) removeTree(p string) {
	all := map[string]bool{p: true}
	for _, q := range d.known.Under(p) {
		all[q] = true
		for dir := path.Dir(q); dir != p; dir = path.Dir(dir) {
			all[dir] = true
		}
	}
	list := slices.Sorted(maps.Keys(all))
	slices.Reverse(list)
	for _, q := range list {
		d.removeNow(q)
	}
}

// emptied marks the directories above p that exist for nothing any more.
func (d *differ) emptied(p string) {
	for dir := path.Dir(p); d.roots.Inside(dir) && !d.dirs[dir]; dir = path.Dir(dir) {
		if _, wanted := d.desired.Get(dir); wanted || d.desired.Below(dir) {
			return
		}
		d.dirs[dir] = true
	}
}

// Apply records in known that op was carried out.
func (t *Tree) Apply(op Op) {
	if op.Kind == Remove {
		t.Delete(op.Path)
		return
	}
	f := op.File
	if op.Kind == Chmod {
		if old, ok := t.Get(op.Path); ok {
			old.Mode = old.Mode&^permBits | f.Mode&permBits
			f = old
		}
	}
	f.Local = ""
	t.Set(op.Path, f)
}

// String is "put /app/x".
func (o Op) String() string {
	s := o.Kind.String() + " " + o.Path
	if o.Now {
		s += " now"
	}
	return strings.TrimSpace(s)
}
