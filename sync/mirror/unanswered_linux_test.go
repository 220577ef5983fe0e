package mirror

import (
	"io"
	"sync/atomic"
	"testing"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
)

// The answer to a batch is lost, and its file is there. What the rules ask for was done
// where the agent says so, or has lost its meaning where the container is another; else it
// is still to be done.
func TestUnansweredBatch(t *testing.T) {
	for name, c := range map[string]struct {
		boot   byte
		last   protocol.Last
		follow bool
	}{
		"another file failed":             {boot: 1, last: protocol.Last{Generation: 1, Failed: "/app/y: changed"}, follow: true},
		"the batch before was the last":   {boot: 1, last: protocol.Last{}, follow: true},
		"all of it was done":              {boot: 1, last: protocol.Last{Generation: 1}},
		"the container is another by now": {boot: 2, last: protocol.Last{Generation: 1, Failed: "/app/y: changed"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			x := b.write("x", "1", 0o644)
			held := []protocol.Entry{{Path: "/app/x", File: protocol.File{Type: protocol.Regular, Perm: 0o644, Size: 1, Digest: x.Digest}}}
			ends := make(chan *protocol.End, 8)
			var calls atomic.Int64
			v := &villain{Cluster: b.cluster, ended: make(chan struct{}, 1)}
			v.talk = func(rw io.ReadWriter) {
				in, out := protocol.NewReader(rw), protocol.NewWriter(rw)
				in.Receive()
				call := calls.Add(1)
				w := &protocol.Welcome{Protocol: protocol.Version, Run: true, Boot: [16]byte{1}}
				state := &protocol.State{Last: true}
				if call > 1 {
					w.Boot[0], w.Last, state.Entries = c.boot, c.last, held
				}
				out.Send(w)
				out.Send(state)
				out.Flush()
				var gen uint64
				for {
					m, err := in.Receive()
					if err != nil {
						return
					}
					switch m := m.(type) {
					case *protocol.Begin:
						gen = m.Generation
					case *protocol.End:
						ends <- m
						if call == 1 {
							rw.(io.Closer).Close() // the answer is lost
							return
						}
						out.Send(&protocol.Ack{Generation: gen, Acted: true})
						out.Flush()
					}
				}
			}
			b.m.opts.Dial = v
			g := b.next()
			b.m.SetDesired("web", g, map[string]engine.File{"/app/x": x}, []Hook{{Paths: []string{"x"}, Restart: true}})
			b.containers("villain")
			if first := <-ends; !first.Restart {
				t.Fatal("the rule does not count")
			}
			b.synced(g)
			if second := <-ends; second.Restart != c.follow {
				t.Errorf("restart %v, want %v", second.Restart, c.follow)
			}
		})
	}
}

// What the agent says of a generation is proof for its first batch only: a restart by hand
// makes no new one.
func TestResolveOfALaterBatch(t *testing.T) {
	for name, c := range map[string]struct {
		of, answered uint64
		owed         bool
	}{
		"the first batch of a generation": {of: 7, answered: 6},
		"a second one":                    {of: 7, answered: 7, owed: true},
		"before any save":                 {of: 0, owed: true},
	} {
		w := &worker{unanswered: actions{restart: true}, unansweredOf: c.of, answered: c.answered}
		w.resolve(&protocol.Last{Generation: c.of}, false)
		if w.owed.restart != c.owed {
			t.Errorf("%s: owed %v", name, w.owed.restart)
		}
	}
}

// A container cannot have kdev remember commands that no rule has.
func TestOweKnowsItsRules(t *testing.T) {
	rule := Hook{Run: []string{"npm", "ci"}, Restart: true}
	w := &worker{m: &Mirror{}, s: &service{hooks: []Hook{rule}}}
	w.owe([]string{"rm", "-rf", "/"})
	if !w.owed.empty() {
		t.Errorf("%v is owed", w.owed)
	}
	w.owe(rule.Run)
	if len(w.owed.commands) != 1 || !w.owed.restart {
		t.Errorf("%v is owed", w.owed)
	}
}
