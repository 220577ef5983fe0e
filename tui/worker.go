package tui

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs/store"
	"github.com/kdev-io/kdev/tui/logview"
)

// frame is the shortest time between two messages that say that lines moved.
const frame = time.Second / 30

// A Query is what the log pane shows, and what its search looks for.
type Query struct {
	shown, hits logview.Query
	key         string // two queries with one key show the same
}

// A worker keeps the indexes of the log pane. run owns its goroutine; the rest is
// called by the Model.
type worker struct {
	store  *store.Store
	levels *logview.Levels
	shown  *logview.Index
	hits   *logview.Index // lines that the search matches
	asked  chan struct{}  // a query changed
	sent   atomic.Bool    // a message is on its way and was not taken
	free   chan struct{}  // it was
}

func newWorker(s *store.Store) *worker {
	w := &worker{store: s, levels: logview.NewLevels(s), asked: make(chan struct{}, 1), free: make(chan struct{}, 1)}
	w.shown = logview.NewIndex(s, w.levels)
	w.hits = logview.NewIndex(s, w.levels)
	return w
}

// ask changes what is shown; at is a line on the screen.
func (w *worker) ask(q Query, at uint64) {
	w.shown.Set(q.shown, at)
	w.hits.Set(q.hits, at)
	signal(w.asked)
}

// taken says that the last message arrived.
func (w *worker) taken() {
	w.sent.Store(false)
	signal(w.free)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// step looks at some more lines, and says whether a frame would differ and
// whether anything is left to look at.
func (w *worker) step() (changed, more bool) {
	more = w.levels.Step()
	for _, x := range []*logview.Index{w.shown, w.hits} {
		c, m := x.Step()
		changed, more = changed || c, more || m
	}
	return changed, more
}

// settle looks at everything that there is.
func (w *worker) settle() {
	for more := true; more; {
		_, more = w.step()
	}
}

// run keeps the indexes up with the store until ctx is done. send must hand one
// message over; it is called at most thirty times a second, and never while the
// last message waits. The search itself waits for neither.
func (w *worker) run(ctx context.Context, send func()) {
	pace := time.NewTimer(frame)
	defer pace.Stop()
	due, dirty := true, false // a message may be sent; one is wanted
	seen, searching := uint64(0), false
	for ctx.Err() == nil {
		changed, more := w.step()
		// A new line is a change by itself where nothing is left out, and it is one
		// when its severity is known: a frame that was quicker has it without.
		next := w.levels.Seen()
		// That a search has come to its end is one too: it may have found nothing.
		dirty = dirty || changed || next != seen || searching && !more
		seen, searching = next, more
		if dirty && due && !w.sent.Load() {
			w.sent.Store(true)
			send()
			dirty, due = false, false
			pace.Reset(frame)
		}
		if more {
			select {
			case <-pace.C:
				due = true
			default:
			}
			continue
		}
		// With a message still owed, its turn is waited for, not the next line: the
		// lines that come meanwhile are in it.
		var moved <-chan struct{}
		if !dirty {
			moved = w.store.Changed(next)
		}
		select {
		case <-ctx.Done():
		case <-pace.C:
			due = true
		case <-w.free:
		case <-moved:
		case <-w.asked:
			dirty = true // shown anew, whatever is found
		}
	}
}

// localName takes the name of a local source apart: "build/webui" is the build of
// webui, "kdev/webui" what kdev says of it.
func localName(src *store.Source) (kind, service string) {
	kind, service, _ = strings.Cut(src.Name, "/")
	return kind, service
}

// Names tells which service a source of lines belongs to. It remembers, because a
// pod's lines outlive the pod.
type Names struct {
	state func() *session.State

	mu sync.Mutex
	of map[int]string
}

// NewNames asks state for what it does not know yet.
func NewNames(state func() *session.State) *Names {
	return &Names{state: state, of: map[int]string{}}
}

// Service is the service of a source; "" is none, or not known yet.
func (n *Names) Service(src *store.Source) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name, ok := n.of[src.ID]; ok {
		return name
	}
	name := ""
	if src.Kind == store.Container {
		name = n.state().ServiceOf(src.Namespace, src.Pod)
	} else {
		_, name = localName(src)
	}
	if name != "" {
		n.of[src.ID] = name
	}
	return name
}

// newPace is a timer whose first turn is at once.
func newPace() *time.Timer { return time.NewTimer(0) }
