package source

import (
	"context"
	"io"
	"slices"
	"sync"
)

// openAtOnce is how many opens of streams are under way at the same time. More
// gain nothing: each makes the API server dial a kubelet.
const openAtOnce = 50

// A Gate limits how many streams are open. Readers beyond the limit wait in a
// queue, and streams that are quiet give their place up to them, so that every
// container is read in turn.
type Gate struct {
	limit   int
	opening chan struct{}

	mu    sync.Mutex
	inUse int
	queue []chan struct{}
	press chan struct{} // closed while somebody waits
}

// NewGate makes a gate for limit streams at a time; 0 or less is no limit.
func NewGate(limit int) *Gate {
	return &Gate{limit: limit, opening: make(chan struct{}, openAtOnce), press: make(chan struct{})}
}

// Enter waits for a place and returns what gives it back.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	return g.enter(ctx, func() {})
}

// enter waits for a place. waiting is called once when there is none at once.
func (g *Gate) enter(ctx context.Context, waiting func()) (leave func(), err error) {
	g.mu.Lock()
	if g.limit <= 0 || g.inUse < g.limit && len(g.queue) == 0 {
		g.inUse++
		g.mu.Unlock()
		return g.leave, nil
	}
	turn := make(chan struct{})
	if len(g.queue) == 0 {
		close(g.press)
	}
	g.queue = append(g.queue, turn)
	g.mu.Unlock()
	waiting()
	select {
	case <-turn:
		return g.leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, turn); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
		g.relax()
	} else {
		g.pass() // the place came in the same moment
	}
	return nil, ctx.Err()
}

func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pass()
}

// pass gives a place to the first in the queue, or frees it.
func (g *Gate) pass() {
	if len(g.queue) == 0 {
		g.inUse--
		return
	}
	close(g.queue[0])
	g.queue = g.queue[1:]
	g.relax()
}

func (g *Gate) relax() {
	if len(g.queue) == 0 {
		g.press = make(chan struct{})
	}
}

// pressed returns a channel that is closed while readers wait for a place.
func (g *Gate) pressed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.press
}

// open runs fn among at most openAtOnce others.
func (g *Gate) open(ctx context.Context, fn func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	select {
	case g.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-g.opening }()
	return fn()
}
