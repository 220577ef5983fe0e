package watch

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestChangesOfOneFile(t *testing.T) {
	root := t.TempDir()
	put(t, root, "src/a.txt", "one")
	s := watch(t, Options{Root: root})
	for _, step := range []struct {
		name string
		do   func() error
		want map[string]Op
	}{
		{"write", func() error { return os.WriteFile(s.abs("src/a.txt"), []byte("two"), 0o644) }, map[string]Op{"src/a.txt": Write}},
		{"create", func() error { return os.WriteFile(s.abs("b"), nil, 0o644) }, map[string]Op{"b": Create}},
		{"chmod", func() error { return os.Chmod(s.abs("b"), 0o755) }, map[string]Op{"b": Chmod}},
		{"rename over", func() error {
			put(t, root, "tmp", "three")
			return os.Rename(s.abs("tmp"), s.abs("src/a.txt"))
		}, map[string]Op{"src/a.txt": Write}},
		{"rename", func() error { return os.Rename(s.abs("b"), s.abs("src/b")) }, map[string]Op{"b": Remove, "src/b": Create}},
		{"link", func() error { return os.Symlink("src", s.abs("l")) }, map[string]Op{"l": Create}},
		{"other target", func() error {
			if err := os.Remove(s.abs("l")); err != nil {
				return err
			}
			return os.Symlink("src/b", s.abs("l"))
		}, map[string]Op{"l": Write}},
		{"file becomes directory", func() error {
			if err := os.Remove(s.abs("src/b")); err != nil {
				return err
			}
			put(t, root, "src/b/c", "")
			return nil
		}, map[string]Op{"src/b": Write, "src/b/c": Create}},
		{"remove all", func() error { return os.RemoveAll(s.abs("src")) }, map[string]Op{"src": Remove, "src/a.txt": Remove, "src/b": Remove, "src/b/c": Remove}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := s.ops("%s", step.name); !maps.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}

// Every watcher ever written has lost one of these.
func TestDirectoriesThatMove(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a/sub/deep/x", "1")
	s := watch(t, Options{Root: root})

	s.do(os.MkdirAll(s.abs("n1/n2/n3/n4"), 0o755))
	s.write("n1/n2/n3/n4/f", "")
	s.equal("mkdir -p")

	s.do(os.Rename(s.abs("a"), s.abs("b")))
	s.write("b/sub/deep/x", "2, written at once")
	s.write("b/new", "")
	s.equal("rename, then write below it")
	s.write("b/sub/deep/x", "3, written later")
	s.write("b/sub/y", "")
	s.equal("write below a renamed directory")

	s.do(os.Rename(s.abs("b"), s.abs("a")))
	s.do(os.Rename(s.abs("a"), s.abs("c")))
	s.do(os.Rename(s.abs("c"), s.abs("b")))
	s.write("b/sub/deep/x", "4")
	s.equal("there and back")
	s.write("b/sub/deep/x", "5")
	s.equal("write after there and back")

	s.do(os.MkdirAll(s.abs("p/q"), 0o755))
	s.do(os.Rename(s.abs("b"), s.abs("p/q/b")))
	s.equal("into a new directory")
	s.write("p/q/b/sub/deep/x", "6")
	s.equal("write in it")

	// Two directories change places.
	s.do(os.Rename(s.abs("p"), s.abs("t")))
	s.do(os.Rename(s.abs("n1"), s.abs("p")))
	s.do(os.Rename(s.abs("t"), s.abs("n1")))
	s.equal("swap")
	s.write("p/n2/n3/n4/f", "in the place of the other")
	s.write("n1/q/b/sub/deep/x", "7")
	s.equal("write after swap")

	outside := filepath.Join(t.TempDir(), "out")
	s.do(os.Rename(s.abs("n1"), outside))
	s.equal("out of the tree")
	put(t, outside, "q/b/sub/z", "")
	s.do(os.Rename(outside, s.abs("back")))
	s.equal("and into it")
	s.write("back/q/b/sub/z", "8")
	s.equal("write in it")

	s.do(os.RemoveAll(s.abs("back")))
	put(t, root, "back/q/other", "")
	s.equal("replaced by a new one")
	s.write("back/q/other", "9")
	s.equal("write in the new one")
}

func TestOneWatchPerDirectoryAndNoneLeft(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"a/b/c/f", "d/e/f"} {
		put(t, root, p, "")
	}
	s := watch(t, Options{Root: root})
	s.do(os.Rename(s.abs("a"), s.abs("z")))
	s.equal("rename")
	s.do(os.RemoveAll(s.abs("z")))
	s.do(os.RemoveAll(s.abs("d")))
	s.equal("remove")
	if list := s.w.source.(*notify).watcher.WatchList(); len(list) != 1 || list[0] != root {
		t.Errorf("watches left: %v", list)
	}
	if n, polled := s.w.covers.counts(); n != 1 || polled != 0 {
		t.Errorf("%d directories counted, %d polled", n, polled)
	}
}
