package assemble

import (
	"context"
	"io/fs"
	"path"
	"slices"

	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// A contextFS is the build context as BuildKit is sent it: what the ignore
// rules leave, owned by root. Folders are read when they are asked for.
type contextFS struct {
	ctx    context.Context
	index  *tree.Index
	dir    string // of the context in the index
	ignore *ignore.DockerMatcher
	dirs   map[string][]tree.Entry
}

func newContextFS(ctx context.Context, x *tree.Index, dir string, m *ignore.DockerMatcher) *contextFS {
	return &contextFS{ctx: ctx, index: x, dir: dir, ignore: m, dirs: map[string][]tree.Entry{}}
}

func (c *contextFS) lstat(p string) (*node, error) {
	if p == "." {
		return &node{Mode: fs.ModeDir | 0o755}, nil
	}
	entries, err := c.read(path.Dir(p))
	if err != nil {
		return nil, err
	}
	full := path.Join(c.dir, p)
	for _, e := range entries {
		if e.Path == full {
			return nodeOf(e, p), nil
		}
	}
	return nil, nil
}

func (c *contextFS) readDir(p string) ([]string, error) {
	entries, err := c.read(p)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = path.Base(e.Path)
	}
	slices.Sort(names)
	return names, nil
}

// read returns what a folder holds for the build.
func (c *contextFS) read(dir string) ([]tree.Entry, error) {
	if entries, ok := c.dirs[dir]; ok {
		return entries, nil
	}
	if err := c.ctx.Err(); err != nil {
		return nil, err
	}
	if dir != "." {
		n, err := c.lstat(dir)
		if err != nil {
			return nil, err
		}
		if n == nil || !n.isDir() {
			c.dirs[dir] = nil
			return nil, nil
		}
	}
	all, err := c.index.ReadDir(path.Join(c.dir, dir), everything)
	if err != nil {
		return nil, err
	}
	kept := make([]tree.Entry, 0, len(all))
	for _, e := range all {
		p := path.Join(dir, path.Base(e.Path))
		if !c.ignore.Match(p, e.IsDir()).Ignored {
			kept = append(kept, e)
			continue
		}
		// An ignored folder is there if an exception brings out something below.
		if e.IsDir() && c.ignore.MayReinclude(p) && c.holdsAny(p) {
			kept = append(kept, e)
		}
	}
	c.dirs[dir] = kept
	return kept, nil
}

func (c *contextFS) holdsAny(dir string) bool {
	entries, err := c.index.ReadDir(path.Join(c.dir, dir), everything)
	if err != nil {
		return false
	}
	for _, e := range entries {
		p := path.Join(dir, path.Base(e.Path))
		if !c.ignore.Match(p, e.IsDir()).Ignored {
			return true
		}
		if e.IsDir() && c.ignore.MayReinclude(p) && c.holdsAny(p) {
			return true
		}
	}
	return false
}

func nodeOf(e tree.Entry, p string) *node {
	n := &node{Mode: e.Mode, Link: e.Link}
	if e.IsRegular() {
		n.Size = e.Size
		n.Content = content{Context: p}
	}
	return n
}

func everything(string, bool) bool { return true }
