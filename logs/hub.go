package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/source"
	"github.com/kdev-io/kdev/logs/store"
)

// DefaultStoreBytes hold some 150,000 lines of 120 bytes. What is older is read
// from the disk or from the cluster.
const DefaultStoreBytes = 24 << 20

// Options say where lines go and how they look.
type Options struct {
	// Out gets the formatted lines; nil where only the store is read.
	Out    io.Writer
	Format format.Options
	Filter filter.Options
	// StoreBytes bounds what is kept in memory; 0 is DefaultStoreBytes.
	StoreBytes int64
	// MaxStreams bounds the streams that are open at a time; 0 is 200. Containers
	// beyond it are read in turn.
	MaxStreams int
	// FlushEvery is the longest time that a line waits for others to be written with;
	// a line that comes alone is written at once. 0 is 10 ms.
	FlushEvery time.Duration
	// Merge puts lines in the order of their times, within a window of 250 ms.
	Merge bool
	// Join makes one line with newlines of the lines of a record.
	Join bool
	// Until ends Run behind the first line shown that it matches; see [Hub.Met].
	Until *filter.Pattern
	// Save gets what Out gets, without colours; nil saves nothing. Once it fails it gets
	// no more; the lines go on to Out, and Run ends with [ErrSave].
	Save io.Writer
	// SaveFailed is told when Save fails; nil tells nobody before Run ends.
	SaveFailed func(error)
	// Lost is told how many lines came too fast for Out; nil writes it to Out.
	Lost func(lines uint64)
	// Notice is told what happens to sources. It is called from several goroutines.
	Notice func(Notice)
	// Mask hides values in every line before anything else sees it; nil hides none.
	Mask *Mask
	// Levels finds the level of each line as it arrives, for screens that read the
	// store. Formats and filters that need levels find them without it.
	Levels bool
	// DiffContainer gives containers the colour of their name instead of their pod's.
	DiffContainer bool
}

// A Notice is something that happened to a source.
type Notice struct {
	source.Notice
	Source *store.Source
}

// A Hub joins sources, store and writer. Make it with [New], give it sources at any
// time, and let [Hub.Run] own the work.
type Hub struct {
	opts   Options
	store  *store.Store
	gate   *source.Gate
	filter *filter.Filter
	format *format.Formatter
	colors *colors

	mu       sync.Mutex
	running  context.Context // nil before Run
	pending  []work
	ends     ends
	local    map[string]*Local
	trackers sync.WaitGroup
	readers  map[*source.Reader]bool
	unseen   int  // selections that have not looked at their pods yet
	follows  bool // a selection never ends by itself
	piped    bool // a pipe may have lines at any time
	once     bool // all that will come was there when Run began
	closed   bool // nothing is started any more
	failed   []error
	met      bool
}

// New makes a hub. Its errors are those of options that do not parse.
func New(opts Options) (*Hub, error) {
	if opts.StoreBytes == 0 {
		opts.StoreBytes = DefaultStoreBytes
	}
	if opts.MaxStreams == 0 {
		opts.MaxStreams = 200
	}
	if opts.FlushEvery == 0 {
		opts.FlushEvery = 10 * time.Millisecond
	}
	if len(opts.Format.Palette.Pods) == 0 {
		opts.Format.Palette = format.Palettes()[0]
	}
	f, err := format.New(opts.Format)
	if err != nil {
		return nil, err
	}
	return &Hub{
		opts:    opts,
		store:   store.New(opts.StoreBytes),
		gate:    source.NewGate(opts.MaxStreams),
		filter:  filter.New(opts.Filter),
		format:  f,
		colors:  newColors(len(opts.Format.Palette.Pods)),
		local:   map[string]*Local{},
		readers: map[*source.Reader]bool{},
	}, nil
}

// Store is what views read.
func (h *Hub) Store() *store.Store { return h.store }

// Follow adds a selection of containers, before Run or while it runs; once Run ends it
// does nothing.
func (h *Hub) Follow(sel Selection) {
	t := newTracker(h, sel)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.follows = h.follows || !sel.Once
	h.unseen++
	if h.running == nil {
		h.pending = append(h.pending, t)
		return
	}
	h.start(t)
}

// work is what a source of many lines does until ctx is done or nothing is left.
type work interface {
	run(ctx context.Context) error
}

func (h *Hub) start(w work) {
	ctx := h.running
	h.trackers.Go(func() {
		if err := w.run(ctx); err != nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.failed = append(h.failed, err)
		}
	})
}

// Run reads and writes until ctx is done or, where each selection is read once,
// until all is written. Everything that it started has ended when it returns, and
// what had arrived is written. Its error is of the writer, or names the containers
// that could not be read.
func (h *Hub) Run(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	h.mu.Lock()
	if h.running != nil {
		h.mu.Unlock()
		return fmt.Errorf("run logs: already running")
	}
	h.running = reading
	if h.opts.Out != nil {
		h.ends.begin()
	}
	for _, t := range h.pending {
		h.start(t)
	}
	finite := len(h.pending) > 0 && !h.follows
	h.once = finite && !h.piped
	h.pending = nil
	h.mu.Unlock()

	readersEnded := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		if !finite {
			<-reading.Done()
		}
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		h.trackers.Wait()
		close(readersEnded)
	})
	var err error
	met := false
	if h.opts.Out != nil {
		var w *writer
		if w, err = newWriter(h); err == nil {
			err = w.write(readersEnded, stop)
			met = w.met
		}
		h.ends.end()
	} else {
		<-readersEnded
	}
	stop()
	wait.Wait()
	h.closeLocal()
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.met = met
	if met {
		return nil
	}
	if len(h.failed) > 0 {
		return joinFailures(h.failed)
	}
	return nil
}

// Behind says whether containers may have written what did not arrive yet. With final
// it asks only those that have ended for good, which come to an end.
func (h *Hub) Behind(final bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unseen > 0 {
		return true
	}
	for r := range h.readers {
		if behind, ended := r.Behind(); behind && (ended || !final) {
			return true
		}
	}
	return false
}

// reads tells of a reader that begins or has ended.
func (h *Hub) reads(r *source.Reader, begins bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if begins {
		h.readers[r] = true
	} else {
		delete(h.readers, r)
	}
}

// Expect tells of a selection that is on its way to Follow: until done is called, lines of
// before may still come.
func (h *Hub) Expect() (done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unseen++
	return h.saw
}

// saw tells that a selection has looked at its pods.
func (h *Hub) saw() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unseen--
}

// Met says, after Run, that a line matched Until.
func (h *Hub) Met() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.met
}

func (h *Hub) notice(src *store.Source, n source.Notice) {
	if h.opts.Notice == nil {
		return
	}
	tell := func() { h.opts.Notice(Notice{Notice: n, Source: src}) }
	if n.Kind != source.Ended || !h.ends.later(h.store.Stats().Next, tell) {
		tell()
	}
}

func joinFailures(errs []error) error {
	return fmt.Errorf("some logs could not be read: %w", errors.Join(errs...))
}
