//go:build !linux

package tree

import (
	"io/fs"
	"os"
	"syscall"
)

// ReadDir lists dir with the stat result of each entry that keep accepts, in no
// order. keep is asked before the stat.
func (x *Index) ReadDir(dir string, keep func(path string, isDir bool) bool) ([]Entry, error) {
	entries, _, err := x.readDir(dir, keep, false)
	return entries, err
}

// readDir also returns what identifies the directory. It looks at everything:
// brief saves nothing that was measured here.
func (x *Index) readDir(dir string, keep func(path string, isDir bool) bool, _ bool) (entries []Entry, id ID, err error) {
	abs := x.Abs(dir)
	self, ok, err := lstatEntry(abs, dir)
	switch {
	case err != nil:
		return nil, id, err
	case !ok:
		return nil, id, &fs.PathError{Op: "readdir", Path: abs, Err: fs.ErrNotExist}
	case !self.IsDir(): // os.ReadDir would follow a link
		return nil, id, &fs.PathError{Op: "readdir", Path: abs, Err: syscall.ENOTDIR}
	}
	id = ID{Inode: self.Inode}
	list, err := os.ReadDir(abs)
	if err != nil {
		return nil, id, err
	}
	entries = make([]Entry, 0, len(list))
	for _, item := range list {
		p := join(dir, item.Name())
		if !keep(p, item.IsDir()) {
			continue
		}
		e, ok, err := lstatEntry(x.Abs(p), p)
		if err != nil {
			return nil, id, err
		}
		if ok {
			entries = append(entries, e)
		}
	}
	return entries, id, nil
}

// statNames has nothing to look at: ListDir leaves nothing out.
func (x *Index) statNames(string, []string) ([]Entry, error) { return nil, nil }

func ctimeOf(fs.FileInfo) int64 { return 0 }
