package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/sync/transport"
	"github.com/kdev-io/kdev/watch"
)

// Options is what a person may choose for one `kdev up`.
type Options struct {
	Project *config.Project
	NoSync  bool
	NoBuild bool
	NoPorts bool
	// Services are those to bring up, with what they need; none means all.
	Services []string
	// NoWatch brings the project up and changes nothing afterwards: `--until ready`.
	NoWatch bool
	// Reload reads the configuration anew when it was saved; nil: it stays as it is.
	Reload func() (*config.Project, error)
	// Included is for a project of a Group that is not the one that was asked for.
	Included bool
	// Attach syncs into what runs and neither builds nor applies: `kdev sync`.
	Attach bool
}

// Parts are the pieces that a session puts to work. The caller made them and
// closes them after Run has returned.
type Parts struct {
	Cluster  *cluster.Cluster
	Kube     *kube.Client
	Live     *kube.Namespace
	Deployer *deploy.Deployer
	Builder  build.Builder
	Compiler build.Compiler
	Store    *registry.Store
	Index    *tree.Index
	Dial     transport.Dialer // to the agents in the containers
	Platform string           // of the nodes: linux/amd64
	// Registry is what references of built images begin with, from which the cluster pulls:
	// "localhost:5001", "ghcr.io/acme". Empty: whatever runs is taken as pullable.
	Registry string
	// ImageID is what the engine calls an image that it holds, empty where it has none
	// or is away; nil: nobody asks.
	ImageID func(ctx context.Context, ref string) string
	// Provide makes images of others that this machine holds pullable for the
	// nodes, before the objects that name them are applied.
	Provide func(ctx context.Context, refs []string, tell func(string)) error
	// Logins finds the images that cannot be pulled without the person's own login,
	// for a Secret beside the pods that run them; nil: none.
	Logins func(ctx context.Context, refs []string) (deploy.PullSecret, error)
	// Hide takes what nobody should see out of all that is said of the session: lines of
	// local work, notices, the words of its State. nil: nothing.
	Hide func(line string) string
	// Conceal has Hide take out a value from now on. nil: as it is.
	Conceal func(value string)
}

// A Session is one `kdev up`.
type Session struct {
	name   string // of the project; a saved configuration never changes it
	opts   Options
	parts  Parts
	mirror *mirror.Mirror
	kept   keepsakes
	trees  assemble.Trees // of images that were looked into

	listeners listeners
	extra     []extraPort // that a person asked for; the loop's
	front     *front
	locals    locals
	tasks     tasks
	mistakes  []*problem.Problem // of the configuration that was saved last; Run's goroutine has them

	events chan event
	ended  chan struct{} // closed when Run is about to return
	down   atomic.Bool   // what was deployed is to go
	state  atomic.Pointer[State]

	mu      sync.Mutex
	notify  []func(Notice)
	outputs []func(service, line string)
	watched map[chan struct{}]struct{}
	images  heldImages
}

// New prepares a session; nothing happens before Run.
func New(opts Options, parts Parts) *Session {
	s := &Session{
		name:    opts.Project.Name,
		opts:    opts,
		parts:   parts,
		events:  make(chan event, 64),
		ended:   make(chan struct{}),
		watched: map[chan struct{}]struct{}{},
		locals:  locals{changed: make(chan struct{}, 1)},
		tasks:   tasks{changed: make(chan struct{}, 1), running: map[string]bool{}},
	}
	s.front = newFront(s)
	s.state.Store(&State{
		Project:   opts.Project.Name,
		Namespace: opts.Project.Namespace,
		Context:   parts.Cluster.Context,
		Root:      opts.Project.Root,
		Started:   time.Now(),
		Session:   true,
	})
	return s
}

// State is the newest snapshot. It is never changed after it was handed out.
func (s *Session) State() *State { return s.state.Load() }

// Subscribe gives a signal that the State changed, coalesced, and the function
// that ends it.
func (s *Session) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watched, ch)
	}
}

// OnNotice hands every later notice to f, in order, from the loop's goroutine:
// f must not block.
func (s *Session) OnNotice(f func(Notice)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = append(s.notify, f)
}

// OnOutput hands every later line of local work to f, those of one service in
// order, from several goroutines: f must not block.
func (s *Session) OnOutput(f func(service, line string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outputs = append(s.outputs, f)
}

func (s *Session) output(service, line string) {
	s.mu.Lock()
	outputs := s.outputs
	s.mu.Unlock()
	for _, f := range outputs {
		f(service, line)
	}
}

// Owns says whether a pod belongs to a workload of the project.
func (s *Session) Owns(pod *corev1.Pod) bool { return s.State().ServiceOf("", pod.Name) != "" }

// called is how a service is called in what is said to people.
func (s *Session) called(service string) string {
	if s.opts.Included {
		return s.nameIn(service)
	}
	return service
}

// post hands an event to the loop; it gives up when the session ends.
func (s *Session) post(ctx context.Context, e event) {
	select {
	case s.events <- e:
	case <-ctx.Done():
	}
}

func (s *Session) publish(st *State) {
	if s.parts.Hide != nil {
		st.hide(s.parts.Hide)
	}
	s.state.Store(st)
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.watched {
		select {
		case ch <- struct{}{}:
		default: // it has not looked at the last one yet
		}
	}
}

func (s *Session) tell(n Notice) {
	if n.Time.IsZero() {
		n.Time = time.Now()
	}
	if s.parts.Hide != nil {
		n.Text = s.parts.Hide(n.Text)
		if n.Problem != nil {
			n.Problem = n.Problem.Hide(s.parts.Hide)
		}
	}
	s.mu.Lock()
	notify := s.notify
	s.mu.Unlock()
	for _, f := range notify {
		f(n)
	}
}

// Run brings the project up and keeps it true until ctx is done. It returns
// nil then; an error means that the session could not go on at all. Every
// goroutine that it started has ended when it returns.
func (s *Session) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.kept.close()
	defer s.images.close()
	defer s.listeners.close(nil)
	defer s.front.close()
	defer s.locals.close()
	defer s.tasks.close()
	defer close(s.ended)
	defer cancel()
	var was *loop
	for {
		l, err := s.loop(ctx, cancel, was)
		switch {
		case err != nil && l == nil && was != nil && was.old != nil && ctx.Err() == nil:
			s.mistaken(err, "the saved configuration cannot be used; the one before goes on")
			s.opts.Project, was.old = was.old, nil // used once: the one before must work
		case err != nil || l.next == nil || ctx.Err() != nil:
			return err
		default:
			l.old, s.opts.Project = s.opts.Project, l.next
			was = l
			s.tell(Notice{Level: Done, Code: "config-changed", Text: "the saved configuration is being applied"})
		}
	}
}

// loop works with one configuration, after the loop before it, until ctx is done
// or that configuration is no longer the one that counts. stop ends the session.
// An error without a loop means that the configuration cannot be worked with.
func (s *Session) loop(ctx context.Context, stop func(), was *loop) (*loop, error) {
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	s.mirror = mirror.New(mirror.Options{
		Dial:   s.parts.Dial,
		Open:   s.open,
		Kept:   s.kept.open,
		Recent: s.parts.Index.Recent,
		Events: func(e mirror.Event) { s.post(ctx, syncHappened{e}) },
		Now:    time.Now,
	})
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()

	l, err := newLoop(s, ctx, &work)
	if err != nil {
		return nil, err
	}
	l.addLocal(whole)
	l.whole = whole
	if was != nil {
		l.adopt(was)
	}
	if err := l.openPorts(); err != nil {
		return nil, err
	}
	l.stop, l.leave = stop, cancel
	fatal := l.fatal
	work.Go(func() {
		if err := s.mirror.Run(ctx); err != nil && ctx.Err() == nil {
			fatal <- fmt.Errorf("syncing files: %w", err)
		}
	})
	if !s.opts.NoWatch {
		if err := s.watch(ctx, &work, l, fatal); err != nil {
			return nil, err
		}
	}
	work.Go(func() { s.measure(ctx) })
	changed, unsubscribe := s.parts.Live.Subscribe()
	defer unsubscribe()

	l.begin()
	l.catchUp(was)
	if was == nil || l.unrendered {
		l.settle() // local work waits for no event; else the state before holds until the render
	}
	for {
		if ctx.Err() != nil {
			cancel()
			work.Wait()
			l.asked, l.missed = s.drain()
			return l, nil
		}
		select {
		case <-ctx.Done():
			continue
		case err := <-fatal:
			return l, err
		case e := <-s.events:
			e.apply(l)
			l.more()
		case <-changed:
			clusterChanged{}.apply(l)
		case <-s.locals.changed: // look at them
		case <-s.tasks.changed: // and at these
		}
		l.settle()
	}
}

// more applies what has gathered behind an event, so that a build that prints a
// thousand lines asks for a look at everything once and not a thousand times.
func (l *loop) more() {
	for range cap(l.s.events) {
		if l.ctx.Err() != nil {
			return
		}
		select {
		case e := <-l.s.events:
			e.apply(l)
		default:
			return
		}
	}
}

// open opens a file that the mirror sends: one of the project, or with an absolute
// path what a build made.
func (s *Session) open(local string) (*os.File, error) {
	if filepath.IsAbs(local) {
		return os.Open(local)
	}
	return s.parts.Index.Open(local)
}

// watch starts the watcher and returns when it is armed, so that no change
// after the first look at the tree can be missed.
func (s *Session) watch(ctx context.Context, work *sync.WaitGroup, l *loop, fatal chan<- error) error {
	w, err := watch.New(watch.Options{
		Root:     s.opts.Project.Root,
		Index:    s.parts.Index,
		Ignore:   s.opts.Project.Watch.Ignore,
		Include:  l.explicitSources(),
		Contexts: l.contexts(),
	})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	work.Go(func() {
		if err := w.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			failed <- fmt.Errorf("watching files: %w", err)
		}
	})
	select {
	case <-w.Armed():
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
	l.recheck = func() { w.Recheck() }
	before := l.generation // each watcher counts from 1; generations of a session only grow
	batches, notices := w.Batches(), w.Notices()
	work.Go(func() {
		for {
			select {
			case b, ok := <-batches:
				if !ok {
					batches = nil // the watcher ended; failed says why
					continue
				}
				b.Generation += before
				s.post(ctx, filesChanged{b})
			case n, ok := <-notices:
				if !ok {
					notices = nil
					continue
				}
				s.post(ctx, notice{Notice{Level: Warn, Code: n.Code, Text: n.Text}})
			case err := <-failed:
				fatal <- err
				return
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}
