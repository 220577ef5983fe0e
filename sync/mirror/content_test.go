package mirror

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// What came from a container does nothing to a terminal.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"open: permission denied":    "open: permission denied",
		"\x1b]0;title\a\x1b[2Jé\r\n": "\uFFFD]0;title\uFFFD\uFFFD[2Jé\uFFFD\uFFFD",
		"a\u202Eb\xffc":              "a\uFFFDb\uFFFDc",
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := plain(strings.Repeat("é", 1000)); len(got) > 1000 || !strings.HasSuffix(got, "é…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
