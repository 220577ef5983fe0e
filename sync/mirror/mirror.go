package mirror

import (
	"context"
	"crypto/rand"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/transport"
)

// A Container is one that should hold a service's files.
type Container struct {
	Service, Namespace, Pod, PodUID, Name string

	ID       string // of the runtime; empty while it does not run
	HasAgent bool   // its image was made by kdev
	// Image is what the image holds under mapped paths, by container path; nil
	// when nobody knows, which costs a look at every path.
	Image map[string]engine.File
	// Perhaps are files that the image may hold where it is engine.Uncertain: what it was
	// made from, before a RUN. It decides what is removed there, and nothing else.
	Perhaps map[string]engine.File
	// Behind are local files that have no place in the container and changed since
	// its image was made. The commands of hooks that name them run once in every
	// root that is fresh: a pod that was replaced, a container that was restarted.
	Behind []string
	// MayHold lets the agent keep a container whose application fails right after
	// a restart that a sync caused: restartPolicy is Always, and it is no init
	// container.
	MayHold bool
}

// A Hook says what follows a change of files.
type Hook struct {
	Paths   []string                           // shown to people; patterns, used when Match is nil
	Match   func(container, local string) bool // paths of a changed file; local is empty when nobody knows it
	Run     []string
	Restart bool
	Signal  string // with or without SIG

	Container bool // Restart is one of the container
}

// A Kind tells events apart.
type Kind int

const (
	Synced    Kind = iota // the container has all of Generation
	Failed                // it has not, because of Problem; it is tried again when that can help
	Connected             // the agent answered
	Lost                  // the connection ended; the worker dials again
	Hooked                // a command of a hook ended; Problem when it failed
	Started               // the application was started (again)
	Held                  // it failed after a restart and is kept for the next change; Problem
)

func (k Kind) String() string {
	return [...]string{"synced", "failed", "connected", "lost", "hooked", "started", "held"}[k]
}

// An Event is something that happened to one container.
type Event struct {
	Kind                    Kind
	Service, Pod, Container string
	Generation              uint64
	Files                   int           // of Synced: written and removed
	Bytes                   int64         // of Synced: on the wire
	Took                    time.Duration // of Synced: from the first byte to the acknowledgement; of Hooked: the command
	Unsynced                bool          // of Connected: the application started without kdev
	Starts                  uint64        // of Connected: how often the agent has started the application so far
	Alone                   bool          // of Connected: no agent runs the application, so that no Started will follow
	Command                 []string      // of Hooked
	Owner                   int           // of Synced: files that now belong to the container's user and did not before
	InPlace                 []string      // of Synced: files that could not be replaced atomically
	Problem                 *problem.Problem
}

// Options are what a Mirror needs.
type Options struct {
	Dial   transport.Dialer
	Open   func(local string) (*os.File, error)
	Kept   func(tree.Digest) (*os.File, bool) // content that the local tree may not hold any more; may be nil
	Recent func(tree.Digest) ([]byte, bool)   // content that was read a moment ago; may be nil
	Events func(Event)                        // one call at a time; may block the containers, never the caller of a method
	Now    func() time.Time

	Heartbeat time.Duration // between signs of life of an idle connection; default 3 s
	Slow      time.Duration // after which a batch without an answer is told as a problem; default 20 s
}

// A Mirror keeps containers equal to desired trees. Its methods may be called at
// any time from any goroutine and do not wait for a container, but WaitSynced.
type Mirror struct {
	opts   Options
	client [16]byte // names this process to agents

	events  sync.Mutex // one call of opts.Events at a time
	mu      sync.Mutex
	ctx     context.Context // of Run; nil before
	ended   bool
	work    sync.WaitGroup
	service map[string]*service
	bases   *bases
	patches patches
	keep    chan struct{} // big files may have become known
	changed chan struct{} // closed and replaced when a container got further
}

// A service is guarded by Mirror.mu.
type service struct {
	name       string
	known      bool // SetDesired was called
	generation uint64
	desired    *engine.Tree
	gone       map[string]string // container path that is no longer desired: the local one that it came from
	roots      engine.Roots
	hooks      []Hook
	workers    map[key]*worker
}

// A key names a container for as long as its pod lives.
type key struct{ uid, name string }

// New returns a Mirror that does nothing until Run.
func New(opts Options) *Mirror {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Heartbeat == 0 {
		opts.Heartbeat = heartbeat
	}
	if opts.Slow == 0 {
		opts.Slow = slowBatch
	}
	if opts.Events == nil {
		opts.Events = func(Event) {}
	}
	m := &Mirror{opts: opts, service: map[string]*service{}, changed: make(chan struct{}), bases: newBases(), keep: make(chan struct{}, 1)}
	rand.Read(m.client[:]) // never fails: crypto/rand
	return m
}

// Run keeps the containers equal until ctx is done. Every goroutine of the Mirror
// has ended when it returns.
func (m *Mirror) Run(ctx context.Context) error {
	m.mu.Lock()
	m.ctx = ctx
	for _, s := range m.service {
		for _, w := range s.workers {
			m.start(w)
		}
	}
	m.mu.Unlock()
	m.work.Go(func() { m.keepBases(ctx) })
	<-ctx.Done()
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.work.Wait()
	m.bases.close()
	return nil
}

// start runs a worker; m.mu is held.
func (m *Mirror) start(w *worker) {
	if m.ctx == nil || m.ended {
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	w.cancel = cancel
	m.work.Go(func() {
		defer cancel()
		w.run(ctx)
	})
}

// open opens the content that a file is to have.
func (m *Mirror) open(f engine.File) (*os.File, error) {
	if m.opts.Kept != nil {
		if kept, ok := m.opts.Kept(f.Digest); ok {
			return kept, nil
		}
	}
	return m.opts.Open(f.Local)
}

// SetDesired says what all containers of a service should hold.
func (m *Mirror) SetDesired(name string, generation uint64, files map[string]engine.File, hooks []Hook) {
	desired := engine.NewTree(files)
	var roots engine.Roots
	for p := range files {
		roots.Add(p)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.get(name)
	if s.known && generation < s.generation {
		generation = s.generation // a tree that was read before a batch, handed over after it
	}
	if s.desired != nil {
		for p, f := range s.desired.All() {
			s.leave(p, f.Local)
		}
	}
	for p := range files {
		delete(s.gone, p)
	}
	s.desired, s.roots, s.hooks, s.generation, s.known = desired, roots, hooks, generation, true
	select {
	case m.keep <- struct{}{}:
	default:
	}
	for _, w := range s.workers {
		w.all = true
		w.poke()
	}
}

// Update changes some paths of the desired tree; nil removes a path and, since a
// directory may have vanished as a whole, what came from below it. It must follow
// a SetDesired. triggers are local files that changed and have no place in a
// container: what the hooks that name them ask for follows all the same.
func (m *Mirror) Update(name string, generation uint64, changed map[string]*engine.File, hooks []Hook, triggers ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.get(name)
	if s.desired == nil {
		s.desired = engine.NewTree(nil)
	}
	s.hooks, s.generation, s.known = hooks, max(generation, s.generation), true
	dirty := make([]string, 0, len(changed))
	for p, f := range changed {
		dirty = append(dirty, p)
		if f != nil {
			s.desired.Set(p, *f)
			delete(s.gone, p)
			s.roots.Add(p)
			continue
		}
		dirty = append(dirty, s.remove(p)...)
	}
	triggered := triggeredBy(hooks, triggers)
	for _, w := range s.workers {
		for _, p := range dirty {
			w.dirty[p] = true
		}
		w.triggered.join(triggered)
		w.poke()
	}
}

// Trigger has one container do what hooks say of files that changed there without kdev; they
// are named as local files are.
func (m *Mirror) Trigger(name string, generation uint64, pod, container string, hooks []Hook, files ...string) {
	var triggered actions
	for i := range hooks {
		if slices.ContainsFunc(files, func(local string) bool { return hooks[i].matches("", local) }) {
			triggered.add(&hooks[i])
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.get(name)
	s.generation = max(generation, s.generation)
	for _, w := range s.workers {
		if w.container.Pod == pod && w.container.Name == container {
			w.triggered.join(triggered)
		}
		w.poke()
	}
}

// remove takes p out of the desired tree and returns what went with it.
func (s *service) remove(p string) []string {
	old, had := s.desired.Get(p)
	s.desired.Delete(p)
	s.leave(p, old.Local)
	if had && !old.Mode.IsDir() {
		return nil
	}
	var gone []string
	for _, q := range s.desired.Under(p) {
		f, _ := s.desired.Get(q)
		// Another directory may be copied to the same place and live on.
		if had && !strings.HasPrefix(f.Local, strings.TrimSuffix(old.Local, "/")+"/") {
			continue
		}
		if !had && path.Base(path.Dir(f.Local)) != path.Base(path.Dir(q)) {
			continue
		}
		s.desired.Delete(q)
		s.leave(q, f.Local)
		gone = append(gone, q)
	}
	return gone
}

// leave remembers where a path came from that is no longer desired: hooks go by
// local names.
func (s *service) leave(p, local string) {
	if local == "" {
		return
	}
	if s.gone == nil {
		s.gone = map[string]string{}
	}
	s.gone[p] = local
}

func (m *Mirror) get(name string) *service {
	s := m.service[name]
	if s == nil {
		s = &service{name: name, workers: map[key]*worker{}}
		m.service[name] = s
	}
	return s
}

// SetContainers says which containers there are now. New ones are dialled at
// once, those that are gone are left.
func (m *Mirror) SetContainers(name string, list []Container) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.get(name)
	seen := map[key]bool{}
	for _, c := range list {
		k := key{c.PodUID, c.Name}
		seen[k] = true
		w := s.workers[k]
		if w == nil {
			w = newWorker(m, s, c)
			s.workers[k] = w
			m.start(w)
			continue
		}
		restarted := w.container.ID != "" && c.ID != "" && w.container.ID != c.ID
		came := w.container.ID == "" && c.ID != ""
		w.container = c
		if restarted || came {
			w.dialNow()
		}
	}
	for k, w := range s.workers {
		if !seen[k] {
			delete(s.workers, k)
			if w.cancel != nil {
				w.cancel()
			}
		}
	}
	m.advance()
}

// advance wakes WaitSynced; m.mu is held.
func (m *Mirror) advance() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// WaitSynced waits until all containers of a service that there are have the
// generation, or one has failed with it.
func (m *Mirror) WaitSynced(ctx context.Context, name string, generation uint64) error {
	for {
		m.mu.Lock()
		ready, failed := true, (*problem.Problem)(nil)
		for _, w := range m.get(name).workers {
			if w.acked < generation || !w.ackedAny {
				ready = false
				if w.problem != nil && w.failed >= generation {
					failed = w.problem
				}
			}
		}
		changed := m.changed
		m.mu.Unlock()
		switch {
		case ready:
			return nil
		case failed != nil:
			return failed
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// A Status is what one container has.
type Status struct {
	Service, Pod, Container string
	Connected               bool
	Desired                 uint64        // generation that it should have
	Generation              uint64        // generation that it acknowledged
	Lag                     time.Duration // between the last batch's first byte and its acknowledgement
	Batches                 uint64
	Files                   int   // since the start
	Bytes                   int64 // since the start
	Phase                   string
	Problem                 *problem.Problem
}

// Status lists all containers, sorted.
func (m *Mirror) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Status
	for _, s := range m.service {
		for _, w := range s.workers {
			st := w.status
			st.Service, st.Pod, st.Container = s.name, w.container.Pod, w.container.Name
			st.Desired, st.Generation, st.Problem = s.generation, w.acked, w.problem
			all = append(all, st)
		}
	}
	slices.SortFunc(all, func(a, b Status) int {
		return strings.Compare(a.Service+"\x00"+a.Pod+"\x00"+a.Container, b.Service+"\x00"+b.Pod+"\x00"+b.Container)
	})
	return all
}

func (m *Mirror) emit(e Event) {
	m.events.Lock()
	defer m.events.Unlock()
	m.opts.Events(e)
}
