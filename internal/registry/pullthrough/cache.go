package pullthrough

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A Cache fetches for one store. It does nothing before Configure was called.
type Cache struct {
	store *layout.Store
	log   func(string)
	now   func() time.Time
	dial  dialing

	outside outside
	tokens  tokens
	away    silences
	current moments // tags of which it is known where they point

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu        sync.Mutex // of what follows
	closed    bool
	running   int
	flights   map[string]*flight // manifests that are being fetched
	downloads map[layout.Digest]*download
}

// New makes a cache; log gets a line for each thing that was fetched or could
// not be, and may be nil. Close ends it.
func New(store *layout.Store, log func(string)) *Cache {
	if log == nil {
		log = func(string) {}
	}
	c := &Cache{store: store, log: log, now: time.Now, flights: map[string]*flight{}, downloads: map[layout.Digest]*download{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends what is under way and waits for it.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	c.outside.mu.Lock()
	defer c.outside.mu.Unlock()
	if c.outside.current != nil {
		c.outside.current.close()
	}
}

// forget makes a new configuration count at once.
func (c *Cache) forget() {
	c.tokens.clear()
	c.away.clear()
	c.current.clear()
}

// How long what, at most.
const (
	fetchTakes = 10 * time.Second // a manifest, with the token that it takes
	lookTakes  = 2 * time.Second  // whether a tag that is here has moved
	awayFor    = 20 * time.Second // a host that did not answer is left alone
	currentFor = 10 * time.Second // all nodes of a cluster ask at the same time
)

// maxRunning bounds how much is fetched at once, whatever pods ask for.
const maxRunning = 64

// begin runs work, unless there is too much already; the caller has c.mu.
func (c *Cache) begin(work func()) bool {
	if c.closed || c.running >= maxRunning {
		return false
	}
	c.running++
	c.work.Go(func() {
		defer func() {
			c.mu.Lock()
			c.running--
			c.mu.Unlock()
		}()
		work()
	})
	return true
}

// reach is how host is asked; nil: it is not. The error is what happened when it
// was asked a moment ago, where that was nothing.
func (c *Cache) reach(host string) (*network, error) {
	c.outside.mu.Lock()
	n := c.outside.current
	c.outside.mu.Unlock()
	// Without any certificate (Windows has no file of them) nobody is trusted.
	if n == nil || !askable(host, n.hosts[host]) || !n.roots && n.own[host] == nil {
		return nil, nil
	}
	if err := c.away.get(host, c.now()); err != nil {
		return nil, err
	}
	return n, nil
}

// A flight is a manifest that is being fetched, for all who ask.
type flight struct {
	done chan struct{}
	err  error // readable after done
}

// Manifest has the store hold what ref, a tag or a digest, of a repository of
// host is now, as far as that can be had. The store then says what there is; if
// that is nothing and host did not answer, the error says why.
func (c *Cache) Manifest(ctx context.Context, host, repository, ref string) error {
	host = Canonical(host)
	if !c.wanting(host, repository, ref) {
		return nil
	}
	n, err := c.reach(host)
	if n == nil {
		return err
	}
	key := host + "/" + repository + "@" + ref
	c.mu.Lock()
	f := c.flights[key]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		ok := c.begin(func() {
			defer func() {
				c.mu.Lock()
				delete(c.flights, key)
				c.mu.Unlock()
				close(f.done)
			}()
			f.err = c.update(n, host, repository, ref)
		})
		if !ok {
			c.mu.Unlock()
			return nil
		}
		c.flights[key] = f
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return nil
	}
}

// wanting says whether a registry has to be asked for ref.
func (c *Cache) wanting(host, repository, ref string) bool {
	if d, err := layout.ParseDigest(ref); err == nil {
		return !c.whole(d)
	}
	if !layout.ValidTag(ref) {
		return false
	}
	e, err := c.store.Resolve(mirror(host, repository), ref)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	// A copy of what the engine holds stays what it is: the person chose it by
	// `docker pull` or `docker tag`.
	return !c.whole(e.Digest) || e.Pulled && !c.current.has(host+"/"+repository+":"+ref, c.now())
}

// whole says whether a manifest is here as it should be: a file may have lost
// its end when the machine did.
func (c *Cache) whole(d layout.Digest) bool {
	_, err := c.store.ReadBlob(d)
	return err == nil
}

// update fetches a manifest and enters it. The error is host's silence.
func (c *Cache) update(n *network, host, repository, ref string) error {
	if !c.wanting(host, repository, ref) { // another request has fetched it by now
		return nil
	}
	repo := mirror(host, repository)
	_, err := layout.ParseDigest(ref)
	byTag := err != nil
	if byTag {
		held, err := c.store.Resolve(repo, ref)
		if err == nil && c.whole(held.Digest) {
			moved, err := c.look(n, host, repository, ref, held.Digest)
			if err != nil {
				_ = c.failed(host, fmt.Sprintf("look whether %s/%s:%s has moved", host, repository, ref), err)
			}
			if !moved {
				// Also where it could not be seen: what is here is as good as it gets.
				c.current.put(host+"/"+repository+":"+ref, c.now().Add(currentFor))
				return nil
			}
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, fetchTakes)
	defer cancel()
	d, err := c.fetch(ctx, n, host, repository, ref)
	if err != nil {
		return c.failed(host, fmt.Sprintf("fetch %s/%s %s", host, repository, ref), err)
	}
	if byTag {
		c.current.put(host+"/"+repository+":"+ref, c.now().Add(currentFor))
	}
	c.log(fmt.Sprintf("fetched %s/%s %s: %s", host, repository, ref, d))
	return nil
}

// look says whether a tag points elsewhere by now.
func (c *Cache) look(n *network, host, repository, tag string, held layout.Digest) (bool, error) {
	ctx, cancel := context.WithTimeout(c.ctx, lookTakes)
	defer cancel()
	resp, err := c.ask(ctx, n, host, repository, http.MethodHead, "/manifests/"+tag, manifests, http.StatusOK)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	if ctx.Err() != nil { // what a server says to one who has gone is no answer
		return false, &silentError{ctx.Err()}
	}
	d, err := layout.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	// A registry that does not say so is asked for the manifest itself.
	return err != nil || d != held, nil
}

// manifests are the kinds that the store knows.
var manifests = http.Header{"Accept": {layout.OCIIndex, layout.DockerList, layout.OCIManifest, layout.DockerManifest}}

// fetch gets a manifest and puts it into the store. Of an index the images for
// other platforms stay where they are: nobody asks for them.
func (c *Cache) fetch(ctx context.Context, n *network, host, repository, ref string) (layout.Digest, error) {
	resp, err := c.ask(ctx, n, host, repository, http.MethodGet, "/manifests/"+ref, manifests, http.StatusOK)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, layout.MaxManifest+1))
	if err != nil {
		return "", err
	}
	if len(raw) > layout.MaxManifest {
		return "", fmt.Errorf("the manifest is larger than %d bytes", layout.MaxManifest)
	}
	got, tag := layout.DigestOf(raw), ref
	want, err := layout.ParseDigest(ref)
	if err == nil {
		tag = ""
	} else if want, err = layout.ParseDigest(resp.Header.Get("Docker-Content-Digest")); err != nil {
		want = got
	}
	if got != want {
		return "", &layout.DamagedError{Digest: want, Got: got}
	}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if mediaType == "application/octet-stream" || mediaType == "application/json" {
		mediaType = "" // a registry that does not know; the document does
	}
	return c.store.PutPulled(mirror(host, repository), tag, mediaType, raw)
}

// failed tells what did not work, and leaves a host alone that does not answer:
// only this it returns.
func (c *Cache) failed(host, doing string, err error) error {
	if c.ctx.Err() != nil {
		return nil
	}
	c.log(doing + ": " + err.Error())
	var silent *silentError
	if !errors.As(err, &silent) {
		return nil
	}
	c.away.put(host, c.now().Add(awayFor), silent)
	return silent
}
