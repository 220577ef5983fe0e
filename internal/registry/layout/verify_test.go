package layout

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// Damage, as a crash or a failing disk leaves it.
var damages = map[string]func(t *testing.T, path string){
	"cut": func(t *testing.T, path string) {
		if err := os.Truncate(path, 1000); err != nil {
			t.Fatal(err)
		}
	},
	"changed": func(t *testing.T, path string) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("??"), 500); err != nil {
			t.Fatal(err)
		}
	},
}

// A damaged blob is found by whoever uses it, in this process and in the next
// one, whether it is small or so large that its look is kept in a file.
func TestDamaged(t *testing.T) {
	uses := map[string]func(s *Store, d Digest) bool{ // whether it can be used
		"Has": func(s *Store, d Digest) bool { return s.Has(d, -1) },
		"open": func(s *Store, d Digest) bool {
			f, err := s.OpenBlob(d)
			f.Close()
			return !errors.Is(err, fs.ErrNotExist)
		},
		"complete": func(s *Store, _ Digest) bool {
			entries, err := s.Entries()
			return err == nil && s.Complete(entries[0].Digest) == nil
		},
	}
	for what, damage := range damages {
		for how, usable := range uses {
			for _, size := range []int{2000, remembered + 5} {
				for _, again := range []bool{false, true} {
					dir := t.TempDir()
					s := open(t, dir)
					content := bytes.Repeat([]byte("x"), size)
					image(t, s, "shop/web", "v1", string(content), "small")
					d := DigestOf(content)
					if !usable(s, d) {
						t.Fatalf("%s %s %d: not usable before", what, how, size)
					}
					damage(t, s.blobPath(d))
					if again {
						s = open(t, dir)
					}
					var told []string
					s.OnDrop(func(line string) { told = append(told, line) })
					if usable(s.WithLease(s.NewLease()), d) {
						t.Errorf("%s %s %d: a damaged blob was used", what, how, size)
					}
					if len(told) != 1 || !strings.Contains(told[0], string(d)) || !slices.Equal(told, s.Dropped()) {
						t.Errorf("%s %s %d: told %q", what, how, size, told)
					}
					if _, err := s.PutBlob(content); err != nil {
						t.Fatal(err)
					}
					if !usable(s, d) || len(told) != 1 {
						t.Errorf("%s %s %d: not repaired; told %q", what, how, size, told)
					}
				}
			}
		}
	}
}

// A blob is read again only where its file is not the one that was verified.
func TestVerifiedOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	d, err := s.PutBlob(bytes.Repeat([]byte("x"), remembered))
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	fi, err := os.Stat(s.blobPath(d))
	if err != nil {
		t.Fatal(err)
	}
	if !s.verified(d, fi) {
		t.Error("what another process wrote is not known to be right")
	}
	// The next one has no memory of it: a store of an older kdev.
	if err := s.RemoveMeta(verifiedKind, d.Hex()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if s.verified(d, fi) || !s.Has(d, int64(remembered)) || !s.verified(d, fi) {
		t.Error("a blob without memory is not verified once")
	}
	if _, err := s.Collect(t.Context(), Policy{}); err != nil {
		t.Fatal(err)
	}
	if keys, err := s.MetaKeys(verifiedKind); err != nil || len(keys) > 0 {
		t.Errorf("kept of what was collected: %v %v", keys, err)
	}
}

// Damage that a process finds by writing the same content is told too.
func TestCommitOverDamage(t *testing.T) {
	s := open(t, t.TempDir())
	content := bytes.Repeat([]byte("x"), 2000)
	d, err := s.PutBlob(content)
	if err != nil {
		t.Fatal(err)
	}
	damages["cut"](t, s.blobPath(d))
	u, err := s.NewUpload()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(content); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Commit(d); err != nil {
		t.Fatal(err)
	}
	if b, err := s.ReadBlob(d); err != nil || !bytes.Equal(b, content) || len(s.Dropped()) != 1 {
		t.Errorf("%d bytes, %v, dropped %q", len(b), err, s.Dropped())
	}
}

func TestMarkerDamaged(t *testing.T) {
	for _, content := range []string{"", "{", `{"x":1}`} {
		dir := t.TempDir()
		open(t, dir)
		marker := dir + "/oci-layout"
		if err := os.WriteFile(marker, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		if raw, err := os.ReadFile(marker); err != nil || string(raw) != `{"imageLayoutVersion":"1.0.0"}` {
			t.Errorf("%q: %q %v", content, raw, err)
		}
		if d := s.Dropped(); len(d) != 1 || !strings.Contains(d[0], "oci-layout") {
			t.Errorf("%q: dropped %q", content, d)
		}
	}
}
