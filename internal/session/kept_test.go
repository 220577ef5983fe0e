package session

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
)

func read(t *testing.T, k *keepsakes, d tree.Digest) string {
	t.Helper()
	f, ok := k.open(d)
	if !ok {
		return "not there"
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestKeepsakes: a copy is described as it is, not as the file was; what is no
// longer wanted goes; nothing is left at the end.
func TestKeepsakes(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var k keepsakes
	defer k.close()
	was := engine.File{Mode: 0o644, Size: 3, Digest: sha256.Sum256([]byte("old")), Local: "web/a"}
	a, err := k.take("web", was, strings.NewReader("newer"))
	if err != nil {
		t.Fatal(err)
	}
	if a.Size != 5 || a.Digest != sha256.Sum256([]byte("newer")) || a.Local != "web/a" || a.Mode != 0o644 {
		t.Errorf("the copy is described as %+v", a)
	}
	b, err := k.take("web", was, bytes.NewReader([]byte("other")))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.keep("web", map[string]engine.File{"/a": a}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, &k, a.Digest); got != "newer" {
		t.Errorf("the copy holds %q", got)
	}
	if got := read(t, &k, b.Digest); got != "not there" {
		t.Errorf("what is not wanted is still there: %q", got)
	}
	if f, ok := k.file("web", "/a"); !ok || f != a {
		t.Errorf("file is %+v, %v", f, ok)
	}
	k.drop("web")
	if got := read(t, &k, a.Digest); got != "not there" {
		t.Errorf("a dropped copy is still there: %q", got)
	}
	if _, err := k.take("api", was, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	k.close()
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestPreserve: what a service that is paused should hold is what it held, however
// often its files are saved, and a pod can have it.
func TestPreserve(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	root := t.TempDir()
	write := func(name, text string) engine.File {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return engine.File{Mode: 0o644, Size: int64(len(text)), Digest: sha256.Sum256([]byte(text)), Local: name}
	}
	index, err := tree.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	s := &Session{parts: Parts{Index: index}}
	defer s.kept.close()
	same, ahead := write("same", "as in the image"), write("ahead", "newer than the image")
	image := map[string]engine.File{"/same": same, "/ahead": {Mode: 0o644, Size: 1, Digest: sha256.Sum256([]byte("i"))}, "/gone": {Mode: 0o644, Size: 1}}
	f := &feeder{s: s, service: "web", preserves: true, image: image}
	files := map[string]engine.File{"/same": same, "/ahead": ahead, "/dir": {Mode: fs.ModeDir | 0o755}}
	if err := f.preserve(files); err != nil {
		t.Fatal(err)
	}
	if got := read(t, &s.kept, ahead.Digest); got != "newer than the image" {
		t.Errorf("the copy holds %q", got)
	}
	if got := read(t, &s.kept, same.Digest); got != "not there" {
		t.Error("what the image holds was copied")
	}

	// Everything is saved anew, and one file is new: the tree as it was is wanted.
	kept, _ := s.kept.file("web", "/ahead")
	was, gone := image["/same"], image["/gone"]
	f.frozen = map[string]*engine.File{"/ahead": &kept, "/same": &was, "/gone": &gone, "/new": nil}
	files = map[string]engine.File{"/same": write("same", "S"), "/ahead": write("ahead", "A"), "/new": write("new", "N")}
	if err := f.preserve(files); err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 || files["/same"] != was || files["/ahead"] != kept || files["/gone"] != gone {
		t.Errorf("wanted is %+v", files)
	}
	if got := read(t, &s.kept, ahead.Digest); got != "newer than the image" {
		t.Errorf("the copy holds %q now", got)
	}
}
