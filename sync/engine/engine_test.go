package engine

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
)

// A disk is a file system in memory that refuses what a real one refuses.
type disk map[string]File

func newDisk(files map[string]File) disk {
	d := disk{"/": {Mode: fs.ModeDir | 0o755}}
	for _, p := range slices.Sorted(maps.Keys(files)) {
		d.makeAbove(p)
		d[p] = files[p]
	}
	return d
}

func (d disk) makeAbove(p string) error {
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		if f, ok := d[dir]; ok && !f.dir() {
			return fmt.Errorf("%s is no directory", dir)
		}
	}
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		if _, ok := d[dir]; !ok {
			d[dir] = File{Mode: fs.ModeDir | 0o755}
		}
	}
	return nil
}

func (d disk) empty(p string) bool {
	for q := range d {
		if strings.HasPrefix(q, p+"/") {
			return false
		}
	}
	return true
}

// do carries out an operation as the agent does.
func (d disk) do(op Op) error {
	have, exists := d[op.Path]
	if op.Old != nil && op.Kind != Chmod {
		wants := *op.Old != (File{})
		if wants != exists || wants && !have.SameContent(*op.Old) {
			return fmt.Errorf("%s: holds %+v, expected %+v", op, have, *op.Old)
		}
	}
	switch op.Kind {
	case Remove:
		switch {
		case !exists:
		case have.dir() && !d.empty(op.Path):
			if op.Now {
				return fmt.Errorf("%s: not empty", op)
			}
		default:
			delete(d, op.Path)
		}
		return nil
	case Mkdir:
		if exists && !have.dir() {
			return fmt.Errorf("%s: in the way", op)
		}
		if err := d.makeAbove(op.Path); err != nil {
			return err
		}
		d[op.Path] = op.File
	case Put, Link:
		if exists && have.dir() {
			return fmt.Errorf("%s: a directory is in the way", op)
		}
		if err := d.makeAbove(op.Path); err != nil {
			return err
		}
		f := op.File
		if op.Kind == Put && !op.SetPerm && exists {
			f.Mode = have.Mode
		}
		d[op.Path] = f
	case Chmod:
		if !exists {
			return fmt.Errorf("%s: nothing there", op)
		}
		have.Mode = have.Mode&^permBits | op.File.Mode&permBits
		d[op.Path] = have
	}
	return nil
}

// A source of small random trees: few names, so that files, links and
// directories take each other's places all the time.
type source struct{ *rand.Rand }

func (s source) path(depth int) string {
	p := "/app"
	for range 1 + s.IntN(depth) {
		p += "/" + string(rune('a'+s.IntN(3)))
	}
	return p
}

func (s source) file() File {
	switch s.IntN(8) {
	case 0:
		return File{Mode: fs.ModeDir | 0o755}
	case 1:
		return File{Mode: fs.ModeSymlink | 0o777, Link: string(rune('x' + s.IntN(2)))}
	}
	return File{Mode: []fs.FileMode{0o644, 0o755}[s.IntN(2)], Digest: [32]byte{byte(1 + s.IntN(3))}}
}

// tree makes a tree in which nothing but directories has something below it.
func (s source) tree(size int) map[string]File {
	files := map[string]File{}
	for range size {
		p, f := s.path(4), s.file()
		fits := true
		for q, g := range files {
			if strings.HasPrefix(p, q+"/") && !g.dir() || strings.HasPrefix(q, p+"/") && !f.dir() {
				fits = false
			}
		}
		if fits {
			files[p] = f
		}
	}
	return files
}

func rootsOf(trees ...map[string]File) *Roots {
	var r Roots
	r.Add("/app/x")
	for _, t := range trees {
		for p := range t {
			r.Add(p)
		}
	}
	return &r
}

func TestDiffMakesKnownDesired(t *testing.T) {
	for seed := range uint64(20000) {
		s := source{rand.New(rand.NewPCG(seed, 1))}
		from, to := s.tree(8), s.tree(8)
		known, desired := NewTree(from), NewTree(to)
		roots := rootsOf(from, to)
		d := newDisk(from)
		foreign := map[string]File{}
		for range s.IntN(3) { // what the application wrote meanwhile
			p := s.path(4) + "-app"
			if d.makeAbove(p) == nil {
				d[p] = File{Mode: 0o600, Digest: [32]byte{99}}
				foreign[p] = d[p]
			}
		}
		ops := Diff(desired, known, roots)
		blocked := false
		for _, op := range ops {
			if err := d.do(op); err != nil {
				// Only a directory that holds foreign files may refuse.
				if len(foreign) == 0 {
					t.Fatalf("seed %d: %v\nfrom %v\nto %v\nops %v", seed, err, from, to, ops)
				}
				blocked = true
				continue
			}
			known.Apply(op)
		}
		for p, f := range foreign {
			if d[p] != f {
				t.Fatalf("seed %d: %s was lost\nops %v", seed, p, ops)
			}
		}
		if blocked {
			continue
		}
		for p, f := range to {
			if got, ok := d[p]; !ok || !f.dir() && !f.SameContent(got) || f.dir() != got.dir() || !f.link() && !f.dir() && got.Mode != f.Mode {
				t.Fatalf("seed %d: %s holds %+v, want %+v\nfrom %v\nto %v\nops %v", seed, p, got, f, from, to, ops)
			}
		}
		for p, f := range d {
			if _, ok := to[p]; ok || foreign[p] == f && !f.dir() || p == "/" || desired.Below(p) || f.dir() && (!d.empty(p) || !roots.Inside(p)) {
				continue
			}
			t.Fatalf("seed %d: %s is left over: %+v\nfrom %v\nto %v\nops %v", seed, p, f, from, to, ops)
		}
		if again := Diff(desired, known, roots); len(again) != 0 {
			t.Fatalf("seed %d: a second time there is still %v\nfrom %v\nto %v", seed, again, from, to)
		}
	}
}

// Looking at the changed paths alone does the same as looking at all.
func TestDiffPathsIsDiff(t *testing.T) {
	for seed := range uint64(10000) {
		s := source{rand.New(rand.NewPCG(seed, 2))}
		from := s.tree(8)
		to := maps.Clone(from)
		for p, f := range s.tree(3) {
			clear := true
			for q, g := range to {
				if strings.HasPrefix(p, q+"/") && !g.dir() || strings.HasPrefix(q, p+"/") && !f.dir() {
					clear = false
				}
			}
			if clear {
				to[p] = f
			}
		}
		for p := range from {
			if s.IntN(3) == 0 {
				delete(to, p)
			}
		}
		var changed []string
		for p := range to {
			if to[p] != from[p] {
				changed = append(changed, p)
			}
		}
		for p := range from {
			if _, ok := to[p]; !ok {
				changed = append(changed, p)
			}
		}
		roots := rootsOf(from, to)
		some := fmt.Sprint(DiffPaths(NewTree(to), NewTree(from), roots, changed))
		all := fmt.Sprint(Diff(NewTree(to), NewTree(from), roots))
		if some != all {
			t.Fatalf("seed %d: %s, of all %s\nfrom %v\nto %v", seed, some, all, from, to)
		}
	}
}

func TestOrder(t *testing.T) {
	file := func(n byte) File { return File{Mode: 0o644, Digest: [32]byte{n}} }
	dir := File{Mode: fs.ModeDir | 0o755}
	tests := []struct {
		name        string
		known, want map[string]File
		ops         string
	}{
		{"a rename keeps one of the names", map[string]File{"/app/a": file(1)}, map[string]File{"/app/b": file(1)}, "[put /app/b remove /app/a]"},
		{"a file becomes a directory", map[string]File{"/app/a": file(1)}, map[string]File{"/app/a/b": file(2)}, "[remove /app/a now put /app/a/b]"},
		{"a directory becomes a file", map[string]File{"/app/a/b/c": file(1), "/app/a/d": file(1)}, map[string]File{"/app/a": file(2)},
			"[remove /app/a/d now remove /app/a/b/c now remove /app/a/b now remove /app/a now put /app/a]"},
		{"empty directories", map[string]File{"/app/old": dir, "/app/x": file(1)}, map[string]File{"/app/new": dir, "/app/x": file(1)}, "[mkdir /app/new remove /app/old]"},
		{"the last file takes its directories along", map[string]File{"/app/a/b/c": file(1), "/app/x": file(1)}, map[string]File{"/app/x": file(1)},
			"[remove /app/a/b/c remove /app/a/b remove /app/a]"},
		{"but not the root", map[string]File{"/app/c": file(1)}, map[string]File{}, "[remove /app/c]"},
		{"mode alone", map[string]File{"/app/c": file(1)}, map[string]File{"/app/c": {Mode: 0o755, Digest: [32]byte{1}}}, "[chmod /app/c]"},
		{"an unknown mode is none", map[string]File{"/app/c": {Digest: [32]byte{1}}}, map[string]File{"/app/c": file(1)}, "[]"},
		{"an unknown content is another", map[string]File{"/app/c": {Mode: 0o644}}, map[string]File{"/app/c": file(1)}, "[put /app/c]"},
		{"what nobody could read stays", map[string]File{"/app/a": file(1), "/app/b": file(1)}, map[string]File{"/app/a": Uncertain(), "/app/b": file(2), "/app/c": Uncertain()}, "[put /app/b]"},
		{"and all below a directory that nobody could read", map[string]File{"/app/d/a/b": file(1), "/app/d/c": file(1), "/app/e": file(1)}, map[string]File{"/app/d": Uncertain()}, "[remove /app/e]"},
		{"and keeps its directory", map[string]File{"/app/d/a": file(1), "/app/d/b": file(1)}, map[string]File{"/app/d/a": Uncertain()}, "[remove /app/d/b]"},
		{"a directory that its files imply", map[string]File{"/app/d/x": file(1)}, map[string]File{"/app/d": dir, "/app/d/x": file(1)}, "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fmt.Sprint(Diff(NewTree(tt.want), NewTree(tt.known), rootsOf(map[string]File{"/app/z": {}}))); got != tt.ops {
				t.Errorf("got %s, want %s", got, tt.ops)
			}
		})
	}
}

// A file keeps the permission bits of what it replaces, unless they changed here.
func TestSetPerm(t *testing.T) {
	known := NewTree(map[string]File{"/app/a": {Mode: 0o644, Digest: [32]byte{1}}, "/app/b": {Mode: 0o644, Digest: [32]byte{1}}, "/app/u": {Mode: fs.ModeIrregular}})
	ops := Diff(NewTree(map[string]File{
		"/app/a": {Mode: 0o644, Digest: [32]byte{2}}, "/app/b": {Mode: 0o755, Digest: [32]byte{2}}, "/app/n": {Mode: 0o644, Digest: [32]byte{2}}, "/app/u": {Mode: 0o644, Digest: [32]byte{2}},
	}), known, rootsOf(nil))
	want := map[string]bool{"/app/a": false, "/app/b": true, "/app/n": true, "/app/u": false}
	for _, op := range ops {
		if op.SetPerm != want[op.Path] {
			t.Errorf("%s: SetPerm %v", op, op.SetPerm)
		}
		if (op.Old == nil) != (op.Path == "/app/u") {
			t.Errorf("%s: Old %v", op, op.Old)
		}
	}
}

func TestRoots(t *testing.T) {
	var r Roots
	for _, p := range []string{"/app/src/a.py", "/app/src/b/c.py", "/usr/share/nginx/html/i.html", "/entry.sh"} {
		r.Add(p)
	}
	for p, want := range map[string]string{"/app/src/a.py": "/app/src", "/usr/share/nginx/html/x/y": "/usr/share/nginx/html", "/entry.sh": "/", "/srv/x": "/srv"} {
		if got := r.For(p); got != want {
			t.Errorf("root of %s is %s, want %s", p, got, want)
		}
	}
	if got := r.For("/usr/share/doc/x"); got != "/usr/share" {
		t.Errorf("widened to %s", got)
	}
	if !r.Inside("/app/src/b") || r.Inside("/app/src") || r.Inside("/app") || r.Inside("/other") {
		t.Error("inside")
	}
}

func BenchmarkOneOf50000(b *testing.B) {
	files := map[string]File{}
	for i := range 50000 {
		files[fmt.Sprintf("/app/%d/%d/file", i%100, i)] = File{Mode: 0o644, Digest: [32]byte{1}}
	}
	desired, known := NewTree(files), NewTree(files)
	roots := rootsOf(files)
	desired.Set("/app/1/1/file", File{Mode: 0o644, Digest: [32]byte{2}})
	for b.Loop() {
		if len(DiffPaths(desired, known, roots, []string{"/app/1/1/file"})) != 1 {
			b.Fatal("not one")
		}
	}
}

// A file takes the place of a directory only when that was given up.
func TestFileForDirectory(t *testing.T) {
	file := func(n byte) File { return File{Mode: 0o644, Digest: [32]byte{n}} }
	dir, met := File{Mode: fs.ModeDir | 0o755}, File{Mode: fs.ModeDir}
	tests := []struct {
		name        string
		known, want map[string]File
		ops         string
	}{
		{"a folder of the project becomes a file", map[string]File{"/app/a": dir, "/app/a/b": file(1)}, map[string]File{"/app/a": file(2)},
			"[remove /app/a/b now remove /app/a now put /app/a]"},
		{"a folder that lost its last file before", map[string]File{"/app/a": dir}, map[string]File{"/app/a": file(2)}, "[remove /app/a now put /app/a]"},
		{"others are desired below", map[string]File{"/app/a": file(1), "/app/b": file(1)}, map[string]File{"/app": file(2), "/app/a": file(3)},
			"[put /app/a remove /app/b clash /app]"},
		{"others are desired below, nothing is there", nil, map[string]File{"/app": file(2), "/app/a": file(3)}, "[put /app/a clash /app]"},
		{"a link above files that are there", map[string]File{"/app/a": file(1)}, map[string]File{"/app": {Mode: fs.ModeSymlink, Link: "x"}, "/app/a": file(1)}, "[clash /app]"},
		{"a directory that was met", map[string]File{"/app": met}, map[string]File{"/app": file(2)}, "[put /app]"},
	}
	for _, test := range tests {
		var roots Roots
		for p := range test.want {
			roots.Add(p)
		}
		if got := fmt.Sprint(Diff(NewTree(test.want), NewTree(test.known), &roots)); got != test.ops {
			t.Errorf("%s: got %s, want %s", test.name, got, test.ops)
		}
	}
}
