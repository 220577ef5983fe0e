package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/internal/tree"
)

// arm opens the source, listens to every directory and takes the tree as it is
// for reported.
func (w *Watcher) arm(ctx context.Context) error {
	root := w.index.Root()
	d, err := w.index.Settle(".")
	switch {
	case err != nil:
		return fmt.Errorf("watching %s: %w", root, err)
	case !d.Exists:
		return fmt.Errorf("watching %s: %w", root, fs.ErrNotExist)
	case !d.Now.IsDir():
		return fmt.Errorf("watching %s: %w", root, syscall.ENOTDIR)
	}
	if err := w.listen(); err != nil {
		return fmt.Errorf("watching %s: %w", root, err)
	}
	if w.source.Recursive() {
		if err := w.source.Add("."); err != nil {
			w.source.Close()
			return fmt.Errorf("watching %s: %w", root, err)
		}
	}
	w.index.Baseline(time.Now())
	w.scan(ctx, asBaseline, ".")
	if err := ctx.Err(); err != nil {
		w.source.Close()
		return err
	}
	return nil
}

// fill looks at the files of which the baseline has only the names, behind the
// back of the loop: a save does not wait for it.
func (w *Watcher) fill(ctx context.Context) {
	for _, dir := range w.index.Dirs(".") {
		if ctx.Err() != nil {
			return
		}
		changed, err := w.index.Fill(dir.Path)
		if err != nil {
			continue // gone, or not to be read: whoever finds that out says so
		}
		for _, p := range changed {
			w.intake.mark(p, look)
		}
	}
}

// listen opens the source, or decides that the whole tree is polled.
func (w *Watcher) listen() error {
	w.source = silent{}
	if w.options.Poll == PollAlways {
		w.pollAll = "asked for"
		return nil
	}
	source, err := w.open(w.intake)
	if errors.Is(err, errNoRoom) && w.options.Poll == PollAuto {
		w.pollAll = "no inotify instance is left"
		w.told.once("instances", "watch-instances", instancesText())
		return nil
	}
	if err != nil {
		return err
	}
	w.source = source
	return nil
}

// cover listens to dir, whose entry was read just before, or says that it has to
// be polled. It reports whether events will come. As confirm, which follows when
// dir has been read, it may be called from several goroutines.
func (w *Watcher) cover(dir tree.Entry) (listens bool) {
	if w.pollAll != "" {
		return false
	}
	return w.source.Recursive() || w.add(dir)
}

// confirm checks that what was read as dir is the directory that was meant, and
// that its file system tells of all changes.
func (w *Watcher) confirm(dir tree.Entry, read tree.ID) (delivers bool) {
	if !w.source.Recursive() && read.Inode != dir.Inode {
		// Another directory had taken the name before the watch was added; it
		// may even be one that is watched under another name.
		w.covers.dropped(dir.Path, dir.Inode)
		w.intake.mark(dir.Path, moved)
		w.holds(dir.Path, read.Inode)
	}
	if w.options.Poll != PollAuto || w.pollAll != "" {
		return true
	}
	kind, delivers := w.covers.device(read.Device, func() (string, bool) { return deliversEvents(w.index.Abs(dir.Path)) })
	if !delivers {
		w.covers.uncovered(dir.Path, kind)
		w.told.once("fs "+kind, "watch-polled", fmt.Sprintf("%s is on %s, which does not report all changes; it is looked at every %d ms", w.display(dir.Path), kind, pollEvery.Milliseconds()))
	}
	return delivers
}

func (w *Watcher) add(dir tree.Entry) (listens bool) {
	if p, ok := w.covers.holder(dir.Inode, dir.Path); ok {
		if e, exists, _ := w.index.Peek(p); exists && e.Inode == dir.Inode {
			// Two names of one directory, which only a bind mount makes (or an
			// equal inode of two file systems, where polling does no harm): its
			// events come under the first name.
			w.covers.uncovered(dir.Path, "mounted twice")
			return false
		}
		w.release(p)
		w.intake.mark(p, moved)
	}
	if w.covers.isFull() {
		w.covers.uncovered(dir.Path, "no watches left")
		return false
	}
	err := w.source.Add(dir.Path)
	switch {
	case err == nil:
		w.holds(dir.Path, dir.Inode)
		return true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		// Gone; the event of its removal is on the way.
	case errors.Is(err, errNoRoom):
		w.covers.uncovered(dir.Path, "no watches left")
		if !w.covers.exhausted() {
			watched, _ := w.covers.counts()
			w.told.once("limit", "watch-limit", limitText(watched))
		}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENAMETOOLONG):
		w.unreadable(dir.Path, err)
	default:
		w.covers.uncovered(dir.Path, err.Error())
		w.told.once("add "+dir.Path, "watch-polled", fmt.Sprintf("%s cannot be watched (%v); it is looked at every %d ms", w.display(dir.Path), err, pollEvery.Milliseconds()))
	}
	return false
}

// holds notes that dir's watch is that of a directory. When another path has
// the same one, both are armed anew.
func (w *Watcher) holds(dir string, inode uint64) {
	other, aliased := w.covers.covered(dir, inode)
	if !aliased {
		return
	}
	for _, p := range []string{other, dir} {
		w.source.Remove(p)
		w.intake.mark(p, moved)
	}
}

// release ends the watches of dir and of all directories below it. The index
// keeps its entries: a scan will say what differs.
func (w *Watcher) release(dir string) {
	for _, e := range w.index.Dirs(dir) {
		w.uncover(e)
	}
	w.source.Remove(dir)
}

func (w *Watcher) uncover(dir tree.Entry) {
	if !w.source.Recursive() {
		w.source.Remove(dir.Path)
	}
	w.covers.dropped(dir.Path, dir.Inode)
}

func (w *Watcher) unreadable(p string, err error) {
	if errors.Is(err, fs.ErrPermission) {
		w.refused.add(p)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	w.told.once("read "+p, "watch-unreadable", fmt.Sprintf("%s is left out: %v", w.display(p), err))
}

// display shows a path that may hold anything.
func (w *Watcher) display(p string) string {
	if p == "." {
		return w.index.Root()
	}
	return fmt.Sprintf("%q", p)
}
