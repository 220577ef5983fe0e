package agent

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/sync/protocol"
)

// A batch is carried out in two steps: while it arrives files are written beside
// their places under temporary names, and at its end they are all renamed into
// place, so that a reader never meets half a file and only for an instant half a
// batch.
type batch struct {
	store *store
	gen   uint64
	roots []rootDir
	dirs  map[dirKey]*dirHandle
	order []dirKey // of dirs, oldest first
	tmp   string   // prefix of temporary names

	number  int // operations so far
	staged  []staged
	chmods  []*protocol.Chmod
	removes []*protocol.Remove
	into    *incoming // file that is arriving

	done    uint64
	owner   uint64
	inPlace []string
	results []protocol.Result
	full    bool // a write failed for lack of space

	replaced replaced
}

type rootDir struct {
	path string
	root *os.Root
}

type dirKey struct {
	root uint64
	dir  string
}

// A dirHandle is an open directory below a root.
type dirHandle struct {
	root *os.Root
	info fs.FileInfo
	self *os.File // the directory itself, when it was asked for
}

func (d *dirHandle) close() {
	d.root.Close()
	if d.self != nil {
		d.self.Close()
	}
}

// A staged file or link waits under a temporary name.
type staged struct {
	key      dirKey
	name     string
	temp     string
	expected protocol.File // what it becomes
}

const (
	tempPrefix = ".kdev-"
	openDirs   = 64 // handles that a batch keeps
)

func newBatch(s *store, m *protocol.Begin) (*batch, error) {
	b := &batch{store: s, gen: m.Generation, dirs: map[dirKey]*dirHandle{}}
	for _, r := range m.Roots {
		if !protocol.ValidRoot(r) {
			return nil, errors.New("a root that is no path")
		}
		b.roots = append(b.roots, rootDir{path: r})
	}
	var id [6]byte
	rand.Read(id[:])
	b.tmp = tempPrefix + hex.EncodeToString(id[:]) + "-"
	return b, nil
}

// close gives up what was not put in place.
func (b *batch) close() {
	if b.into != nil {
		b.into.drop()
	}
	for _, s := range b.staged {
		if d, err := b.dir(s.key, false); err == nil {
			d.root.Remove(s.temp)
		}
	}
	b.staged = nil
	for _, d := range b.dirs {
		d.close()
	}
	for _, r := range b.roots {
		if r.root != nil {
			r.root.Close()
		}
	}
}

// operation takes one message between Begin and End. An error of it ends the
// connection; what merely cannot be done becomes a Result.
func (b *batch) operation(m protocol.Message) error {
	if b.into != nil {
		end, ok := m.(*protocol.PutEnd)
		if !ok {
			return errors.New("a message inside a file's content")
		}
		return b.putEnd(end)
	}
	var t *protocol.Target
	switch m := m.(type) {
	case *protocol.Put:
		t = &m.Target
	case *protocol.Remove:
		t = &m.Target
	case *protocol.Mkdir:
		t = &m.Target
	case *protocol.Link:
		t = &m.Target
	case *protocol.Chmod:
		t = &m.Target
	default:
		return errors.New("no operation of a batch")
	}
	b.number++
	var err error
	if t.Root >= uint64(len(b.roots)) {
		return errors.New("a root that the batch does not have")
	}
	valid := protocol.ValidRelative(t.Path)
	switch m := m.(type) {
	case *protocol.Put:
		return b.put(m, valid)
	case *protocol.Remove:
		if valid && m.Now {
			err = b.remove(m)
		} else if valid {
			b.removes = append(b.removes, m)
		}
	case *protocol.Mkdir:
		if valid {
			err = b.mkdir(m)
		}
	case *protocol.Link:
		if valid {
			err = b.link(m)
		}
	case *protocol.Chmod:
		if valid {
			b.chmods = append(b.chmods, m)
		}
	}
	if !valid {
		err = errBadPath
	}
	b.note(t, err)
	return nil
}

// note records a failure.
func (b *batch) note(t *protocol.Target, err error) {
	if err == nil {
		return
	}
	r := protocol.Result{Path: b.abs(t), Code: codeOf(err), Text: textOf(err)}
	var mm *mismatch
	if errors.As(err, &mm) {
		r.Actual = mm.actual
	}
	b.full = b.full || r.Code == protocol.Full
	b.results = append(b.results, r)
}

func (b *batch) abs(t *protocol.Target) string { return protocol.Join(b.roots[t.Root].path, t.Path) }

func keyOf(t *protocol.Target) (dirKey, string) {
	return dirKey{t.Root, path.Dir(t.Path)}, path.Base(t.Path)
}

// dir opens the directory of a key. With make, what is missing is made.
func (b *batch) dir(key dirKey, make bool) (*dirHandle, error) {
	if d := b.dirs[key]; d != nil {
		return d, nil
	}
	root, err := b.root(key.root, make)
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
	info, err := sub.Stat(".")
	if err != nil {
		sub.Close()
		return nil, err
	}
	if len(b.order) >= openDirs {
		oldest := b.order[0]
		b.order = b.order[1:]
		b.dirs[oldest].close()
		delete(b.dirs, oldest)
	}
	d := &dirHandle{root: sub, info: info}
	b.dirs[key] = d
	b.order = append(b.order, key)
	return d, nil
}

// forget closes the handles of dir and of what is below it: they may be gone.
func (b *batch) forget(key dirKey) {
	kept := b.order[:0]
	for _, k := range b.order {
		if k.root == key.root && (k.dir == key.dir || strings.HasPrefix(k.dir, key.dir+"/")) {
			b.dirs[k].close()
			delete(b.dirs, k)
			continue
		}
		kept = append(kept, k)
	}
	b.order = kept
}

func (b *batch) root(i uint64, make bool) (*os.Root, error) {
	r := &b.roots[i]
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

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return os.Geteuid(), os.Getegid()
}

// expect compares what a path holds with what kdev thinks that it does.
func (b *batch) expect(d *dirHandle, name string, t *protocol.Target) (info fs.FileInfo, err error) {
	info, err = d.root.Lstat(name)
	if err != nil {
		if !absent(err) {
			return nil, err
		}
		info = nil
	}
	if t.Old.Type == protocol.Unknown {
		return info, nil
	}
	actual, err := b.holds(d, name, b.abs(t), info)
	if err != nil {
		return info, err
	}
	if !sameContent(actual, t.Old) {
		return info, &mismatch{actual}
	}
	return info, nil
}

func (b *batch) holds(d *dirHandle, name, abs string, info fs.FileInfo) (protocol.File, error) {
	if info == nil {
		return protocol.File{}, nil
	}
	return b.store.describe(abs, info,
		func() (io.ReadCloser, error) { return d.root.Open(name) },
		func() (string, error) { return d.root.Readlink(name) })
}

// sameContent leaves permission bits aside.
func sameContent(a, b protocol.File) bool {
	return a.Type == b.Type && a.Digest == b.Digest && a.Link == b.Link
}

func (b *batch) mkdir(m *protocol.Mkdir) error {
	root, err := b.root(m.Root, true)
	if err != nil {
		return err
	}
	before, err := root.Lstat(m.Path)
	if err != nil && !absent(err) {
		return err
	}
	if before != nil && before.Mode()&fs.ModeSymlink != 0 {
		// A link to a directory does as well, if it stays inside.
		if info, err := root.Stat(m.Path); err == nil && info.IsDir() {
			return b.ackNow(root, m.Path, b.abs(&m.Target))
		}
	}
	if err := makeAll(root, m.Path, m.Perm); err != nil {
		return err
	}
	if before != nil && m.SetPerm {
		if err := root.Chmod(m.Path, modeOf(m.Perm)); err != nil {
			return err
		}
	}
	return b.ackNow(root, m.Path, b.abs(&m.Target))
}

// ackNow records a directory as it is.
func (b *batch) ackNow(root *os.Root, rel, abs string) error {
	info, err := root.Stat(rel)
	if err != nil {
		return err
	}
	b.store.put(abs, protocol.File{Type: protocol.Directory, Perm: permOf(info)}, stampOf(info))
	return nil
}

func (b *batch) link(m *protocol.Link) error {
	if m.To == "" || strings.IndexByte(m.To, 0) >= 0 || len(m.To) > 4095 {
		return errBadPath
	}
	key, name := keyOf(&m.Target)
	d, err := b.dir(key, true)
	if err != nil {
		return err
	}
	info, err := b.expect(d, name, &m.Target)
	if err != nil {
		return err
	}
	temp := b.temp()
	if err := d.root.Symlink(m.To, temp); err != nil {
		return err
	}
	b.staged = append(b.staged, staged{key, name, temp, protocol.File{Type: protocol.Symlink, Link: m.To}})
	uid, gid := ownerOf(first(info, d.info))
	if uid != os.Geteuid() || gid != os.Getegid() {
		_ = d.root.Lchown(temp, uid, gid)
	}
	return nil
}

func first(a, b fs.FileInfo) fs.FileInfo {
	if a != nil {
		return a
	}
	return b
}

func (b *batch) temp() string { return b.tmp + itoa(b.number) }

func (b *batch) remove(m *protocol.Remove) error {
	key, name := keyOf(&m.Target)
	d, err := b.dir(key, false)
	if err == nil {
		var info fs.FileInfo
		info, err = d.root.Lstat(name)
		if err == nil && info.IsDir() {
			return b.removeDir(m, d, key, name)
		}
		if err == nil {
			if _, err = b.expect(d, name, &m.Target); err == nil {
				b.replaced.hold(d, name)
				err = d.root.Remove(name)
			}
		}
	}
	if err != nil && !absent(err) {
		return err
	}
	b.store.put(b.abs(&m.Target), protocol.File{}, stamp{})
	return nil
}

// removeDir leaves a directory that holds what kdev did not put there.
func (b *batch) removeDir(m *protocol.Remove, d *dirHandle, key dirKey, name string) error {
	if m.Old.Type == protocol.Regular || m.Old.Type == protocol.Symlink {
		return &mismatch{protocol.File{Type: protocol.Directory}}
	}
	b.forget(dirKey{key.root, path.Join(key.dir, name)})
	err := d.root.Remove(name)
	if errors.Is(err, syscall.ENOTEMPTY) && !m.Now {
		err = nil
	}
	if err != nil && !absent(err) {
		return err
	}
	b.store.put(b.abs(&m.Target), protocol.File{}, stamp{})
	return nil
}

func (b *batch) chmod(m *protocol.Chmod) error {
	key, name := keyOf(&m.Target)
	d, err := b.dir(key, false)
	if err != nil {
		return err
	}
	info, err := b.expect(d, name, &m.Target)
	if err != nil {
		return err
	}
	if info == nil {
		return &mismatch{}
	}
	if err := d.root.Chmod(name, modeOf(m.Perm)); err != nil {
		return err
	}
	abs := b.abs(&m.Target)
	f := m.Old
	if info, err = d.root.Lstat(name); err != nil {
		return err
	}
	if f.Type == protocol.Unknown {
		if f, err = b.holds(d, name, abs, info); err != nil {
			return err
		}
	}
	f.Perm = m.Perm
	b.store.put(abs, f, stampOf(info))
	return nil
}

// end puts everything in place and returns the answer.
func (b *batch) end() *protocol.Ack {
	if b.full {
		// The rest would fit now and then and tear the batch apart: nothing changes.
		for _, s := range b.staged {
			if d, err := b.dir(s.key, false); err == nil {
				d.root.Remove(s.temp)
			}
			b.results = append(b.results, protocol.Result{Path: protocol.Join(b.roots[s.key.root].path, path.Join(s.key.dir, s.name)), Code: protocol.Full, Text: "left out: another file of the batch did not fit"})
		}
		b.staged = nil
	}
	for _, s := range b.staged {
		t := protocol.Target{Root: s.key.root, Path: path.Join(s.key.dir, s.name)}
		b.note(&t, b.commit(s, b.abs(&t)))
	}
	b.staged = nil
	if !b.full {
		for _, m := range b.chmods {
			b.note(&m.Target, b.chmod(m))
		}
		for _, m := range b.removes {
			b.note(&m.Target, b.remove(m))
		}
	}
	b.done = uint64(b.number) - min(uint64(len(b.results)), uint64(b.number))
	return &protocol.Ack{Generation: b.gen, Done: b.done, Owner: b.owner, InPlace: b.inPlace, Results: b.results}
}

func (b *batch) commit(s staged, abs string) error {
	d, err := b.dir(s.key, false)
	if err != nil {
		return err
	}
	b.replaced.hold(d, s.name)
	err = d.root.Rename(s.temp, s.name)
	if errors.Is(err, syscall.EBUSY) && s.expected.Type == protocol.Regular {
		// The file itself is a mount point: it can only be written to.
		if err = overwrite(d.root, s.temp, s.name); err == nil {
			b.inPlace = append(b.inPlace, abs)
		}
	}
	if err != nil {
		d.root.Remove(s.temp)
		return err
	}
	info, err := d.root.Lstat(s.name)
	if err != nil {
		return err
	}
	if s.expected.Type == protocol.Regular {
		s.expected.Size = info.Size()
	}
	b.store.put(abs, s.expected, stampOf(info))
	return nil
}

func overwrite(root *os.Root, from, to string) error {
	src, err := root.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := root.OpenFile(to, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 64<<10))
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return root.Remove(from)
}

func unixTime(ns int64) time.Time { return time.Unix(ns/1e9, ns%1e9) }

func itoa(n int) string {
	var buf [20]byte
	i := len(buf)
	for {
		i--
		buf[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(buf[i:])
		}
	}
}
