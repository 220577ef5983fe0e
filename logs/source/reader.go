package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/logs/store"
)

// Options say from where to read and how far.
type Options struct {
	Follow bool
	// Since drops lines older than this; zero keeps all that the kubelet has.
	Since time.Time
	// SinceSeconds is Since in seconds before now, by the node's clock; 0 is none.
	SinceSeconds int64
	// Tail wants that many lines from the end at first; nil all.
	Tail *int64
	// Previous reads the run before instead, once.
	Previous bool
	// New says that the container came up under our eyes: if it ran more than once
	// already, the run before is wanted too.
	New bool
	// Early reads lines of a container that has no log yet for the API; nil waits for it.
	Early *Early
}

func (o *Options) whole() bool { return o.Tail == nil && o.Since.IsZero() && o.SinceSeconds == 0 }

// A Reader reads one container, over all its restarts.
type Reader struct {
	opener Opener
	src    *store.Source
	opts   Options
	hooks  Hooks
	gate   *Gate
	state  *stateBox
	in     ingest

	reading State       // what was known when the last stream was opened, or at the start
	atOpen  window      // lines passed on before the stream was opened
	read    bool        // a stream was read before
	refused time.Time   // since when the API refuses what was read before; zero when it does not
	told    bool        // that it was opened
	resting atomic.Bool // nothing is to be read before the pod's status changes
	trust   bool        // the next stream may be of another log than the last one: its run before is read
	longest time.Duration

	earlyAt    int64 // bytes of the first run's file that were read early
	earlyEnd   bool  // no more of it is
	earlyTried int
	earlyWait  time.Duration
}

// retryWithin is the longest wait before a broken stream is opened again: half of the
// second within which a log goes on once its server is back.
const retryWithin = 500 * time.Millisecond

// rolesWithin bounds how long an API server that has just started may refuse
// everything: until it has read its roles.
const rolesWithin = 30 * time.Second

// denied says whether err refuses this log for good. Who could read it before may
// be refused for a while.
func (r *Reader) denied(err error, now time.Time) bool {
	switch {
	case !apierrors.IsForbidden(err):
		r.refused = time.Time{}
		return false
	case !r.read:
		return true
	case r.refused.IsZero():
		r.refused = now
	}
	return now.Sub(r.refused) >= rolesWithin
}

// NewReader makes a reader; [Reader.Run] reads.
func NewReader(opener Opener, st *store.Store, src *store.Source, gate *Gate, initial State, opts Options, hooks Hooks) *Reader {
	r := &Reader{opener: opener, src: src, opts: opts, hooks: hooks, gate: gate, state: newStateBox(initial), longest: retryWithin}
	r.in = ingest{app: st.Appender(src), hooks: hooks, stamped: true}
	if !opts.Since.IsZero() {
		r.in.since = opts.Since.UnixNano()
	}
	r.in.seen.whole = opts.whole()
	if !opts.New {
		r.reading = initial
	}
	return r
}

// Update tells the reader what the pod's status says now.
func (r *Reader) Update(s State) { r.state.set(s) }

// Run reads until the container is gone or final, its wanted part is read, or
// ctx is done. Its error says why a container that was to be read once could not
// be; a container that is followed has none.
func (r *Reader) Run(ctx context.Context) error {
	defer r.in.app.Close()
	defer func() {
		if r.told {
			r.hooks.notice(Notice{Kind: Ended})
		}
	}()
	if !r.opts.Follow {
		return r.once(ctx)
	}
	r.follow(ctx)
	return nil
}

// once reads what is there; its place among the open streams is its caller's. A
// stream that breaks is opened again a few times.
func (r *Reader) once(ctx context.Context) error {
	var err error
	wait := r.backoff()
	for range 5 {
		opts := r.request(false)
		opts.Previous = r.opts.Previous
		r.in.begin(r.in.seen.replay())
		if err = r.consume(ctx, opts, nil); err == nil {
			if r.in.passed == 0 && r.in.kubelet != "" {
				r.in.say(r.in.kubelet) // why it has no log is all that there is to show
			}
			return r.in.end(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) || r.denied(err, time.Now()) {
			break
		}
		wait.sleep(ctx, nil)
	}
	return fmt.Errorf("read the log of %s/%s: %w", r.src.Pod, r.src.Container, err)
}

// follow reads run after run of the container.
func (r *Reader) follow(ctx context.Context) {
	wait, told, end := r.backoff(), teller{}, ending{}
	for ctx.Err() == nil {
		state, changed := r.state.get()
		switch {
		case state.ID == "" && (state.Gone || state.Final):
			return
		case state.ID == "" && r.opts.Early != nil:
			r.early(ctx, changed)
			continue
		case state.ID == "":
			r.waitFor(ctx, changed)
			continue
		case state.Restarts > r.reading.Restarts:
			r.drain(ctx, r.lagged(state))
			r.trust = true
			r.hooks.notice(Notice{Kind: Restarted})
			wait = r.backoff()
		case !r.read && r.opts.Tail != nil && *r.opts.Tail == 0:
			r.mark(ctx)
		}
		r.reading = state
		err := r.stream(ctx, r.request(true), changed)
		if ctx.Err() != nil {
			return
		}
		if r.in.passed > 0 {
			wait = r.backoff()
		}
		now, changed := r.state.get()
		switch {
		case err == nil && !now.Gone && !state.Running && now.ID == state.ID && !end.reached(&r.in):
			// It had ended before this stream was opened, and yet the stream may have
			// been cut: only one that shows the last line again and nothing behind it
			// was whole.
		case now.Gone || err == nil && !state.Running && now.ID == state.ID:
			_ = r.in.end(ctx)
			if now.Gone || now.Final {
				return
			}
			r.waitFor(ctx, changed)
			continue
		case r.denied(err, time.Now()):
			r.hooks.notice(Notice{Kind: Denied, Err: err})
			r.waitFor(ctx, changed)
			continue
		case errors.Is(err, errOtherLog):
			// The kubelet serves the next run already, before the news of it came; or it
			// rotated the log.
			r.drain(ctx, false)
			r.trust = true
			continue
		case errors.Is(err, errGivenUp):
		case err != nil && told.now(r.in.passed > 0):
			r.hooks.notice(Notice{Kind: Retrying, Err: err})
		case err == nil && r.in.kubelet != "":
			if text := explain(r.in.kubelet, r.src.Node); text != "" {
				r.hooks.notice(Notice{Kind: Explained, Text: text})
			}
			wait.next = wait.longest
		case err == nil:
			told = teller{}
		}
		wait.sleep(ctx, changed)
	}
}

// An ending judges whether a stream of a run that has ended showed its log to the
// end. It may have been cut, so only one counts that shows the last line again and
// nothing behind it.
type ending struct {
	empty int // streams that showed neither: the log was rotated away, or never had a line
	half  int // bytes of an unfinished last line
}

func (e *ending) reached(in *ingest) bool {
	half := len(in.app.Pending())
	same := half == e.half
	e.half = half
	switch {
	case in.passed > 0:
		e.empty = 0
		return false
	case half > 0:
		return same // a cut would have come elsewhere
	case in.known > 0:
		return true
	}
	e.empty++
	return e.empty > 5 || in.seen.n == 0 && e.empty > 1
}

// stream opens the log and reads it to its end, or until [Reader.watch] gives it up.
func (r *Reader) stream(ctx context.Context, opts *corev1.PodLogOptions, changed <-chan struct{}) error {
	leave, err := r.gate.enter(ctx, func() { r.hooks.notice(Notice{Kind: Waiting}) })
	if err != nil {
		return err
	}
	defer leave()
	r.atOpen = r.in.seen
	r.in.begin(r.in.seen.replay())
	r.in.suspect = !r.trust
	err = r.consume(ctx, opts, func(ctx context.Context, giveUp func()) { r.watch(ctx, changed, giveUp) })
	if t, ok := r.in.half(); ok && r.in.seen.n == 0 {
		r.in.from = t // the next stream begins with this line
	}
	return err
}

// consume reads one answer of the API to its end. watch runs beside it.
func (r *Reader) consume(ctx context.Context, opts *corev1.PodLogOptions, watch func(ctx context.Context, giveUp func())) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := r.gate.open(ctx, func() (io.ReadCloser, error) {
		return r.opener.Open(ctx, r.src.Namespace, r.src.Pod, opts)
	})
	if err != nil {
		return err
	}
	defer body.Close()
	r.read, r.trust = true, false
	if !r.in.marking {
		r.open()
	}
	if watch != nil {
		var watching sync.WaitGroup
		watching.Go(func() { watch(ctx, func() { cancel(errGivenUp) }) })
		defer watching.Wait()
		defer cancel(nil)
	}
	if err := r.in.read(ctx, body); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// open tells, once, that lines can come.
func (r *Reader) open() {
	if !r.told {
		r.told = true
		r.hooks.notice(Notice{Kind: Opened})
	}
}

// errGivenUp is the end of a stream that we cut ourselves.
var errGivenUp = errors.New("given up")

// How long a stream has to be silent before it is given up: because its container
// was replaced, so that its end should have come already; because its pod is gone;
// because others wait for its place. A stream that waits for us, since what we
// write to is slow, is not silent.
const (
	quietReplaced = time.Second
	quietGone     = 5 * time.Second
	quietYield    = 2 * time.Second
)

// watch gives the stream up when it is silent and there is a reason to.
func (r *Reader) watch(ctx context.Context, changed <-chan struct{}, giveUp func()) {
	opened := r.reading
	for {
		now, _ := r.state.get()
		quiet := time.Duration(0)
		pressed := r.gate.pressed()
		switch {
		case now.Gone:
			quiet = quietGone
		case now.Restarts != opened.Restarts:
			quiet = quietReplaced
		default:
			select {
			case <-pressed:
				quiet = quietYield
			default:
			}
		}
		if quiet == 0 {
			select {
			case <-changed:
				_, changed = r.state.get()
			case <-pressed:
			case <-ctx.Done():
				return
			}
			continue
		}
		before := r.in.activity.Load()
		timer := time.NewTimer(quiet)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if idle := before&1 == 1; idle && r.in.activity.Load() == before {
			giveUp()
			return
		}
	}
}

// outOfOrder is how much older than its neighbour a line of a log may be; see
// [windowSize].
const outOfOrder = 50 * time.Millisecond

// request asks for what is wanted and not yet seen.
func (r *Reader) request(follow bool) *corev1.PodLogOptions {
	opts := &corev1.PodLogOptions{Container: r.src.Container, Follow: follow, Timestamps: true}
	if r.in.seen.n > 0 {
		sinceLast(opts, &r.in.seen)
		return opts
	}
	r.sinceStart(opts)
	switch t, ok := r.in.half(); {
	case !r.read:
		opts.TailLines = r.opts.Tail
	case ok:
		since := metav1.NewTime(time.Unix(0, t).Truncate(time.Second))
		opts.SinceTime, opts.SinceSeconds = &since, nil
	}
	// A log that was opened before and had no line wants all lines now.
	return opts
}

// sinceLast asks for the second of the last line again, or of the one before where
// a line out of order could be of that; the window tells what of it was seen.
func sinceLast(opts *corev1.PodLogOptions, w *window) {
	since := metav1.NewTime(time.Unix(0, w.last()).Add(-outOfOrder).Truncate(time.Second))
	opts.SinceTime = &since
}

func (r *Reader) sinceStart(opts *corev1.PodLogOptions) {
	if s := r.opts.SinceSeconds; s > 0 {
		opts.SinceSeconds = &s
	} else if !r.opts.Since.IsZero() {
		since := metav1.NewTime(r.opts.Since)
		opts.SinceTime = &since
	}
}

// mark reads the last line of a log of which nothing is wanted but what comes
// next. Without it, what is written while a first stream breaks would be lost:
// there would be no line from which to go on.
func (r *Reader) mark(ctx context.Context) {
	opts := &corev1.PodLogOptions{Container: r.src.Container, Timestamps: true, TailLines: new(int64(1))}
	r.in.begin(nil)
	r.in.marking = true
	_ = r.consume(ctx, opts, nil)
	r.in.marking = false
	if t, ok := r.in.half(); ok {
		r.in.seen.add(t) // what was begun before is not what comes next
	}
}

// lagged says that the lines read so far are of the run that the state is the news
// of: the first stream was opened in the moment between two runs.
func (r *Reader) lagged(state State) bool {
	return r.in.seen.n > 0 && r.atOpen.n == 0 && !state.Started.IsZero() && r.in.first >= state.Started.UnixNano()
}

// drainTries bounds how long the run before can keep the next one waiting.
const drainTries = 30

// drain reads what the run before wrote after it was last read. Lagged means that
// none of its lines was read, but lines of the run after it.
func (r *Reader) drain(ctx context.Context, lagged bool) {
	defer func() { r.in.drain = nil }()
	var before window
	before.whole = r.in.seen.whole
	wait, end, first := r.backoff(), ending{}, r.in.first
	for range drainTries {
		opts := &corev1.PodLogOptions{Container: r.src.Container, Timestamps: true, Previous: true}
		rule := &drainRule{seen: &r.in.seen}
		if lagged {
			rule.seen, rule.first, rule.after = &before, first, r.in.seen.replay()
		}
		if rule.seen.n > 0 {
			sinceLast(opts, rule.seen)
		} else {
			r.sinceStart(opts)
			opts.TailLines = r.opts.Tail
		}
		rule.again = rule.seen.replay()
		r.in.begin(nil)
		r.in.drain = rule
		err := r.consume(ctx, opts, nil)
		switch {
		case ctx.Err() != nil || apierrors.IsBadRequest(err) || apierrors.IsNotFound(err) || r.denied(err, time.Now()):
			return // the kubelet keeps one ended run, and not for ever
		case err == nil && end.reached(&r.in):
			_ = r.in.end(ctx)
			return
		}
		wait.sleep(ctx, nil)
	}
}

// A backoff is the time to the next try: at once, then 50 ms doubling to longest.
type backoff struct{ next, longest time.Duration }

func (r *Reader) backoff() backoff { return backoff{longest: r.longest} }

func (b *backoff) sleep(ctx context.Context, changed <-chan struct{}) {
	d := b.next
	b.next = min(max(2*d, 50*time.Millisecond), b.longest)
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
	}
}

// A teller says when a failure that goes on is worth telling: a cut that is mended
// by the next tries is nobody's business.
type teller struct{ next time.Time }

const (
	tellAfter = 3 * time.Second
	tellEvery = time.Minute
)

func (t *teller) now(progress bool) bool {
	switch now := time.Now(); {
	case progress || t.next.IsZero():
		t.next = now.Add(tellAfter)
		return false
	case now.Before(t.next):
		return false
	default:
		t.next = now.Add(tellEvery)
		return true
	}
}

// waitFor waits for news of the pod.
func (r *Reader) waitFor(ctx context.Context, changed <-chan struct{}) {
	r.resting.Store(true)
	defer r.resting.Store(false)
	select {
	case <-changed:
	case <-ctx.Done():
	}
}

// Behind says that the container may have written what was not passed on yet: its
// stream is not open, or brings lines. The stream of one that runs is never at an end;
// that it waits for more is all that can be known. One that does not run is behind until
// its log was read to the end; one that has ended for good, of which final tells, until
// [Reader.Run] returns.
func (r *Reader) Behind() (behind, final bool) {
	state, _ := r.state.get()
	if state.ID == "" || r.resting.Load() {
		return false, state.Final
	}
	return state.Final || !state.Running || r.in.activity.Load()&1 == 0, state.Final
}
