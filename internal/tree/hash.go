package tree

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
	"time"
)

// A Digest is the SHA-256 of a file's content.
type Digest [sha256.Size]byte

// String is the digest in hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ErrNotFile is the cause when a digest is asked of what has no content: a
// directory, a socket, a fifo, a device.
var ErrNotFile = errors.New("not a regular file or symbolic link")

// readers lets two callers that want the same digest share one reading.
type readers struct {
	mu      sync.Mutex
	reading map[string]*reading
}

type reading struct {
	done   chan struct{}
	digest Digest
	err    error
}

// Hash returns the digest of the content at path; of a symbolic link, that of
// its target text. It is remembered while size, mtime and inode stay the same.
//
// A digest counts only if these were equal before and after reading. A file
// that changes while it is read is read again, twice; after that the digest of
// what was read last is returned and not remembered, so that the next question
// reads again.
func (x *Index) Hash(ctx context.Context, p string) (Digest, error) {
	p = path.Clean(p)
	for {
		e, ok, err := x.Stat(p)
		if err != nil {
			return Digest{}, fmt.Errorf("hashing %s: %w", p, err)
		}
		if !ok {
			return Digest{}, fmt.Errorf("hashing %s: %w", p, fs.ErrNotExist)
		}
		if e.Mode&fs.ModeSymlink != 0 {
			return sha256.Sum256([]byte(e.Link)), nil
		}
		if !e.IsRegular() {
			return Digest{}, fmt.Errorf("hashing %s: %w", p, ErrNotFile)
		}
		if d, ok := x.Known(p); ok {
			return d, nil
		}
		r, mine := x.reads.join(p)
		if mine {
			r.digest, r.err = x.read(ctx, p)
			x.reads.leave(p, r)
			return r.digest, r.err
		}
		select {
		case <-ctx.Done():
			return Digest{}, ctx.Err()
		case <-r.done:
			// Asked again instead of taken over: the other reading may have
			// begun before the change that made this caller ask, and its
			// context may have ended.
		}
	}
}

// Known returns the remembered digest of path, if there is one that counts.
func (x *Index) Known(p string) (Digest, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r, ok := x.get(path.Clean(p))
	if !ok || r.more == nil || !r.more.hashed || r.more.racy {
		return Digest{}, false
	}
	return r.more.digest, true
}

func (r *readers) join(p string) (*reading, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cur := r.reading[p]; cur != nil {
		return cur, false
	}
	cur := &reading{done: make(chan struct{})}
	if r.reading == nil {
		r.reading = map[string]*reading{}
	}
	r.reading[p] = cur
	return cur, true
}

func (r *readers) leave(p string, cur *reading) {
	r.mu.Lock()
	delete(r.reading, p)
	r.mu.Unlock()
	close(cur.done)
}

const rereads = 3

func (x *Index) read(ctx context.Context, p string) (Digest, error) {
	var d Digest
	if err := x.ripen(ctx, p); err != nil {
		return d, fmt.Errorf("hashing %s: %w", p, err)
	}
	for range rereads {
		began := time.Now()
		before, after, sum, err := x.readOnce(ctx, p)
		if err != nil {
			return Digest{}, fmt.Errorf("hashing %s: %w", p, err)
		}
		d = sum
		if before.Size == after.Size && before.MTime == after.MTime && before.Mode == after.Mode {
			x.keep(after, d, racyAt(after.MTime, began))
			return d, nil
		}
	}
	return d, nil
}

// slowToRead is what takes longer to read than a time stamp to come of age.
const slowToRead = 16 << 20

// ripen waits with a big file until a write that is yet to come would show in its time
// stamp: the digest of one that was saved a moment ago does not count, and everybody who
// asks for it would read it again.
func (x *Index) ripen(ctx context.Context, p string) error {
	e, ok := x.Lookup(p)
	if !ok || e.Size < slowToRead {
		return nil
	}
	wait := coarseness(e.MTime) - (time.Now().UnixNano() - e.MTime)
	if wait <= 0 || wait > int64(stampsAge) {
		return nil // or it comes of age in seconds, or is of the future
	}
	timer := time.NewTimer(time.Duration(wait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (x *Index) readOnce(ctx context.Context, p string) (before, after Entry, d Digest, err error) {
	f, err := x.Open(p)
	if err != nil {
		return before, after, d, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return before, after, d, err
	}
	if !info.Mode().IsRegular() {
		return before, after, d, ErrNotFile
	}
	before = entryOf(p, info)
	h := sha256.New()
	if _, err = io.Copy(h, contextReader{ctx, f}); err != nil {
		return before, after, d, err
	}
	if info, err = f.Stat(); err != nil {
		return before, after, d, err
	}
	h.Sum(d[:0])
	return before, entryOf(p, info), d, nil
}

// keep remembers a digest if the index still holds the state that was read: an
// open file says nothing about a new one that has taken its name meanwhile.
func (x *Index) keep(e Entry, d Digest, racy bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, ok := x.get(e.Path)
	if !ok || !same(r, recordOf(e)) {
		return
	}
	r.more = &more{digest: d, hashed: true, racy: racy}
	x.put(e.Path, r)
}

// A contextReader ends the reading of a big file when its asker has left.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
