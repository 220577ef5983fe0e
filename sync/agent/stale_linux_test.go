package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/protocol"
)

const ownPlace, otherPlace = "0123456789abcdef", "fedcba9876543210"

// touch puts an empty file at a path below root by a batch of its own.
func touch(t *testing.T, s *store, root, path string) {
	t.Helper()
	b, err := newBatch(s, &protocol.Begin{Generation: 1, Place: [8]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}, Roots: []string{root}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	m := &protocol.Put{Target: protocol.Target{Path: path, Old: protocol.File{Type: protocol.Unknown}}, Perm: 0o644}
	copy(m.Digest[:], emptyDigest)
	if err := b.operation(m); err != nil {
		t.Fatal(err)
	}
	if ack := b.end(); len(ack.Results) > 0 {
		t.Fatalf("%+v", ack.Results)
	}
}

// emptyDigest is the SHA-256 of nothing.
const emptyDigest = "\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55"

func listed(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// What a killed agent left is removed where the next one writes: its own at once, that of
// other containers, which may be at work, when it is old; and nothing else.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	own, link, other := tempPrefix+ownPlace+"-00c0ffee-7", tempPrefix+ownPlace+"-00c0ffee-8", tempPrefix+otherPlace+"-00c0ffee-7"
	// Names that others chose, and a directory, which no batch makes under such a name.
	theirs := []string{".kdev-notes", tempPrefix + ownPlace + "-00c0ffee-", tempPrefix + ownPlace + "-00c0ffee-x", tempPrefix + strings.ToUpper(ownPlace) + "-00c0ffee-1", "x" + own}
	folder := tempPrefix + ownPlace + "-00c0ffee-9"
	for _, name := range append(slices.Clone(theirs), own, other) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, link)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
		t.Fatal(err)
	}
	check := func(what string, also ...string) {
		t.Helper()
		want := slices.Sorted(slices.Values(slices.Concat(theirs, []string{folder, "new"}, also)))
		if got := listed(t, dir); !slices.Equal(got, want) {
			t.Errorf("%s: there is %q, want %q", what, got, want)
		}
	}
	s := newStore(false)
	touch(t, s, dir, "new")
	check("a new agent", other)
	if err := os.WriteFile(filepath.Join(dir, own), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	touch(t, s, dir, "new")
	check("the same agent again", other, own)
	s = newStore(false)
	s.clock = func() time.Time { return time.Now().Add(2 * staleAfter) }
	touch(t, s, dir, "new")
	check("two hours later")
}

// The root of a container whose application the agent runs is as new as the agent is:
// only volumes can hold something.
func TestNoLeftoversOnANewRoot(t *testing.T) {
	dir := t.TempDir()
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	left := tempPrefix + ownPlace + "-00c0ffee-7"
	if err := os.WriteFile(filepath.Join(dir, left), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStore(true)
	s.device = st.Dev
	touch(t, s, dir, "new")
	if got := listed(t, dir); !slices.Contains(got, left) {
		t.Errorf("the root was searched: %q", got)
	}
	s.device++
	touch(t, s, dir, "new")
	if got := listed(t, dir); slices.Contains(got, left) {
		t.Errorf("a volume was not searched: %q", got)
	}
}
