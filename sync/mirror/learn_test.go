package mirror

import (
	"io"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
)

// What a volume holds of the image or of kdev is known, so that it is removed when it was
// deleted here meanwhile; what is somebody else's is not.
func TestLearnUnderMounts(t *testing.T) {
	file := func(n byte) engine.File { return engine.File{Mode: 0o644, Digest: [32]byte{n}} }
	is := func(n byte) protocol.File {
		return protocol.File{Type: protocol.Regular, Perm: 0o644, Digest: [32]byte{n}}
	}
	m := New(Options{})
	m.SetDesired("web", 1, map[string]engine.File{"/v/kept.py": file(1), "/v/dir": {Mode: fs.ModeDir | 0o755}}, nil)
	w := newWorker(m, m.service["web"], Container{
		Service: "web", Pod: "a", Name: "c", ID: "2", HasAgent: true,
		Image: map[string]engine.File{
			"/app/a.py": file(1), "/v/kept.py": file(1), "/v/seeded.py": file(2), "/v/hidden.py": file(2), "/v/theirs.py": file(2), "/v/told.py": file(2), "/ro/x": file(2),
			"/app/made.py": engine.Uncertain(), "/app/made-else.py": engine.Uncertain(), "/app/nobody-knows": engine.Uncertain(), "/v/old": {Mode: fs.ModeDir | 0o755},
		},
		Perhaps: map[string]engine.File{"/app/made.py": file(4), "/app/made-else.py": file(4)},
	})
	w.known = engine.NewTree(map[string]engine.File{"/v/synced.py": file(5), "/v/seeded.py": file(6), "/app/root-is-new.py": file(5)})
	holds := map[string]protocol.File{
		"/v/kept.py": is(7), "/v/seeded.py": is(2), "/v/theirs.py": is(8), "/app/made.py": is(4), "/app/made-else.py": is(8), "/app/nobody-knows": is(8),
		"/v/synced.py": is(5), "/v/dir": {Type: protocol.Directory, Perm: 0o700}, "/v/old": {Type: protocol.Directory, Perm: 0o700},
	}
	c := &conversation{
		w: w, in: make(chan protocol.Message, 2), out: protocol.NewWriter(io.Discard),
		welcome: &protocol.Welcome{Run: true, Mounts: []protocol.Mount{{Path: "/v"}, {Path: "/ro", ReadOnly: true}}},
	}
	c.in <- &protocol.State{Entries: []protocol.Entry{{Path: "/v/told.py", File: is(9)}}, Last: true}
	if err := c.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked := slices.Sorted(maps.Keys(c.claims))
	asked = append(asked, "/v/dir")
	slices.Sort(asked)
	answer := &protocol.Answer{Last: true}
	for _, p := range asked {
		answer.Entries = append(answer.Entries, protocol.Entry{Path: p, File: holds[p]})
	}
	c.in <- answer
	if err := c.lookAtUnknown(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := slices.Sorted(maps.Keys(maps.Collect(w.known.All())))
	if want := []string{"/app/a.py", "/app/made.py", "/v/dir", "/v/kept.py", "/v/old", "/v/seeded.py", "/v/synced.py", "/v/told.py"}; !slices.Equal(known, want) {
		t.Errorf("known are %q, want %q", known, want)
	}
	p, ok := w.next(true)
	var removed []string
	for _, op := range p.ops {
		if op.Kind == engine.Remove {
			removed = append(removed, op.Path)
		}
	}
	if want := []string{"/app/a.py", "/app/made.py", "/v/seeded.py", "/v/synced.py", "/v/told.py", "/v/old"}; !ok || len(removed) == 0 || !slices.Equal(slices.Sorted(slices.Values(removed)), slices.Sorted(slices.Values(want))) {
		t.Errorf("removed are %q, want %q", removed, want)
	}
}
