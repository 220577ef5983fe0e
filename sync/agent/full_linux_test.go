package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kdev-io/kdev/sync/protocol"
)

// Of a batch that did not fit nothing changes, and everything is named: kdev takes what
// is not named for done.
func TestFullNamesWhatIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"removed", "mode"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := newBatch(newStore(true), &protocol.Begin{Generation: 1, Roots: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	b.full = true
	b.removes = append(b.removes, &protocol.Remove{Target: protocol.Target{Path: "removed", Old: protocol.File{Type: protocol.Regular}}})
	b.chmods = append(b.chmods, &protocol.Chmod{Target: protocol.Target{Path: "mode"}, Perm: 0o600})
	b.number = 2
	ack := b.end()
	named := map[string]bool{}
	for _, r := range ack.Results {
		named[r.Path] = r.Code == protocol.Full
	}
	if len(named) != 2 || !named[filepath.Join(dir, "removed")] || !named[filepath.Join(dir, "mode")] || ack.Done != 0 {
		t.Errorf("%+v", ack)
	}
	if info, err := os.Stat(filepath.Join(dir, "mode")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "removed")); err != nil {
		t.Error(err)
	}
}
