package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStatSeesTheTreeAndNothingBehindLinks(t *testing.T) {
	x := open(t)
	write(t, x, "a/b/file", "hello")
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	link(t, x, outside, "out")
	link(t, x, "a", "in")

	for path, want := range map[string]bool{
		".": true, "a": true, "a/b/file": true, "out": true, "in": true,
		"none": false, "a/none/x": false, "a/b/file/x": false,
		"out/file": false, "in/b": false, "in/b/file": false,
	} {
		if _, ok, err := x.Stat(path); ok != want || err != nil {
			t.Errorf("Stat(%q) = %v, %v; want %v", path, ok, err, want)
		}
		if _, ok := x.Lookup(path); ok != want {
			t.Errorf("Lookup(%q) = %v after Stat said %v", path, ok, want)
		}
	}
	e, _, _ := x.Stat("in")
	if e.Link != "a" || e.Mode&fs.ModeSymlink == 0 {
		t.Errorf("link: %+v", e)
	}
	if _, _, err := x.Stat("../x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a path that leaves the tree: %v", err)
	}
	if err := os.RemoveAll(x.Abs("a")); err != nil {
		t.Fatal(err)
	}
	x.Stat("a")
	if _, ok := x.Lookup("a/b/file"); ok {
		t.Error("a file of a removed directory is still held")
	}
}

func TestReadDirAgreesWithLstat(t *testing.T) {
	x := open(t)
	write(t, x, "file", "12345")
	write(t, x, "dir/below", "")
	write(t, x, "bytes\xff\xfe", "")
	link(t, x, "file", "link")
	if err := os.Chmod(x.Abs("file"), 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	entries, err := x.ReadDir(".", func(string, bool) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 {
		t.Fatalf("entries: %+v", entries)
	}
	for _, e := range entries {
		if want, ok, err := x.Stat(e.Path); e != want || !ok || err != nil {
			t.Errorf("ReadDir %+v, Stat %+v %v %v", e, want, ok, err)
		}
	}
}

func TestHashIsRememberedByStat(t *testing.T) {
	x, ctx := open(t), context.Background()
	write(t, x, "f", "one")
	age(t, x, "f", time.Hour)
	if d, err := x.Hash(ctx, "f"); err != nil || d != sha256.Sum256([]byte("one")) {
		t.Fatalf("%v %v", d, err)
	}
	if _, ok := x.Known("f"); !ok {
		t.Fatal("not remembered")
	}
	if err := os.Chmod(x.Abs("f"), 0o700); err != nil {
		t.Fatal(err)
	}
	if e, _, err := x.Stat("f"); err != nil || e.Mode != 0o700 {
		t.Fatal(e, err)
	}
	if _, ok := x.Known("f"); !ok {
		t.Error("other permissions made a digest of the content forgotten")
	}
	write(t, x, "f", "three")
	age(t, x, "f", -time.Minute) // surely not older than the tick, however slow this machine is
	if d, _ := x.Hash(ctx, "f"); d != sha256.Sum256([]byte("three")) {
		t.Error("a change of size did not invalidate the digest")
	}
	if _, ok := x.Known("f"); ok {
		t.Error("a file hashed within its mtime's tick counts as known: a write in the same tick would be missed")
	}
	link(t, x, "target", "l")
	if d, _ := x.Hash(ctx, "l"); d != sha256.Sum256([]byte("target")) {
		t.Error("a link's digest is that of its target text")
	}
	for path, want := range map[string]error{"none": fs.ErrNotExist, ".": ErrNotFile} {
		if _, err := x.Hash(ctx, path); !errors.Is(err, want) {
			t.Errorf("Hash(%q): %v, want %v", path, err, want)
		}
	}
}

func TestOpenStaysInside(t *testing.T) {
	x := open(t)
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link(t, x, outside, "leak")
	if f, err := x.Open("leak"); err == nil {
		f.Close()
		t.Error("opened a file outside of the root")
	}
	write(t, x, "in", "old")
	if f, err := x.Open("in"); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	// The root is replaced by another directory of the same name.
	if err := os.Rename(x.Root(), x.Root()+".old"); err != nil {
		t.Fatal(err)
	}
	write(t, x, "in", "new")
	if d, _ := x.Hash(context.Background(), "in"); d != sha256.Sum256([]byte("new")) {
		t.Error("the old root is still read")
	}
}

func TestSettleReportsWhatOthersSawFirst(t *testing.T) {
	x := open(t)
	write(t, x, "f", "one")
	write(t, x, "d/g", "")
	all := func(string, bool) bool { return true }
	if l, err := x.SettleDir(".", all); err != nil || len(l.Changed) != 2 {
		t.Fatalf("%+v %v", l, err)
	}
	if l, err := x.SettleDir("d", all); err != nil || len(l.Changed) != 1 {
		t.Fatalf("%+v %v", l, err)
	}
	if d, _ := x.Settle("f"); !d.Same {
		t.Errorf("nothing happened: %+v", d)
	}

	write(t, x, "f", "longer")
	x.Stat("f") // a build looks before the watcher does
	if late := x.Late(); !slices.Equal(late, []string{"f"}) {
		t.Errorf("late: %v", late)
	}
	if d, _ := x.Settle("f"); d.Same || d.Was.Size != 3 || d.Now.Size != 6 {
		t.Errorf("%+v", d)
	}

	if err := os.RemoveAll(x.Abs("d")); err != nil {
		t.Fatal(err)
	}
	x.Stat("d")
	var gone []string
	for _, e := range x.Drop("d") {
		gone = append(gone, e.Path)
	}
	slices.Sort(gone)
	if !slices.Equal(gone, []string{"d", "d/g"}) {
		t.Errorf("dropped %v", gone)
	}
	if len(x.Late()) != 0 {
		t.Errorf("late: %v", x.Late())
	}

	x.Stat("f")
	write(t, x, "new", "")
	x.Stat("new") // seen by a build first: still new to the watcher
	l, err := x.SettleDir(".", all)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range l.Changed { // f may be listed too, as racy
		if d.Same == (d.Path == "new") || d.Existed == (d.Path == "new") {
			t.Errorf("%+v", d)
		}
	}
	if err := os.Remove(x.Abs("new")); err != nil {
		t.Fatal(err)
	}
	if l, _ = x.SettleDir(".", all); !slices.Equal(l.Gone, []string{"new"}) {
		t.Errorf("%+v", l)
	}
}

func TestWalk(t *testing.T) {
	x := open(t)
	for _, p := range []string{"b/1", "b/2", "a/x/y", "a-b", "c/deep/keep", "c/deep/other", "e/skip"} {
		write(t, x, p, "")
	}
	var got []string
	err := Walk(context.Background(), x, ".", func(p string, isDir bool) (bool, bool) {
		switch {
		case p == "c/deep/keep":
			return false, false
		case strings.HasPrefix(p, "c"):
			return true, true
		}
		return p == "b/2" || strings.HasPrefix(p, "e"), true
	}, func(e Entry) error {
		got = append(got, e.Path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "a/x", "a/x/y", "a-b", "b", "b/1", "c", "c/deep", "c/deep/keep"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func open(t testing.TB) *Index {
	t.Helper()
	x, err := Open(filepath.Join(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func write(t testing.TB, x *Index, p, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(x.Abs(p)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(x.Abs(p), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, x *Index, target, p string) {
	t.Helper()
	if err := os.Symlink(target, x.Abs(p)); err != nil {
		t.Fatal(err)
	}
}

// age gives the file an mtime that lies back, so that it is no longer racy.
func age(t testing.TB, x *Index, p string, by time.Duration) {
	t.Helper()
	old := time.Now().Add(-by)
	if err := os.Chtimes(x.Abs(p), old, old); err != nil {
		t.Fatal(err)
	}
}
