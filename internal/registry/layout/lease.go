package layout

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A Lease keeps blobs from being collected while nothing in the index refers to
// them yet: those of a build that runs, of a push that is under way, or of
// images that a session has deployed. The kernel drops the lock on its file,
// however the process ends; from then on it counts until its grace is over. It is
// safe for concurrent use.
type Lease struct {
	store *Store

	mu    sync.Mutex
	file  *os.File // nil while nothing is held
	held  map[Digest]time.Time
	users int
}

// NewLease makes an empty lease; it needs no end, but Close gives its file back.
func (s *Store) NewLease() *Lease { return &Lease{store: s, held: map[Digest]time.Time{}} }

// Begin says that somebody needs what is held from now on; the last End lets
// go of everything. So one lease serves several builds at once.
func (l *Lease) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users++
}

// End is the counterpart of Begin.
func (l *Lease) End() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users > 0 {
		return nil
	}
	l.users = 0
	return l.release()
}

// Hold adds blobs. It returns after every collector that could have missed
// them has finished, so a blob that is there after Hold stays there.
func (l *Lease) Hold(digests ...Digest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := false
	for _, d := range digests {
		if _, ok := l.held[d]; !ok {
			fresh = true
		}
		l.held[d] = l.store.now()
	}
	if !fresh {
		return nil
	}
	return l.write()
}

// Drop lets go of blobs that the index refers to by now, and of all that was
// held for longer than an hour: their client has gone away.
func (l *Lease) Drop(digests ...Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range digests {
		delete(l.held, d)
	}
	for d, since := range l.held {
		if l.store.now().Sub(since) > time.Hour {
			delete(l.held, d)
		}
	}
	// What the file says too much does no harm; an empty one goes.
	if len(l.held) == 0 {
		_ = l.release()
	}
}

// Set holds exactly these blobs.
func (l *Lease) Set(digests ...Digest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.held)
	for _, d := range digests {
		l.held[d] = l.store.now()
	}
	if len(digests) == 0 {
		return l.release()
	}
	return l.write()
}

// Close lets go of everything.
func (l *Lease) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.release()
}

func (l *Lease) release() error {
	clear(l.held)
	if l.file == nil {
		return nil
	}
	err := os.Remove(l.file.Name())
	if cerr := l.file.Close(); err == nil {
		err = cerr
	}
	l.file = nil
	if os.IsNotExist(err) {
		return nil // the store's folder was removed
	}
	return err
}

// write puts what is held into the file, while no collector looks.
func (l *Lease) write() error {
	shared, err := l.store.lock("lock", false, true)
	if err != nil {
		return err
	}
	defer shared.Close()
	if l.file != nil {
		// A collector may have taken the file for abandoned where locks do not
		// reach across: an engine in a virtual machine.
		if _, err := os.Stat(l.file.Name()); err != nil {
			l.file.Close()
			l.file = nil
		}
	}
	if l.file == nil {
		dir := filepath.Join(l.store.dir, "leases")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(dir, rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if err := flock(f, true, true); err != nil {
			f.Close()
			return err
		}
		l.file = f
	}
	var b bytes.Buffer
	for d := range l.held {
		b.WriteString(string(d) + "\n")
	}
	if _, err := l.file.WriteAt(b.Bytes(), 0); err != nil {
		return err
	}
	return l.file.Truncate(int64(b.Len()))
}

// grace is how long a lease without a lock still counts, by the store's clock:
// where locks do not reach from the engine's machine to this one, its file's
// time is the only sign of life.
const grace = 10 * time.Minute

// leased reads all leases and removes those of processes that are gone. The
// caller has the store's lock for itself.
func (s *Store) leased() (map[Digest]bool, error) {
	held := map[Digest]bool{}
	dir := filepath.Join(s.dir, "leases")
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return held, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = s.readLease(f, held)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return held, nil
}

func (s *Store) readLease(f *os.File, held map[Digest]bool) error {
	if flock(f, true, false) == nil {
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		if s.now().Sub(fi.ModTime()) > grace {
			return os.Remove(f.Name())
		}
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if d, err := ParseDigest(strings.TrimSpace(lines.Text())); err == nil {
			held[d] = true
		}
	}
	return lines.Err()
}
