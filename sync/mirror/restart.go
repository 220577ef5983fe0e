package mirror

import (
	"context"

	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
)

// Restart starts the application anew in every connected container of a service,
// after whatever is on its way there, and says how many these are. It does not
// wait: an event Started follows for each.
func (m *Mirror) Restart(ctx context.Context, name string) (int, error) {
	n := 0
	for _, w := range m.workers(name) {
		w.m.mu.Lock()
		connected := w.status.Connected
		w.m.mu.Unlock()
		if !connected {
			continue
		}
		err := w.ask(ctx, func(context.Context, *conversation) (told, fatal error) {
			w.owed.add(&Hook{Restart: true})
			w.m.mu.Lock()
			w.all = true // what is owed goes with a batch, even with an empty one
			w.m.mu.Unlock()
			w.poke()
			return nil, nil
		})
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// restarts counts how often a container without a run was restarted for what a path should
// hold. Its files are those of the image after that, until kdev is there, and its init may
// write some of them itself: what is another one again each time would have it restarted
// for ever.
type restarts map[string]restartsFor

type restartsFor struct {
	content
	times int
}

// content is what a path was given.
type content struct {
	digest  tree.Digest
	link    string
	removed bool
}

func contentOf(op engine.Op) content {
	return content{op.File.Digest, op.File.Link, op.Kind == engine.Remove}
}

// mostRestarts is one for the save, and one for a start that did not wait long enough.
const mostRestarts = 2

// vain says that one more would not help.
func (r restarts) vain(op engine.Op) bool {
	before, ok := r[op.Path]
	return ok && before.times >= mostRestarts && before.content == contentOf(op)
}

// count counts one.
func (r *restarts) count(ops []engine.Op) {
	if *r == nil {
		*r = restarts{}
	}
	for _, op := range ops {
		now := restartsFor{contentOf(op), 1}
		if before, ok := (*r)[op.Path]; ok && before.content == now.content {
			now.times += before.times
		}
		(*r)[op.Path] = now
	}
}
