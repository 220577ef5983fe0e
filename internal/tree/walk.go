package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Walk calls fn for dir's entries and all below them, each stat'ed now:
// siblings by name, a directory before what it holds, as filepath.WalkDir goes.
// dir itself is not reported.
//
// skip says whether a path is left out, and of a directory whether something
// below it may be wanted all the same. Such a directory is reported only when
// something below it is, just before it: that is what a Docker build context
// holds. fn may return fs.SkipDir for a directory and fs.SkipAll.
// A directory that vanishes meanwhile is passed over.
func Walk(ctx context.Context, x *Index, dir string, skip func(path string, isDir bool) (skip, mayContain bool), fn func(Entry) error) error {
	return WalkOpen(ctx, x, dir, skip, fn, func(_ Entry, err error) error { return err })
}

// WalkOpen is Walk that goes on beside a directory that may not be read: it calls closed
// for it, after fn, and ends with the error of that.
func WalkOpen(ctx context.Context, x *Index, dir string, skip func(path string, isDir bool) (skip, mayContain bool), fn func(Entry) error, closed func(Entry, error) error) error {
	w := walk{ctx: ctx, x: x, skip: skip, fn: fn, closed: closed}
	if w.skip == nil {
		w.skip = func(string, bool) (bool, bool) { return false, false }
	}
	err := w.dir(path.Clean(dir), nil)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

type walk struct {
	ctx  context.Context
	x    *Index
	skip func(string, bool) (bool, bool)
	fn   func(Entry) error

	closed func(Entry, error) error
}

// held is the chain of left-out directories above, which the first wanted entry
// below them brings out.
type held struct {
	above *held
	entry Entry
	out   bool
}

func (w *walk) dir(dir string, above *held) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	hidden := map[string]bool{}
	entries, err := w.x.ReadDir(dir, func(p string, isDir bool) bool {
		skip, mayContain := w.skip(p, isDir)
		if skip && isDir && mayContain {
			hidden[p] = true
			return true
		}
		return !skip
	})
	if absent(err) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		err = &closedError{dir, err}
	}
	if err != nil {
		return fmt.Errorf("walking %s: %w", w.x.Root(), err)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	w.x.mu.Lock()
	for _, e := range entries {
		w.x.learn(e)
	}
	w.x.mu.Unlock()
	for _, e := range entries {
		if hidden[e.Path] {
			if err := w.dir(e.Path, &held{above: above, entry: e}); err != nil {
				return err
			}
			continue
		}
		if err := above.release(w.fn); err != nil {
			if errors.Is(err, fs.SkipDir) {
				return nil
			}
			return err
		}
		if err := w.fn(e); err != nil {
			if errors.Is(err, fs.SkipDir) && e.IsDir() {
				continue
			}
			return err
		}
		if e.IsDir() {
			err := w.dir(e.Path, nil)
			if p := (*closedError)(nil); errors.As(err, &p) && p.dir == e.Path {
				err = w.closed(e, err)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// A closedError is of a directory that may not be read.
type closedError struct {
	dir string
	error
}

func (e *closedError) Unwrap() error { return e.error }

func (h *held) release(fn func(Entry) error) error {
	if h == nil || h.out {
		return nil
	}
	if err := h.above.release(fn); err != nil {
		return err
	}
	h.out = true
	return fn(h.entry)
}
