package agent

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"

	"github.com/kdev-io/kdev/sync/protocol"
)

// dirs are the directories that a batch has open.
type dirs struct {
	mu    sync.Mutex
	roots []rootDir
	open  map[dirKey]*dirHandle
	order []dirKey // of open, oldest first

	arrived func(abs string, d *dirHandle) // told of each directory that is opened
}

type rootDir struct {
	path string
	root *os.Root
}

type dirKey struct {
	root uint64
	dir  string
}

func keyOf(t *protocol.Target) (dirKey, string) {
	return dirKey{t.Root, path.Dir(t.Path)}, path.Base(t.Path)
}

// A dirHandle is an open directory below a root.
type dirHandle struct {
	root *os.Root
	info fs.FileInfo
	self *os.File // the directory itself
	fd   int      // of self
	nfs  bool

	users int // of dirs.dir that did not release it
	left  bool
}

const openDirs = 64 // handles that a batch keeps

// dir opens the directory of a key for somebody who releases it. With make, what
// is missing is made.
func (ds *dirs) dir(key dirKey, make bool) (*dirHandle, error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.open[key]
	if d == nil {
		var err error
		if d, err = ds.newHandle(key, make); err != nil {
			return nil, err
		}
		if len(ds.order) >= openDirs {
			oldest := ds.order[0]
			ds.order = ds.order[1:]
			ds.leave(oldest)
		}
		ds.open[key] = d
		ds.order = append(ds.order, key)
	}
	d.users++
	return d, nil
}

func (ds *dirs) newHandle(key dirKey, make bool) (*dirHandle, error) {
	root, err := ds.rootOf(key.root, make)
	if err != nil {
		return nil, err
	}
	if key.dir != "." && make {
		if err := makeAll(root, key.dir, 0o755); err != nil {
			return nil, err
		}
	}
	sub, err := root.OpenRoot(key.dir)
	if err != nil {
		return nil, err
	}
	self, err := sub.Open(".")
	if err != nil {
		sub.Close()
		return nil, err
	}
	d := &dirHandle{root: sub, self: self, fd: int(self.Fd())}
	if d.info, err = self.Stat(); err != nil {
		d.close()
		return nil, err
	}
	var fs syscall.Statfs_t
	d.nfs = syscall.Fstatfs(d.fd, &fs) == nil && fs.Type == nfsMagic
	ds.arrived(protocol.Join(ds.roots[key.root].path, key.dir), d)
	return d, nil
}

const nfsMagic = 0x6969 // of statfs(2)

func (d *dirHandle) close() {
	d.root.Close()
	d.self.Close()
}

// release gives back what dir returned; nil is nothing.
func (ds *dirs) release(d *dirHandle) {
	if d == nil {
		return
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d.users--; d.users == 0 && d.left {
		d.close()
	}
}

// leave takes a handle out; its last user closes it.
func (ds *dirs) leave(key dirKey) {
	d := ds.open[key]
	delete(ds.open, key)
	if d.left = true; d.users == 0 {
		d.close()
	}
}

// forget leaves the handles of dir and of what is below it: they may be gone.
func (ds *dirs) forget(key dirKey) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	kept := ds.order[:0]
	for _, k := range ds.order {
		if k.root == key.root && (k.dir == key.dir || strings.HasPrefix(k.dir, key.dir+"/")) {
			ds.leave(k)
			continue
		}
		kept = append(kept, k)
	}
	ds.order = kept
}

// close closes what nobody uses any more.
func (ds *dirs) close() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for key := range ds.open {
		ds.leave(key)
	}
	ds.order = nil
	for _, r := range ds.roots {
		if r.root != nil {
			r.root.Close()
		}
	}
}

// root opens a root.
func (ds *dirs) root(i uint64, make bool) (*os.Root, error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.rootOf(i, make)
}

func (ds *dirs) rootOf(i uint64, make bool) (*os.Root, error) {
	r := &ds.roots[i]
	if r.root != nil {
		return r.root, nil
	}
	root, err := os.OpenRoot(r.path)
	if absent(err) && make {
		top, terr := os.OpenRoot("/")
		if terr != nil {
			return nil, terr
		}
		defer top.Close()
		if err = makeAll(top, strings.TrimPrefix(r.path, "/"), 0o755); err != nil {
			return nil, err
		}
		root, err = os.OpenRoot(r.path)
	}
	if err != nil {
		return nil, err
	}
	r.root = root
	return root, nil
}

// makeAll makes dir and those above it; each new one belongs to whom the one
// above it belongs to, where that is permitted.
func makeAll(root *os.Root, dir string, perm uint32) error {
	if info, err := root.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	} else if !absent(err) {
		return err
	}
	above := path.Dir(dir)
	if above != "." {
		if err := makeAll(root, above, 0o755); err != nil {
			return err
		}
	}
	if err := root.Mkdir(dir, modeOf(perm).Perm()|0o700); err != nil {
		if errors.Is(err, fs.ErrExist) { // a file, or somebody was faster
			info, serr := root.Stat(dir)
			if serr == nil && info.IsDir() {
				return nil
			}
		}
		return err
	}
	if info, err := root.Stat(above); err == nil {
		if uid, gid := ownerOf(info); uid != os.Geteuid() || gid != os.Getegid() {
			_ = root.Lchown(dir, uid, gid) // not permitted: the container's user keeps it
		}
	}
	return root.Chmod(dir, modeOf(perm)) // whatever the umask
}
