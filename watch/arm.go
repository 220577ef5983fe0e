package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

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
	w.scan(ctx, asBaseline, ".")
	if err := ctx.Err(); err != nil {
		w.source.Close()
		return err
	}
	return nil
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
// be polled. It may be called from several goroutines.
func (w *Watcher) cover(dir tree.Entry) {
	if !w.source.Recursive() {
		w.add(dir)
	}
	if w.options.Poll != PollAuto || w.pollAll != "" {
		return
	}
	if kind, delivers := deliversEvents(w.index.Abs(dir.Path)); !delivers {
		w.covers.uncovered(dir.Path, kind)
		w.told.once("fs "+kind, "watch-polled", fmt.Sprintf("%s is on %s, which does not report all changes; it is looked at every %d ms", w.display(dir.Path), kind, pollEvery.Milliseconds()))
	}
}

func (w *Watcher) add(dir tree.Entry) {
	if p, ok := w.covers.holder(dir.Inode, dir.Path); ok {
		if e, exists, _ := w.index.Peek(p); exists && e.Inode == dir.Inode {
			// Two names of one directory, which only a bind mount makes (or an
			// equal inode of two file systems, where polling does no harm): its
			// events come under the first name.
			w.covers.uncovered(dir.Path, "mounted twice")
			return
		}
		w.release(p)
		w.intake.mark(p, moved)
	}
	if w.covers.isFull() {
		w.covers.uncovered(dir.Path, "no watches left")
		return
	}
	err := w.source.Add(dir.Path)
	switch {
	case err == nil:
		// Another directory may have taken the name before the watch was added;
		// it may even be one that is watched under another name.
		inode := dir.Inode
		if e, exists, err := w.index.Peek(dir.Path); err == nil && (!exists || e.Inode != dir.Inode) {
			w.intake.mark(dir.Path, moved)
			if exists {
				inode = e.Inode
			}
		}
		if other, aliased := w.covers.covered(dir.Path, inode); aliased {
			for _, p := range []string{other, dir.Path} {
				w.source.Remove(p)
				w.intake.mark(p, moved)
			}
		}
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
