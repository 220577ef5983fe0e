package tree

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"
)

// A Glance looks at many paths within moments: a directory above several of them
// is asked about and opened once. If it changes meanwhile, its event is still to
// come. Not safe for concurrent use.
type Glance struct {
	x    *Index
	real map[string]bool // directories that were found
	dir  string          // the one that is open
	root *os.Root
}

// Glance begins one, which its Close ends.
func (x *Index) Glance() *Glance { return &Glance{x: x, real: map[string]bool{}} }

// Close releases the directory that is open.
func (g *Glance) Close() {
	if g.root != nil {
		g.root.Close()
		g.root = nil
	}
}

// Stat is Index.Stat.
func (g *Glance) Stat(p string) (Entry, bool, error) {
	p = path.Clean(p)
	e, ok, above, err := g.x.lstatBelow(p, g.real)
	if err != nil {
		return Entry{}, false, err
	}
	g.x.seen(p, e, ok, above)
	return e, ok, nil
}

// Hash is Index.Hash. The content of a small file is at hand for a while, since
// who looks at many is about to send them: see Index.Recent.
func (g *Glance) Hash(ctx context.Context, p string) (Digest, error) {
	p = path.Clean(p)
	e, ok, err := g.Stat(p)
	if err != nil || !ok {
		return g.x.Hash(ctx, p) // it has the words for what is wrong
	}
	return g.HashOf(ctx, e)
}

// HashOf is Hash of a path that this glance has just asked about, whose answer is e: it
// is not asked about again.
func (g *Glance) HashOf(ctx context.Context, e Entry) (Digest, error) {
	if !e.IsRegular() || e.Size > recentFile {
		return g.x.Hash(ctx, e.Path)
	}
	if d, ok := g.x.Known(e.Path); ok {
		return d, nil
	}
	began := time.Now()
	content, after, ok := g.read(e)
	if !ok {
		return g.x.Hash(ctx, e.Path) // it changes; there it is read until it holds still
	}
	d := Digest(sha256.Sum256(content))
	g.x.keep(after, d, racyAt(after.MTime, began))
	g.x.recents.add(d, content)
	return d, nil
}

// read reads a small file that is still what lstat said and does not change
// meanwhile.
func (g *Glance) read(e Entry) (content []byte, after Entry, ok bool) {
	f, err := g.open(e.Path)
	if err != nil {
		return nil, after, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !same(recordOf(entryOf(e.Path, info)), recordOf(e)) {
		return nil, after, false
	}
	content = make([]byte, e.Size)
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, after, false
	}
	if info, err = f.Stat(); err != nil {
		return nil, after, false
	}
	after = entryOf(e.Path, info)
	return content, after, same(recordOf(after), recordOf(e))
}

// open is Index.Open by way of the directory, which stays open.
func (g *Glance) open(p string) (*os.File, error) {
	dir, name := split(p)
	if g.root == nil || g.dir != dir {
		g.Close()
		top, err := g.x.gate.at(g.x.root)
		if err != nil {
			return nil, err
		}
		if g.root, err = top.OpenRoot(filepath.FromSlash(dir)); err != nil {
			g.root = nil
			return nil, err
		}
		g.dir = dir
	}
	return g.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
