package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unicode/utf8"

	"github.com/kdev-io/kdev/internal/tree"
)

// A scanMode says what a scan makes of what it finds.
type scanMode uint8

const (
	asBaseline scanMode = 1 << iota // take it for reported; goes into everything
	inDepth                         // go into every directory, not only into new ones
	inDoubt                         // events may be missing: no difference in stat proves nothing where time stamps are coarse
)

// A scan lists directories and compares them with the index. Each directory is
// first watched and then read, so that what is made in between is seen by one
// of the two; a directory that is found is scanned after all those above it, so
// that the watches, when they run out, are missing at the bottom.
type scan struct {
	w    *Watcher
	mode scanMode
	ctx  context.Context

	mu      sync.Mutex
	changed []tree.Delta
	gone    []string
}

// scan goes through dirs, which must be settled, and puts what it finds into
// the pending batch.
func (w *Watcher) scan(ctx context.Context, mode scanMode, dirs ...string) {
	s := &scan{w: w, mode: mode, ctx: ctx}
	var level []tree.Entry
	for _, d := range dirs {
		if e, ok := w.index.Lookup(d); ok && e.IsDir() && w.index.Settled(d) {
			level = append(level, e)
		}
	}
	for len(level) > 0 {
		level = s.visitAll(level)
	}
	var forget []string
	moment := w.index.Glance()
	defer moment.Close()
	for _, d := range s.changed {
		if d.Existed && d.Was.IsDir() && !d.Now.IsDir() {
			forget = append(forget, w.removedBelow(d.Was, d.Path)...)
		}
		if w.reopened(d) {
			w.intake.mark(d.Path, deep)
		}
		w.report(ctx, moment, d, s.mode&inDoubt != 0)
	}
	for _, p := range s.gone {
		forget = append(forget, w.vanished(p)...)
	}
	if len(forget) > 0 {
		w.filter.git.Refresh(forget...)
	}
}

// visitAll visits directories of one depth, several at a time, and returns
// those of the next.
func (s *scan) visitAll(level []tree.Entry) (next []tree.Entry) {
	var at atomic.Int64
	var workers sync.WaitGroup
	for range min(8, 2*runtime.GOMAXPROCS(0), len(level)) {
		workers.Go(func() {
			var mine []tree.Entry
			for i := at.Add(1) - 1; i < int64(len(level)) && s.ctx.Err() == nil; i = at.Add(1) - 1 {
				mine = append(mine, s.visit(level[i])...)
			}
			s.mu.Lock()
			next = append(next, mine...)
			s.mu.Unlock()
		})
	}
	workers.Wait()
	return next
}

// visit returns the directories to go into next.
func (s *scan) visit(dir tree.Entry) []tree.Entry {
	w := s.w
	nested := false
	keep := func(p string, isDir bool) bool {
		if path.Base(p) == ".git" {
			nested = true
		}
		return !w.filter.drops(p, isDir)
	}
	brief := w.cover(dir) && s.mode&asBaseline != 0 // names are enough where events will tell of changes
	read := w.index.SettleDir
	if brief {
		read = w.index.ListDir
	}
	listing, err := read(dir.Path, keep)
	if err == nil && !w.confirm(dir, listing.ID) && brief {
		listing, err = w.index.SettleDir(dir.Path, keep)
	}
	if err != nil {
		s.failed(dir.Path, err)
		return nil
	}
	if nested {
		w.locks.found(w.index.Abs(dir.Path))
	}
	fresh := map[string]bool{}
	for _, d := range listing.Changed {
		if d.Now.IsDir() && (!d.Existed || !d.Was.IsDir() || d.Was.Inode != d.Now.Inode || d.Seen) {
			fresh[d.Path] = true
			if d.Existed && d.Was.IsDir() {
				w.release(d.Path)
			}
		}
		if d.Same {
			continue
		}
		if s.mode&asBaseline == 0 && holdsRules(d.Path) {
			w.intake.mark(d.Path, written) // the rules were read before it was there
		}
	}
	var next []tree.Entry
	for _, e := range listing.Entries {
		w.oddity(e)
		if e.IsDir() && (s.mode&(asBaseline|inDepth) != 0 || fresh[e.Path]) {
			next = append(next, e)
		}
	}
	s.mu.Lock()
	if s.mode&asBaseline == 0 {
		s.changed = append(s.changed, listing.Changed...)
	}
	s.gone = append(s.gone, listing.Gone...)
	s.mu.Unlock()
	return next
}

func (s *scan) failed(dir string, err error) {
	w := s.w
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		// Removed or replaced before it was read. The watch above has the event;
		// the one that was added may be that of another directory.
		w.intake.mark(dir, moved)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENAMETOOLONG):
		w.unreadable(dir, err)
	default:
		w.covers.uncovered(dir, err.Error())
		w.told.once("read "+dir, "watch-unreadable", fmt.Sprintf("%s could not be read and is tried again: %v", w.display(dir), err))
	}
}

// oddity tells once of what can be watched but hardly used.
func (w *Watcher) oddity(e tree.Entry) {
	switch p := e.Path; {
	case e.Mode&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice) != 0:
		w.told.once("special "+p, "watch-special", fmt.Sprintf("%s is a %s: it has no content to sync", w.display(p), kindName(e.Mode)))
	case !utf8.ValidString(p):
		w.told.once("name "+p, "watch-name", fmt.Sprintf("the name %s is not UTF-8: JSON output shows it with replacement characters", w.display(p)))
	}
}

func kindName(m fs.FileMode) string {
	switch {
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeNamedPipe != 0:
		return "fifo"
	}
	return "device"
}
