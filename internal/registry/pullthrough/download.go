package pullthrough

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// Blob is a blob that the store lacks and that a registry gives: it can be read
// while it comes, by several readers at once, and is in the store once all of
// it is there. ok is false where there is none: nothing is known of a manifest
// that needs it, or its registry does not give it.
func (c *Cache) Blob(ctx context.Context, host, repository string, d layout.Digest) (_ io.ReadSeekCloser, ok bool) {
	host = Canonical(host)
	n, _ := c.reach(host)
	if n == nil {
		return nil, false
	}
	// Only what an image needs that was asked for before: its size is known, and
	// what nothing refers to would be nobody's.
	size, ok := c.store.Described(mirror(host, repository), d)
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	load := c.downloads[d]
	if load == nil {
		if c.store.Has(d, size) { // by now, for another request
			c.mu.Unlock()
			f, err := c.store.OpenBlob(d)
			return f, err == nil
		}
		load = &download{cache: c, host: host, repository: repository, digest: d, size: size, begun: make(chan struct{}), changed: make(chan struct{})}
		if !c.begin(func() { load.run(n) }) {
			c.mu.Unlock()
			return nil, false
		}
		c.downloads[d] = load
	}
	c.mu.Unlock()
	select {
	case <-load.begun:
	case <-ctx.Done():
		return nil, false
	}
	return load.reader(ctx)
}

// How a blob comes.
const (
	stalled  = 30 * time.Second // without a byte
	attempts = 5                // of getting the rest of one that was cut
)

// A download is one blob on its way into the store.
type download struct {
	cache            *Cache
	host, repository string
	digest           layout.Digest
	size             int64
	begun            chan struct{} // closed once the registry gives it, or does not

	mu      sync.Mutex
	file    *os.File // for readers; theirs as long as there are any
	readers int
	written int64
	done    bool // in the store, or failed with err
	err     error
	changed chan struct{} // closed when one of the above does
}

func (l *download) run(n *network) {
	c := l.cache
	start := c.now()
	err := l.fetch(n)
	what := fmt.Sprintf("blob %s of %s/%s", l.digest, l.host, l.repository)
	// The store has it before nobody finds the download any more.
	c.mu.Lock()
	delete(c.downloads, l.digest)
	c.mu.Unlock()
	l.mu.Lock()
	before := l.file == nil
	l.done, l.err = true, err
	l.tell()
	l.release()
	l.mu.Unlock()
	switch {
	case err == nil:
		c.log(fmt.Sprintf("fetched %s, %d bytes in %s", what, l.size, c.now().Sub(start).Round(time.Millisecond)))
	case before:
		_ = c.failed(l.host, "fetch "+what, err)
		close(l.begun)
	default:
		// That it came in part says that the host is there.
		c.log("fetch " + what + ": " + err.Error())
	}
}

// fetch writes the blob into the store.
func (l *download) fetch(n *network) error {
	resp, cancel, err := l.open(n, 0)
	if err != nil {
		return err
	}
	u, file, err := l.create()
	if err != nil {
		cancel()
		resp.Body.Close()
		return err
	}
	l.mu.Lock()
	l.file = file
	l.mu.Unlock()
	close(l.begun)
	for attempt := 1; ; attempt++ {
		before := u.Size()
		err := l.copy(u, resp.Body, cancel)
		resp.Body.Close()
		cancel()
		if u.Size() == l.size && err == nil {
			break
		}
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		if l.cache.ctx.Err() != nil || attempt == attempts || u.Size() == before || u.Size() > l.size {
			u.Cancel()
			return err
		}
		l.cache.log(fmt.Sprintf("blob %s of %s/%s was cut after %d of %d bytes: %v", l.digest, l.host, l.repository, u.Size(), l.size, err))
		if resp, cancel, err = l.open(n, u.Size()); err != nil {
			u.Cancel()
			return err
		}
	}
	_, err = u.Commit(l.digest)
	return err
}

func (l *download) create() (*layout.Upload, *os.File, error) {
	u, err := l.cache.store.NewUpload()
	if err != nil {
		return nil, nil, err
	}
	file, err := u.Open()
	if err != nil {
		u.Cancel()
		return nil, nil, err
	}
	return u, file, nil
}

// open asks for the blob from a byte on. cancel ends the answer and must be called.
func (l *download) open(n *network, from int64) (*http.Response, context.CancelFunc, error) {
	ctx, cancel := context.WithCancel(l.cache.ctx)
	header, want := http.Header{}, http.StatusOK
	if from > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		want = http.StatusPartialContent
	}
	// Ends a server that is silent before its answer; those of the transport count
	// for each step, redirects and the token too.
	timer := time.AfterFunc(fetchTakes, cancel)
	resp, err := l.cache.ask(ctx, n, l.host, l.repository, http.MethodGet, "/blobs/"+string(l.digest), header, want)
	if !timer.Stop() && err == nil {
		resp.Body.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	if n := resp.ContentLength; n >= 0 && n != l.size-from ||
		from > 0 && !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)) {
		resp.Body.Close()
		cancel()
		return nil, nil, fmt.Errorf("the registry offers %d bytes from %d on, the manifest says %d in all", resp.ContentLength, from, l.size)
	}
	return resp, cancel, nil
}

// copy appends what comes, and says so to the readers.
func (l *download) copy(u *layout.Upload, body io.Reader, cancel context.CancelFunc) error {
	silence := time.AfterFunc(stalled, cancel)
	defer silence.Stop()
	buffer := make([]byte, 128<<10)
	for {
		n, err := body.Read(buffer)
		silence.Reset(stalled)
		if u.Size()+int64(n) > l.size {
			return errors.New("the registry sends more than the manifest says")
		}
		if n > 0 {
			if _, err := u.Write(buffer[:n]); err != nil {
				return err
			}
			l.mu.Lock()
			l.written = u.Size()
			l.tell()
			l.mu.Unlock()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return plain(err)
		}
	}
}

// tell wakes the readers; the caller has l.mu.
func (l *download) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// release closes the file after its last use; the caller has l.mu.
func (l *download) release() {
	if l.done && l.readers == 0 && l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// reader is a new reader of the blob.
func (l *download) reader(ctx context.Context) (io.ReadSeekCloser, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.readers++
		return &reader{ctx: ctx, load: l}, true
	}
	if l.err == nil { // it is all there by now
		if f, err := l.cache.store.OpenBlob(l.digest); err == nil {
			return f, true
		}
	}
	return nil, false
}

// A reader reads what is there, and waits for the rest.
type reader struct {
	ctx  context.Context
	load *download
	at   int64
	shut bool
}

func (r *reader) Read(p []byte) (int, error) {
	l := r.load
	for {
		l.mu.Lock()
		readable, done, err, changed := l.written, l.done, l.err, l.changed
		l.mu.Unlock()
		switch {
		case done && err != nil:
			return 0, err
		case r.at >= l.size && (done || len(p) == 0):
			return 0, io.EOF
		case !done && readable == l.size:
			readable-- // the last byte comes once the digest was seen to be right
		}
		if r.at < readable {
			n, err := l.file.ReadAt(p[:min(int64(len(p)), readable-r.at)], r.at)
			r.at += int64(n)
			if n > 0 {
				err = nil
			}
			return n, err
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.load.size
	}
	if offset < 0 {
		return 0, os.ErrInvalid
	}
	r.at = offset
	return offset, nil
}

func (r *reader) Close() error {
	if r.shut {
		return nil
	}
	r.shut = true
	l := r.load
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers--
	l.release()
	return nil
}
