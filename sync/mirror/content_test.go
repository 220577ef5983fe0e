package mirror

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
)

// The content decides, not the size that was seen a moment before it was hashed.
func TestContent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("written again"), 0o644); err != nil {
		t.Fatal(err)
	}
	recent := map[tree.Digest][]byte{}
	m := &Mirror{opts: Options{
		Open:   os.Open,
		Recent: func(d tree.Digest) ([]byte, bool) { c, ok := recent[d]; return c, ok },
	}}
	file := engine.File{Local: name, Digest: sha256.Sum256([]byte("written again"))} // truncated when it was looked at
	for _, kept := range []bool{false, true} {
		if kept {
			recent[file.Digest] = []byte("written again")
		}
		if got, err := m.content(file); err != nil || string(got) != "written again" {
			t.Errorf("kept %v: %q, %v", kept, got, err)
		}
	}
	file.Digest, file.Size = sha256.Sum256([]byte("as it was")), 9
	if _, err := m.content(file); !errors.Is(err, errChanged) {
		t.Errorf("another content: %v", err)
	}
}
