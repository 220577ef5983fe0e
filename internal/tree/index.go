package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// An Entry is what lstat said about one path.
type Entry struct {
	Path  string      // slash-separated, relative to the root of the index
	Mode  fs.FileMode // type and permission bits
	Size  int64       // bytes; 0 for what is not a regular file
	MTime int64       // nanoseconds since the epoch
	Inode uint64      // 0 where the system has none
	Link  string      // target text of a symbolic link

	ctime int64 // as MTime, where baseline.go makes use of it; unlooked when nobody has asked yet
}

// Written reports whether MTime is that of a write, as far as is known: the file was not
// given another time, nor another name, since.
func (e Entry) Written() bool {
	const late = int64(2 * time.Second) // a save to another name, and the rename
	since := e.ctime - e.MTime
	return e.ctime > 0 && since >= 0 && since <= late
}

// IsDir reports whether the entry is a directory.
func (e Entry) IsDir() bool { return e.Mode.IsDir() }

// IsRegular reports whether the entry is a regular file.
func (e Entry) IsRegular() bool { return e.Mode.IsRegular() }

// An Index holds entries and digests of the files below one root. It is filled
// by the questions that are asked and is safe for concurrent use.
type Index struct {
	root string

	mu    sync.RWMutex
	dirs  map[string]map[string]record // directory -> name -> record
	late  map[string]settled           // paths that somebody saw change before the watcher did; see settle.go
	since int64                        // when the taking of the baseline began; see baseline.go

	reads   readers // digests that are being computed now; see hash.go
	recents recents // contents that were read a moment ago; see recent.go
	gate    gate    // the os.Root of the root as it is now; see open.go
}

// A record is an Entry without its path: 200,000 of them are held.
type record struct {
	size, mtime int64
	inode       uint64
	more        *more
	mode        fs.FileMode
	settled     bool // the watcher has reported this path
	racy        bool // settled so soon after mtime that a write may hide behind the same one
	unseen      bool // only name and kind are known; see baseline.go
	unsure      bool // seen so late that it may have changed since it was settled; see baseline.go
}

// more is what few entries have.
type more struct {
	link   string
	digest Digest
	hashed bool
	racy   bool // as record.racy, for the reading
}

// Open returns the index of the files below root. It does not walk.
func Open(root string) (*Index, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("opening the index of %s: %w", root, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("opening the index of %s: %w", root, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("opening the index of %s: %w", root, syscall.ENOTDIR)
	}
	return &Index{
		root: abs,
		dirs: map[string]map[string]record{},
		late: map[string]settled{},
	}, nil
}

// Root is the absolute path of the indexed directory.
func (x *Index) Root() string { return x.root }

// Abs is the path of an entry on this machine.
func (x *Index) Abs(p string) string {
	if p == "." || p == "" {
		return x.root
	}
	return x.root + string(filepath.Separator) + filepath.FromSlash(p)
}

// Stat asks the file system about path and remembers the answer. A path that
// does not exist, or that lies behind a symbolic link, is reported with false
// and no error: it is no part of the tree.
func (x *Index) Stat(p string) (Entry, bool, error) {
	p = path.Clean(p)
	e, ok, above, err := x.lstat(p)
	if err != nil {
		return Entry{}, false, err
	}
	x.seen(p, e, ok, above)
	return e, ok, nil
}

// seen remembers what lstatBelow found.
func (x *Index) seen(p string, e Entry, ok bool, above []Entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, dir := range above {
		x.learn(dir)
	}
	if ok {
		x.learn(e)
	} else {
		x.lose(p)
	}
}

// Peek is Stat for a question that the index shall not remember.
func (x *Index) Peek(p string) (Entry, bool, error) {
	e, ok, _, err := x.lstat(path.Clean(p))
	return e, ok, err
}

// Lookup returns what the index holds, without asking the file system.
func (x *Index) Lookup(p string) (Entry, bool) {
	p = path.Clean(p)
	x.mu.RLock()
	defer x.mu.RUnlock()
	r, ok := x.get(p)
	if !ok {
		return Entry{}, false
	}
	return r.entry(p), true
}

// Len is the number of entries that the index holds.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := 0
	for _, names := range x.dirs {
		n += len(names)
	}
	return n
}

func (x *Index) lstat(p string) (e Entry, ok bool, above []Entry, err error) {
	return x.lstatBelow(p, nil)
}

// lstatBelow asks the file system, component by component: lstat of the whole
// path would follow a link that replaced one of the directories above it. It
// also returns those directories above that the index does not hold yet, since
// the loss of a directory is found through the chain of its records. Directories
// in real, unless that is nil, were found just before and are not asked about.
func (x *Index) lstatBelow(p string, real map[string]bool) (e Entry, ok bool, above []Entry, err error) {
	if !inside(p) {
		return e, false, nil, &fs.PathError{Op: "lstat", Path: p, Err: fs.ErrInvalid}
	}
	for i := 0; i < len(p); i++ {
		if p[i] != '/' || real[p[:i]] {
			continue
		}
		info, err := os.Lstat(x.Abs(p[:i]))
		if absent(err) || err == nil && !info.IsDir() {
			return e, false, nil, nil
		}
		if err != nil {
			return e, false, nil, err
		}
		if _, held := x.Lookup(p[:i]); !held {
			above = append(above, entryOf(p[:i], info))
		}
		if real != nil {
			real[p[:i]] = true
		}
	}
	e, ok, err = lstatEntry(x.Abs(p), p)
	return e, ok, above, err
}

// inside is fs.ValidPath without its demand for UTF-8, which file names do not
// obey; p is clean.
func inside(p string) bool {
	return p != "" && p[0] != '/' && p != ".." && !strings.HasPrefix(p, "../")
}

// lstatEntry trusts the directories above abs.
func lstatEntry(abs, p string) (Entry, bool, error) {
	stat := os.Lstat
	if p == "." {
		stat = os.Stat // the root may be reached through a link; nothing below it may
	}
	info, err := stat(abs)
	if absent(err) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, err
	}
	e := entryOf(p, info)
	if e.Mode&fs.ModeSymlink != 0 {
		if e.Link, err = os.Readlink(abs); err != nil {
			if absent(err) || errors.Is(err, syscall.EINVAL) { // gone, or no link any more
				return Entry{}, false, nil
			}
			return Entry{}, false, err
		}
	}
	return e, true, nil
}

func entryOf(p string, info fs.FileInfo) Entry {
	e := Entry{Path: p, Mode: info.Mode(), MTime: info.ModTime().UnixNano(), Inode: inodeOf(info), ctime: ctimeOf(info)}
	if info.Mode().IsRegular() {
		e.Size = info.Size()
	}
	return e
}

// absent reports whether err says that there is nothing at a path.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// get and the functions below it are called with the lock held.
func (x *Index) get(p string) (record, bool) {
	dir, name := split(p)
	r, ok := x.dirs[dir][name]
	return r, ok
}

func (x *Index) put(p string, r record) {
	dir, name := split(p)
	names := x.dirs[dir]
	if names == nil {
		names = map[string]record{}
		x.dirs[dir] = names
	}
	names[name] = r
}

func (x *Index) del(p string) {
	dir, name := split(p)
	names := x.dirs[dir]
	if delete(names, name); len(names) == 0 {
		delete(x.dirs, dir)
	}
}

// learn takes over what somebody else than the watcher saw.
func (x *Index) learn(e Entry) {
	old, ok := x.get(e.Path)
	now := recordOf(e)
	if ok && old.unseen && old.mode.Type() == now.mode.Type() {
		x.put(e.Path, x.firstSight(old, now, e))
		return
	}
	if ok {
		if same(old, now) {
			return
		}
		x.remember(e.Path, old)
		now.settled = old.settled
		if sameFile(old, now) {
			now.more = old.more
		}
		if old.mode.IsDir() && !now.mode.IsDir() {
			x.loseBelow(e.Path)
		}
	}
	x.put(e.Path, now)
}

// lose takes over that somebody else than the watcher found nothing at p.
func (x *Index) lose(p string) {
	old, ok := x.get(p)
	if !ok {
		return
	}
	x.remember(p, old)
	x.del(p)
	if old.mode.IsDir() {
		x.loseBelow(p)
	}
}

func (x *Index) loseBelow(dir string) {
	for name, r := range x.dirs[dir] {
		p := join(dir, name)
		x.remember(p, r)
		if r.mode.IsDir() {
			x.loseBelow(p)
		}
	}
	delete(x.dirs, dir)
}

func recordOf(e Entry) record {
	r := record{size: e.Size, mtime: e.MTime, inode: e.Inode, mode: e.Mode}
	if e.Link != "" {
		r.more = &more{link: e.Link}
	}
	return r
}

func (r record) entry(p string) Entry {
	e := Entry{Path: p, Mode: r.mode, Size: r.size, MTime: r.mtime, Inode: r.inode}
	if r.more != nil {
		e.Link = r.more.link
	}
	return e
}

// same compares what identifies a state. The mtime of a directory does not: it
// moves with every entry in it.
func same(a, b record) bool {
	if a.mode != b.mode || a.inode != b.inode {
		return false
	}
	return a.mode.IsDir() || a.size == b.size && a.mtime == b.mtime && a.entry("").Link == b.entry("").Link
}

// sameFile compares what a digest belongs to: other permission bits are no other
// content.
func sameFile(a, b record) bool {
	if a.mode.Type() != b.mode.Type() {
		return false
	}
	a.mode = b.mode
	return same(a, b)
}

func split(p string) (dir, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	if p == "." {
		return "", "."
	}
	return ".", p
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// racyAt reports whether a write after now could leave mtime as it is: time
// stamps advance with the kernel's tick (up to 10 ms), or in whole seconds on
// some file systems.
func racyAt(mtime int64, now time.Time) bool {
	return now.UnixNano()-mtime < coarseness(mtime)
}

// coarseness is by how much a time stamp may lie before what it stands for.
func coarseness(stamp int64) int64 {
	if stamp%int64(time.Second) == 0 {
		return int64(2 * time.Second)
	}
	return int64(stampsAge)
}

// stampsAge is two of the kernel's ticks, at their longest.
const stampsAge = 20 * time.Millisecond
