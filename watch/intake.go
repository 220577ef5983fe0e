package watch

import (
	"path"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/tree"
)

// A mark says why a path is dirty; several add up.
type mark uint8

const (
	look    mark = 1 << iota // something happened to it
	written                  // its content may have been written: evidence that counts when stat shows no difference
	moved                    // it was created or renamed: of a directory, the watches may hang on another one
	deep                     // look at all that it holds
	glance                   // a second look without an event
)

// An intake collects events until the loop flushes them. The source's reader
// writes to it without ever waiting, so the kernel's queue stays empty; marks of
// the same path become one, so a writer that never stops costs no memory.
type intake struct {
	filter *filter
	index  *tree.Index
	wake   chan struct{} // the first mark since the last take

	mu    sync.Mutex
	dirty map[string]mark
	fresh map[string]bool // of dirty: marked since takeRipe was last asked
	doubt string          // why the whole tree has to be looked at
	first time.Time
	last  time.Time
	once  bool // what has changed lately is to be looked at once more
}

func newIntake(f *filter, x *tree.Index) *intake {
	return &intake{filter: f, index: x, wake: make(chan struct{}, 1), dirty: map[string]mark{}, fresh: map[string]bool{}}
}

// event is called by the source for each event.
func (in *intake) event(p string, m mark) {
	if p != "." && in.ignored(p) && !in.newRepository(p, m) {
		return
	}
	in.mark(p, m)
}

// ignored drops what no rule lets through whatever kind of file it is. Whether
// it is a directory is known only of what was reported before; where that
// decides, the loop will find out.
func (in *intake) ignored(p string) bool {
	if e, ok := in.index.Lookup(p); ok {
		return in.filter.drops(p, e.IsDir())
	}
	return in.filter.drops(p, false) && in.filter.drops(p, true)
}

// newRepository reports whether p is the git directory of a watched one that has
// come or gone: other rules and another index.lock count from now on.
func (in *intake) newRepository(p string, m mark) bool {
	return m&moved != 0 && path.Base(p) == ".git" && in.index.Settled(path.Dir(p))
}

func (in *intake) mark(p string, m mark) {
	now := time.Now()
	in.mu.Lock()
	first := len(in.dirty) == 0 && in.doubt == ""
	if first {
		in.first = now
	}
	in.dirty[p] |= m | look
	in.fresh[p] = true
	in.last = now
	in.mu.Unlock()
	if first {
		in.signal()
	}
}

// uncertain says that events were or may have been lost.
func (in *intake) uncertain(why string) {
	now := time.Now()
	in.mu.Lock()
	if len(in.dirty) == 0 && in.doubt == "" {
		in.first = now
	}
	in.doubt = why
	in.last = now
	in.mu.Unlock()
	in.signal()
}

// again asks for a look at what has changed lately.
func (in *intake) again() {
	in.mu.Lock()
	in.once = true
	in.mu.Unlock()
	in.signal()
}

// askedAgain reports whether again was called since it was last asked.
func (in *intake) askedAgain() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	asked := in.once
	in.once = false
	return asked
}

func (in *intake) signal() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// A load is what the intake holds.
type load struct {
	dirty       map[string]mark
	doubt       string
	first, last time.Time
}

// peek returns what is waiting; of the paths at most few, for questions about
// single files.
func (in *intake) peek() (n int, few []string, l load) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n = len(in.dirty)
	if n <= fewPaths {
		for p := range in.dirty {
			few = append(few, p)
		}
	}
	return n, few, load{doubt: in.doubt, first: in.first, last: in.last}
}

// holds reports whether p waits for the next flush, which looks at it.
func (in *intake) holds(p string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	_, ok := in.dirty[p]
	return ok
}

func (in *intake) take() load {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.takeLocked()
}

// takeBelowRoot is take when only single paths are waiting: false when the root
// itself is to be looked at, or all.
func (in *intake) takeBelowRoot() (load, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, root := in.dirty["."]; root || in.doubt != "" {
		return load{}, false
	}
	return in.takeLocked(), true
}

func (in *intake) takeLocked() load {
	l := load{dirty: in.dirty, doubt: in.doubt, first: in.first, last: in.last}
	in.dirty, in.fresh, in.doubt = map[string]mark{}, map[string]bool{}, ""
	return l
}

// takeRipe takes the files that were not marked since it was last asked, while others
// still are. What is no file that was reported before stays for the flush, which looks at
// all that belongs together, and all does where rules change.
func (in *intake) takeRipe() (load, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	fresh := in.fresh
	in.fresh = map[string]bool{}
	if _, root := in.dirty["."]; root || in.doubt != "" {
		return load{}, false
	}
	ripe := map[string]mark{}
	for p, m := range in.dirty {
		if holdsRules(p) {
			return load{}, false
		}
		if e, ok := in.index.Lookup(p); ok && e.IsRegular() && !fresh[p] && m&deep == 0 && in.index.Settled(p) {
			ripe[p] = m
		}
	}
	for p := range ripe {
		delete(in.dirty, p)
	}
	return load{dirty: ripe, first: in.first, last: in.last}, len(ripe) > 0
}
