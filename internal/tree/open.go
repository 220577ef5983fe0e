package tree

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// A gate keeps the os.Root of the index's root, so that no path leaves the
// tree whatever links it goes through.
type gate struct {
	mu   sync.Mutex
	root *os.Root
	info fs.FileInfo
}

// Open opens the file at path for reading. Links are followed only while they
// stay inside the root; it does not wait for the writer of a fifo.
func (x *Index) Open(p string) (*os.File, error) {
	root, err := x.gate.at(x.root)
	if err != nil {
		return nil, err
	}
	return root.OpenFile(filepath.FromSlash(p), os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// Close releases the handle that Open keeps. The index can still be used.
func (x *Index) Close() error {
	x.gate.mu.Lock()
	defer x.gate.mu.Unlock()
	if x.gate.root == nil {
		return nil
	}
	err := x.gate.root.Close()
	x.gate.root, x.gate.info = nil, nil
	return err
}

// at returns a root for the directory that has the name now: a handle stays
// with the old one when `rm -rf p && git clone … p` replaces it.
func (g *gate) at(dir string) (*os.Root, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.root != nil && os.SameFile(info, g.info) {
		return g.root, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if info, err = root.Stat("."); err != nil {
		return nil, err
	}
	// The old handle may be in use by a concurrent Open: the collector closes it.
	g.root, g.info = root, info
	return root, nil
}
