package build

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
)

// ErrNotStored is what a Builder of [Stored] answers when no image was built from
// the files as they are now.
var ErrNotStored = errors.New("no image was built from the files as they are now")

// Stored answers from the store what was built before, and builds nothing: for
// commands that only show. It needs no engine.
func Stored(store *registry.Store, ep *registry.Endpoint, idx *tree.Index) Builder {
	lease := store.NewLease()
	store = store.WithLease(lease)
	b := cached(notStored{}, store, ep, idx, nil)
	b = linked(b, store, ep, idx)
	b = dev(b, store, ep, idx)
	b = recorded(b, store, ep)
	b = knowing(b, store)
	b = explained(b)
	return leased(b, lease)
}

type notStored struct{}

func (notStored) Build(context.Context, Spec, Progress) (*Result, error) { return nil, ErrNotStored }

// AgentCommand is what a dev image's entrypoint begins with, and so what a
// manifest's own command must begin with too.
func AgentCommand() []string { return []string{Agent, "run", "--"} }

// HasAgent says whether an image of the store is a dev image; ok is false where the
// store has no such image any more.
func HasAgent(store *registry.Store, digest string) (has, ok bool) {
	if _, err := layout.ParseDigest(digest); err != nil {
		return false, false
	}
	d, err := openImage(store, digest)
	if err != nil {
		return false, false
	}
	labels := map[string]string{}
	if raw, ok := d.config["Labels"]; ok && json.Unmarshal(raw, &labels) != nil {
		return false, true
	}
	return labels[AgentLabel] != "", true
}
