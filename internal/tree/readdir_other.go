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
	abs := x.Abs(dir)
	if e, ok, err := lstatEntry(abs, dir); err != nil {
		return nil, err
	} else if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: abs, Err: fs.ErrNotExist}
	} else if !e.IsDir() { // os.ReadDir would follow a link
		return nil, &fs.PathError{Op: "readdir", Path: abs, Err: syscall.ENOTDIR}
	}
	list, err := os.ReadDir(abs)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(list))
	for _, item := range list {
		p := join(dir, item.Name())
		if !keep(p, item.IsDir()) {
			continue
		}
		e, ok, err := lstatEntry(x.Abs(p), p)
		if err != nil {
			return nil, err
		}
		if ok {
			entries = append(entries, e)
		}
	}
	return entries, nil
}
