package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// notify is fsnotify for all directories of a tree: one inotify instance on
// Linux. Its map from path to watch descriptor is right only if the watches
// below a renamed directory are removed before the new path is added; that
// order is arm.go's.
type notify struct {
	root    string
	watcher *fsnotify.Watcher
	sink    sink
	reader  sync.WaitGroup
}

func openNotify(root string, s sink) (source, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return nil, fmt.Errorf("%w: %w", errNoRoom, err)
		}
		return nil, fmt.Errorf("starting fsnotify: %w", err)
	}
	n := &notify{root: root, watcher: watcher, sink: s}
	n.reader.Add(2)
	go n.readEvents()
	go n.readErrors()
	return n, nil
}

func (n *notify) Add(dir string) error {
	err := n.watcher.Add(n.abs(dir))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	return err
}

// Remove ignores the error: the kernel drops the watch of a directory that goes.
//
// It also survives a fault of fsnotify 1.10.1: when a directory takes the name
// of another one between two system calls, Add leaves a path that points to a
// descriptor which is no longer known, and Remove of that path dereferences nil.
// By then it has deleted the path, which is what was wanted, and its lock is
// released by a defer.
func (n *notify) Remove(dir string) {
	defer func() { _ = recover() }()
	_ = n.watcher.Remove(n.abs(dir))
}

func (n *notify) Recursive() bool { return false }

func (n *notify) Close() error {
	err := n.watcher.Close()
	n.reader.Wait()
	return err
}

func (n *notify) abs(dir string) string {
	if dir == "." {
		return n.root
	}
	return filepath.Join(n.root, filepath.FromSlash(dir))
}

func (n *notify) readEvents() {
	defer n.reader.Done()
	for e := range n.watcher.Events {
		p, ok := relative(n.root, e.Name)
		if !ok {
			continue
		}
		var m mark
		if e.Has(fsnotify.Write) {
			m |= written
		}
		if e.Has(fsnotify.Create) || e.Has(fsnotify.Rename) || e.Has(fsnotify.Remove) {
			m |= moved | written
		}
		n.sink.event(p, m)
	}
}

func (n *notify) readErrors() {
	defer n.reader.Done()
	for err := range n.watcher.Errors {
		if why := doubt(err); why != "" {
			n.sink.uncertain(why)
		}
	}
}

// doubt says why an error of fsnotify throws doubt on its events, or "". The
// bare EINVAL does not: it is that of inotify_rm_watch(2) for a directory that
// was moved and removed before the event of its move was read. fsnotify tells
// its path all the same. An error of read(2) comes as a PathError.
func doubt(err error) string {
	switch {
	case errors.Is(err, fsnotify.ErrEventOverflow):
		return "the kernel's event queue overflowed"
	case err == syscall.EINVAL:
		return ""
	}
	return fmt.Sprintf("reading events: %v", err)
}

// relative is p below root with slashes, "." for root itself.
func relative(root, p string) (string, bool) {
	if p == root {
		return ".", true
	}
	rest, ok := strings.CutPrefix(p, root)
	if !ok || rest == "" {
		return "", false
	}
	if root[len(root)-1] != filepath.Separator {
		if rest[0] != filepath.Separator {
			return "", false
		}
		rest = rest[1:]
	}
	return filepath.ToSlash(rest), true
}
