package session

import (
	"sync"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// heldImages keep the images of a session's services in the store while it runs:
// a pod may be moved to a node that never pulled its image, and no workload names
// an image before it is applied. The zero value is ready.
type heldImages struct {
	mu     sync.Mutex
	wanted []layout.Digest

	writing sync.Mutex // guards lease; held while a collector is waited for
	lease   *layout.Lease
}

// want says which images are held from the next write on.
func (h *heldImages) want(digests []layout.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wanted = digests
}

// write holds what is wanted now. Where it cannot, a collection goes by what the
// clusters name, so its error is none of the session's.
func (h *heldImages) write(store *registry.Store) {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.mu.Lock()
	wanted := h.wanted
	h.mu.Unlock()
	if h.lease == nil {
		h.lease = store.NewLease()
	}
	_ = h.lease.Set(wanted...)
}

func (h *heldImages) close() {
	h.writing.Lock()
	defer h.writing.Unlock()
	if h.lease != nil {
		_ = h.lease.Close()
		h.lease = nil
	}
}

// holdImages holds the images that the services have now. A collection that goes
// on is waited for beside the loop.
func (l *loop) holdImages() {
	if l.s.parts.Store == nil {
		return
	}
	var digests []layout.Digest
	for _, svc := range l.services {
		if d, err := layout.ParseDigest(digestOf(svc.ref)); err == nil {
			digests = append(digests, d)
		}
	}
	l.s.images.want(digests)
	l.work.Go(func() { l.s.images.write(l.s.parts.Store) })
}
