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
	"sync"
	"syscall"

	"github.com/kdev-io/kdev/sync/protocol"
)

// A batch is carried out in two steps: while it arrives files are written beside
// their places under temporary names, and at its end they are all renamed into
// place, so that a reader never meets half a file and only for an instant half a
// batch.
//
// Small files are written by a crew while the next ones arrive, and all are renamed
// by it: what many files cost is mostly the kernel's way through each of them.
// Whatever may depend on what came before it waits for the crew.
type batch struct {
	store *store
	gen   uint64
	tmp   string // prefix of temporary names

	number  int // operations so far
	chmods  []*protocol.Chmod
	removes []*protocol.Remove
	into    *incoming   // big file that is arriving
	group   []*incoming // small files that the crew has not got yet
	grouped int         // bytes of them
	crew    crew
	uid     int // ours
	gid     int

	dirs     dirs
	replaced replaced

	mu       sync.Mutex // of what follows
	staged   []staged
	owner    uint64
	inPlace  []string
	failures []failure
	full     bool // a write failed for lack of space
}

// A failure is numbered by its operation, since a crew keeps no order.
type failure struct {
	number int
	protocol.Result
}

// A staged file or link waits under a temporary name.
type staged struct {
	number   int
	key      dirKey
	name     string
	temp     string
	expected protocol.File // what it becomes
}

func newBatch(s *store, m *protocol.Begin) (*batch, error) {
	b := &batch{store: s, gen: m.Generation, uid: os.Geteuid(), gid: os.Getegid(), dirs: dirs{open: map[dirKey]*dirHandle{}}}
	place := hex.EncodeToString(m.Place[:])
	b.dirs.arrived = func(abs string, d *dirHandle) { s.tidy(abs, place, d) }
	for _, r := range m.Roots {
		if !protocol.ValidRoot(r) {
			return nil, errors.New("a root that is no path")
		}
		b.dirs.roots = append(b.dirs.roots, rootDir{path: r})
	}
	var id [batchLength / 2]byte
	rand.Read(id[:])
	b.tmp = tempPrefix + place + "-" + hex.EncodeToString(id[:]) + "-"
	return b, nil
}

// close gives up what was not put in place.
func (b *batch) close() {
	b.crew.end()
	if b.into != nil {
		b.into.drop()
		b.dirs.release(b.into.dir)
	}
	b.giveUp()
	b.dirs.close()
}

// giveUp removes what is staged.
func (b *batch) giveUp() {
	for _, s := range b.staged {
		if d, err := b.dirs.dir(s.key, false); err == nil {
			d.root.Remove(s.temp)
			b.dirs.release(d)
		}
	}
	b.staged = nil
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
	if t.Root >= uint64(len(b.dirs.roots)) {
		return errors.New("a root that the batch does not have")
	}
	if !protocol.ValidRelative(t.Path) {
		err = errBadPath
	}
	if put, ok := m.(*protocol.Put); ok {
		b.put(put, err)
		return nil
	}
	if err == nil {
		err = b.change(m)
	}
	b.note(b.number, t, err)
	return nil
}

// change carries out what is no content, or keeps it for the end.
func (b *batch) change(m protocol.Message) error {
	switch m := m.(type) {
	case *protocol.Remove:
		if m.Now {
			b.wait()
			return b.remove(m)
		}
		b.removes = append(b.removes, m)
	case *protocol.Mkdir:
		b.wait()
		return b.mkdir(m)
	case *protocol.Link:
		b.wait()
		return b.link(m)
	case *protocol.Chmod:
		b.chmods = append(b.chmods, m)
	}
	return nil
}

// note records a failure.
func (b *batch) note(number int, t *protocol.Target, err error) {
	if err == nil {
		return
	}
	r := protocol.Result{Path: b.abs(t), Code: codeOf(err), Text: textOf(err)}
	var mm *mismatch
	if errors.As(err, &mm) {
		r.Actual = mm.actual
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = b.full || r.Code == protocol.Full
	b.failures = append(b.failures, failure{number, r})
}

func (b *batch) abs(t *protocol.Target) string {
	return protocol.Join(b.dirs.roots[t.Root].path, t.Path)
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return os.Geteuid(), os.Getegid()
}

// expect compares what a path holds with what kdev thinks that it does.
func (b *batch) expect(d *dirHandle, name string, t *protocol.Target) (info fs.FileInfo, err error) {
	info, err = d.lstat(name)
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
	root, err := b.dirs.root(m.Root, true)
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
	if before != nil && m.SetPerm && permOf(before) != m.Perm {
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
	d, err := b.dirs.dir(key, true)
	if err != nil {
		return err
	}
	defer b.dirs.release(d)
	info, err := b.expect(d, name, &m.Target)
	if err != nil {
		return err
	}
	temp := b.temp(b.number)
	if err := d.root.Symlink(m.To, temp); err != nil {
		return err
	}
	b.stage(staged{b.number, key, name, temp, protocol.File{Type: protocol.Symlink, Link: m.To}})
	uid, gid := ownerOf(first(info, d.info))
	if uid != b.uid || gid != b.gid {
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

func (b *batch) temp(number int) string { return b.tmp + itoa(number) }

func (b *batch) stage(s staged) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.staged = append(b.staged, s)
}

func (b *batch) remove(m *protocol.Remove) error {
	key, name := keyOf(&m.Target)
	d, err := b.dirs.dir(key, false)
	if err == nil {
		defer b.dirs.release(d)
		var info fs.FileInfo
		info, err = d.lstat(name)
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
	b.dirs.forget(dirKey{key.root, path.Join(key.dir, name)})
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
	d, err := b.dirs.dir(key, false)
	if err != nil {
		return err
	}
	defer b.dirs.release(d)
	info, err := b.expect(d, name, &m.Target)
	if err != nil {
		return err
	}
	if info == nil {
		return &mismatch{}
	}
	// A user who does not own the file may not even set the bits that it has.
	if permOf(info) != m.Perm {
		if err := d.root.Chmod(name, modeOf(m.Perm)); err != nil {
			return err
		}
	}
	abs := b.abs(&m.Target)
	f := m.Old
	if info, err = d.lstat(name); err != nil {
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
