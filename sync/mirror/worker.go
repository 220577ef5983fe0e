package mirror

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
	"github.com/kdev-io/kdev/sync/transport"
)

// A worker keeps one container equal to its service's desired tree.
type worker struct {
	m *Mirror
	s *service

	// Guarded by Mirror.mu.
	container Container
	dirty     map[string]bool // paths that changed since they were last looked at
	all       bool            // every path may have changed
	later     map[string]bool // paths that could not be done; with the next batch, or when it is time
	repair    bool            // somebody wants the files checked
	triggered actions         // by files that are not synced
	looked    uint64          // generation of the last batch
	acked     uint64
	ackedAny  bool
	problem   *problem.Problem // why acked is behind
	failed    uint64           // the generation that it is about
	status    Status
	cancel    context.CancelFunc

	wake chan struct{} // something above changed
	redo chan struct{} // the container was started: dial now
	asks chan ask      // questions from outside, answered between batches

	// The rest belongs to the worker's goroutine.
	boot    [16]byte
	version uint64
	alone   string // the container without a run that was spoken with; empty after one with a run
	known   *engine.Tree
	refused map[string]refusal // paths that cannot be written as they are
	owed    actions            // of batches that were not completed
	// unanswered is what was to follow the batch whose answer is out, or was lost with
	// its connection.
	unanswered   actions
	unansweredOf uint64
	answered     uint64         // generation of the last batch of which the agent did all
	told         string         // the last dial problem
	failing      time.Time      // since when dialling fails; zero when it does not
	tries        map[string]int // of paths that changed in the container or while they were read
	restarted    restarts       // of the whole container, by what they were for
	restartFor   []engine.Op    // what unanswered restarts the container for
}

// A refusal stands until what is desired changes or the connection is new.
type refusal struct {
	file    engine.File
	exists  bool
	clash   bool // with other paths that are desired
	problem *problem.Problem
}

func newWorker(m *Mirror, s *service, c Container) *worker {
	return &worker{
		m: m, s: s, container: c, all: true,
		dirty: map[string]bool{}, later: map[string]bool{}, wake: make(chan struct{}, 1), redo: make(chan struct{}, 1), asks: make(chan ask),
	}
}

func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) dialNow() {
	select {
	case w.redo <- struct{}{}:
	default:
	}
}

// The longest pause is half of what the agent in a container that starts waits for us,
// whenever the kubelet gets to it, and of what we may take when a network is back.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 500 * time.Millisecond

	// A container that has just ended is commonly started again at once, while the API
	// tells of it later than that, and so is an API server whose machine refuses
	// connections. What takes longer is asked as seldom as anything else.
	downRetry  = 200 * time.Millisecond
	downWithin = 30 * time.Second

	// A dial that takes longer has perhaps been swallowed. Of five that begin a second
	// after each other the system tries one again each second, until the first gives up.
	slowDial  = time.Second
	mostDials = 5
)

// run dials, serves, and dials again.
func (w *worker) run(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		c := w.describe()
		if !c.HasAgent {
			w.fail(0, noAgent(c))
			<-ctx.Done() // nothing will help but another container
			return
		}
		conn, err := w.dial(ctx, c)
		if err == nil {
			retry = firstRetry
			err = w.converse(ctx, conn)
		}
		if ctx.Err() != nil {
			return
		}
		w.dialFailed(c, err)
		if errors.Is(err, protocol.ErrFrame) {
			retry = lastRetry // it will not do better soon
		}
		timer := time.NewTimer(retry)
		select {
		case <-ctx.Done():
		case <-timer.C:
			retry = min(retry*3/2, lastRetry)
		case <-w.redo:
			retry = firstRetry
		}
		timer.Stop()
		switch {
		case w.describe().ID == "":
			retry = firstRetry // it is about to start: be there
		case (transport.Down(err) || transport.Away(err)) && w.m.opts.Now().Sub(w.failing) < downWithin:
			retry = min(retry, downRetry)
		}
	}
}

// dial opens a stream. An attempt that a broken network has swallowed may hang for
// many seconds after the network is back, and so may one into a container that ended
// meanwhile: another one is made now and then while the former are out, and at once
// when the container was started.
func (w *worker) dial(ctx context.Context, c Container) (io.ReadWriteCloser, error) {
	type result struct {
		conn io.ReadWriteCloser
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result)
	out := 0
	attempt := func() {
		out++
		w.m.work.Go(func() {
			conn, err := w.m.opts.Dial.Dial(ctx, c.Namespace, c.Pod, c.Name)
			results <- result{conn, err}
		})
	}
	// Whoever comes in after the first has nobody waiting for it.
	defer func() {
		cancel()
		for ; out > 0; out-- {
			if r := <-results; r.conn != nil {
				r.conn.Close()
			}
		}
	}()
	attempt()
	again := time.NewTicker(slowDial)
	defer again.Stop()
	more := func() {
		if out < mostDials {
			attempt()
		}
	}
	for {
		select {
		case r := <-results:
			out--
			if r.err == nil || out == 0 {
				return r.conn, r.err
			}
		case <-again.C:
			more()
		case <-w.redo:
			more()
		}
	}
}

// rolesWithin bounds how long an API server that has just started may refuse exec into
// a container that it allowed before: until it has read its roles.
const rolesWithin = 30 * time.Second

// dialFailed tells why there is no connection. A container that restarts and an API
// server that is busy have a few seconds before that is news.
func (w *worker) dialFailed(c Container, err error) {
	patience := 3 * time.Second
	now := w.m.opts.Now()
	if w.failing.IsZero() {
		w.failing = now
	}
	p, lasting := dialProblem(c, err)
	if p != nil && p.Code == "sync-forbidden" && w.boot != ([16]byte{}) {
		patience, lasting = rolesWithin, false
	}
	if p == nil || !lasting && now.Sub(w.failing) < patience || p.Error() == w.told {
		return
	}
	w.told = p.Error()
	w.fail(0, p)
}

func (w *worker) describe() Container {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	return w.container
}

// event fills in where.
func (w *worker) event(e Event) {
	c := w.describe()
	e.Service, e.Pod, e.Container = c.Service, c.Pod, c.Name
	w.m.emit(e)
}

// fail records why the container is behind and tells it.
func (w *worker) fail(generation uint64, p *problem.Problem) {
	w.m.mu.Lock()
	same := w.problem != nil && w.problem.Error() == p.Error() && w.failed == generation
	w.problem, w.failed = p, generation
	w.m.advance()
	w.m.mu.Unlock()
	if !same {
		w.event(Event{Kind: Failed, Generation: generation, Problem: p})
	}
}

func (w *worker) setConnected(yes bool) {
	w.m.mu.Lock()
	w.status.Connected = yes
	w.m.mu.Unlock()
}

// A plan is one batch before it is sent.
type plan struct {
	generation uint64
	ops        []engine.Op
	roots      []string // of ops, by index
	act        actions
	restartFor []engine.Op // of ops: what restarts the whole container
	vain       string      // a path for which it was restarted often enough
}

// next takes what changed. ok is false while nobody has said what is desired,
// or nothing changed.
func (w *worker) next(first bool) (p plan, ok bool) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	s := w.s
	if !s.known || !first && !w.all && len(w.dirty) == 0 && w.looked == s.generation {
		return p, false
	}
	p.generation, w.looked = s.generation, s.generation
	maps.Copy(w.dirty, w.later)
	clear(w.later)
	if w.all || first {
		p.ops = engine.Diff(s.desired, w.known, &s.roots)
	} else {
		p.ops = engine.DiffPaths(s.desired, w.known, &s.roots, slices.Collect(maps.Keys(w.dirty)))
	}
	w.all = false
	clear(w.dirty)
	p.ops = slices.DeleteFunc(p.ops, func(op engine.Op) bool { return w.clashes(op) || w.isRefused(s, op) })
	for _, op := range p.ops {
		p.roots = append(p.roots, s.roots.For(op.Path))
	}
	w.owed.join(w.triggered) // until a batch with them is acknowledged
	w.triggered = actions{}
	p.act = w.owed
	for _, op := range p.ops {
		local := op.File.Local
		if op.Kind == engine.Remove {
			local = s.gone[op.Path]
		}
		for i := range s.hooks {
			if op.Kind == engine.Mkdir || !s.hooks[i].matches(op.Path, local) {
				continue
			}
			h := s.hooks[i]
			switch {
			case !h.Restart || w.alone == "":
			case w.restarted.vain(op):
				p.vain, h.Restart = op.Path, false
			default:
				p.restartFor = append(p.restartFor, op)
			}
			p.act.add(&h)
		}
	}
	p.act.hold = w.container.MayHold
	return p, true
}

// clashes refuses a file that is desired where others need a directory, and has it looked
// at again with the next batch: the others may be gone then.
func (w *worker) clashes(op engine.Op) bool {
	if op.Kind != engine.Clash {
		return false
	}
	w.refused[op.Path] = refusal{op.File, true, true, clashProblem(w.container, op.Path)}
	w.later[op.Path] = true
	return true
}

func (w *worker) isRefused(s *service, op engine.Op) bool {
	r, ok := w.refused[op.Path]
	if !ok {
		return false
	}
	want, exists := s.desired.Get(op.Path)
	if exists == r.exists && want == r.file && !r.clash {
		return true
	}
	delete(w.refused, op.Path)
	return false
}

// again marks paths to be looked at once more, now or later.
func (w *worker) again(now, later []string) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	for _, p := range now {
		w.dirty[p] = true
	}
	for _, p := range later {
		w.later[p] = true
	}
}

// itIsTime makes what was put off part of the next batch.
func (w *worker) itIsTime() {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	maps.Copy(w.dirty, w.later)
	clear(w.later)
}

// settle reports the end of a batch: all of the generation is there, or a path
// is not and Failed says which.
func (w *worker) settle(p plan, files int, bytes int64, took time.Duration, ack *protocol.Ack) {
	clear(w.tries)
	if len(w.refused) > 0 {
		w.fail(p.generation, w.firstRefusal())
		return
	}
	w.m.mu.Lock()
	w.acked, w.ackedAny, w.problem = p.generation, true, nil
	w.status.Lag = took
	w.status.Files += files
	w.status.Bytes += bytes
	w.status.Batches++
	w.m.advance()
	w.m.mu.Unlock()
	e := Event{Kind: Synced, Generation: p.generation, Files: files, Bytes: bytes, Took: took}
	if ack != nil {
		e.Owner, e.InPlace = int(ack.Owner), ack.InPlace
	}
	w.event(e)
}

func (w *worker) firstRefusal() *problem.Problem {
	paths := slices.Sorted(maps.Keys(w.refused))
	p := *w.refused[paths[0]].problem
	if n := len(paths); n > 1 {
		p.Summary += andOthers(n - 1)
	}
	return &p
}
