package mirror

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
)

// A container without a run is not restarted for ever for what is another one again after
// each start; a new save of the file has it restarted again.
func TestRestartsThatNothingFollows(t *testing.T) {
	put := func(version byte) engine.Op {
		return engine.Op{Kind: engine.Put, Path: "/app/conf", File: engine.File{Mode: 0o644, Size: 1, Digest: tree.Digest{version}}}
	}
	var r restarts
	for i := range mostRestarts {
		if r.vain(put(1)) {
			t.Fatalf("vain after %d", i)
		}
		r.count([]engine.Op{put(1)})
	}
	if !r.vain(put(1)) {
		t.Error("one more for the same content")
	}
	other := put(1)
	other.Path = "/app/other"
	for name, op := range map[string]engine.Op{
		"another path":    other,
		"another content": put(2),
		"its removal":     {Kind: engine.Remove, Path: "/app/conf"},
	} {
		if r.vain(op) {
			t.Errorf("none for %s", name)
		}
	}
	r.count([]engine.Op{put(2)})
	if r.vain(put(1)) {
		t.Error("none for what was saved again")
	}
}

// The plan of a batch leaves a vain restart out and says for what; the other rules stay.
func TestPlanWithoutAVainRestart(t *testing.T) {
	desired := engine.NewTree(map[string]engine.File{"/app/conf": {Mode: 0o644, Size: 1, Digest: tree.Digest{1}, Local: "conf"}})
	m := New(Options{})
	s := m.get("web")
	s.known, s.desired, s.generation = true, desired, 1
	s.roots.Add("/app/conf")
	s.hooks = []Hook{{Restart: true}, {Run: []string{"make"}}}
	w := newWorker(m, s, Container{})
	w.known, w.alone = engine.NewTree(nil), "id"
	p, _ := w.next(true)
	if !p.act.restart || p.vain != "" || len(p.restartFor) != 1 {
		t.Fatalf("the first plan: %+v", p)
	}
	for range mostRestarts {
		w.restarted.count(p.restartFor)
	}
	p, _ = w.next(true)
	if p.act.restart || p.vain != "/app/conf" || len(p.act.commands) != 1 {
		t.Errorf("the last plan: %+v", p)
	}
	w.alone = "" // a run restarts the application in place, and remembers its files
	if p, _ = w.next(true); !p.act.restart {
		t.Errorf("with a run: %+v", p)
	}
}

// What a program in a container wrote into an error does not reach a terminal as it is.
func TestDialProblemIsPlain(t *testing.T) {
	cause := &os.PathError{Op: "exec", Path: "\x1b]0;owned\a", Err: errors.New("\x1b[2J\u202e")}
	p, _ := dialProblem(Container{Pod: "p", Name: "c", ID: "id"}, cause)
	if p == nil || strings.ContainsAny(p.Error(), "\x1b\a\u202e") {
		t.Errorf("%q", p)
	}
	if !errors.Is(p, cause.Err) {
		t.Error("the cause is lost")
	}
}
