package watch

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/tree"
)

// Options say what to watch. Root or Index is required.
type Options struct {
	Root  string
	Index *tree.Index // shared with build and sync; opened for Root when nil

	Ignore   []string  // kdev.yaml's watch.ignore, in gitignore's format
	Include  []string  // paths and COPY patterns relative to the root that are watched although git or Docker ignores them
	Contexts []Context // build contexts: what all of those that hold a path leave out is ignored

	Poll Poll // when to look at the tree every 500 ms
}

// A Context is a build context, for its .dockerignore.
type Context struct {
	Dir        string // absolute
	Dockerfile string // absolute; its own .dockerignore goes first
}

// Poll says whether the tree is looked at every 500 ms besides listening.
type Poll int

const (
	PollAuto   Poll = iota // where the file system or a limit makes it necessary
	PollAlways             // only polling, no events
	PollNever
)

// An Op is what happened to a path, compared with what was reported before.
type Op string

const (
	Create Op = "create" // there was nothing
	Write  Op = "write"  // other content, another target, or another kind of file
	Remove Op = "remove" // there is nothing any more
	Chmod  Op = "chmod"  // other permission bits, same content
)

// A Change is one path that differs. Directories are reported too; the removal
// of one comes with the removal of all that it held.
type Change struct {
	Path  string     `json:"path"` // relative to the root, with slashes
	Op    Op         `json:"op"`
	Entry tree.Entry `json:"-"` // what is there now; zero after Remove
}

// A Batch is what one flush found, sorted by path. Batches that the consumer
// has not taken when the next one is due become one: a slow consumer gets the
// sum, never a queue.
type Batch struct {
	Generation uint64    `json:"generation"` // counts from 1; a merged batch has that of its last part
	Time       time.Time `json:"time"`       // of the flush
	Changes    []Change  `json:"changes"`
}

// A Notice tells the user once what limits the watching and what to do.
type Notice struct {
	Code string `json:"code"` // stable; docs/errors/watch.md
	Text string `json:"text"` // one line
}

// A Watcher watches one tree. Run owns everything that it starts.
type Watcher struct {
	options Options
	index   *tree.Index
	filter  *filter
	locks   *locks
	intake  *intake
	told    *notices
	refused *refused

	open    func(sink) (source, error) // the system's events; tests put their own in
	look    func(context.Context)      // fill; tests hold it up
	armed   chan struct{}
	filled  chan struct{} // closed when nothing is left of which only the name is known
	batches chan Batch

	// Below: of the goroutine that runs Run.
	source    source
	covers    *coverage
	pending   *pending
	later     *later
	pollAll   string // why the whole tree is polled
	rootGone  bool
	holding   holding
	ahead     ahead
	storm     storm
	doubtEnd  time.Time // of the last scan of the whole tree, and how long it took
	doubtTook time.Duration
}

// New prepares a watcher. It reads ignore rules but does not touch the tree.
func New(o Options) (*Watcher, error) {
	if o.Index == nil {
		index, err := tree.Open(o.Root)
		if err != nil {
			return nil, err
		}
		o.Index = index
	}
	if o.Root == "" {
		o.Root = o.Index.Root()
	}
	abs, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	if abs != o.Index.Root() {
		return nil, errors.New("watch: the index is of another root: " + o.Index.Root())
	}
	f, err := newFilter(o)
	if err != nil {
		return nil, err
	}
	w := &Watcher{
		options: o,
		index:   o.Index,
		filter:  f,
		locks:   newLocks(f.git.Repository().Dir),
		told:    newNotices(),
		refused: newRefused(),
		armed:   make(chan struct{}),
		filled:  make(chan struct{}),
		batches: make(chan Batch),
		pending: newPending(),
		covers:  newCoverage(),
		later:   newLater(),
	}
	w.intake = newIntake(f, o.Index)
	w.look = w.fill
	w.open = func(s sink) (source, error) { return openSource(o.Index.Root(), s) }
	return w, nil
}

// Armed is closed when every change from then on will be reported.
func (w *Watcher) Armed() <-chan struct{} { return w.armed }

// Batches delivers what changed since the watcher was armed. It is closed when
// Run returns. Who reads the files should ask the Index about them: a state
// that it has seen, and that is replaced by an older one before the next flush
// (a rename there and back), is reported again only if the index knows of it.
func (w *Watcher) Batches() <-chan Batch { return w.batches }

// Notices delivers what the user should know. It is closed when Run returns;
// nobody has to read it.
func (w *Watcher) Notices() <-chan Notice { return w.told.out }

// Recheck looks at paths (files, or directories with all that they hold)
// although no event came; without any, at the files that have changed lately. A
// build that writes through mmap, as Go's linker does, raises an event when it
// makes the file and none when it fills it: call it when such a command ends.
func (w *Watcher) Recheck(paths ...string) {
	if len(paths) == 0 {
		w.intake.again()
	}
	for _, p := range paths {
		w.intake.mark(p, deep)
	}
}

// Run watches until ctx ends, and returns when all that it started has ended.
func (w *Watcher) Run(ctx context.Context) error {
	defer close(w.batches)
	defer w.told.close()
	if err := w.arm(ctx); err != nil {
		return err
	}
	defer w.source.Close()
	close(w.armed)
	var filling sync.WaitGroup
	defer filling.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	filling.Go(func() { w.look(ctx); close(w.filled) })
	return w.loop(ctx)
}
