package build

import (
	"context"
	"fmt"
	"time"

	"github.com/kdev-io/kdev/internal/registry"
)

// A Target is a registry from which a cluster pulls that cannot pull from this
// machine. Below it lie the images under the names that they have in the store.
type Target struct {
	Push string // as this machine reaches it: "ghcr.io/acme", "localhost:5000"
	Pull string // as pod specs name it; mostly the same

	Plain bool // it is spoken with in HTTP, without TLS, whatever it is called
}

// Sent sends each image that inner makes to a registry, as the person who is
// logged in there. Layers that it has are not sent; those of another repository
// there are mounted.
func Sent(inner Builder, store *registry.Store, ep *registry.Endpoint, to Target) Builder {
	return &sender{inner, store, ep, to}
}

// PulledFrom is how pod specs name an image that was sent below a registry.
func PulledFrom(pull string, spec Spec, digest string) string {
	return pull + "/" + spec.Repository() + ":" + registry.Short(digest) + "@" + digest
}

type sender struct {
	inner Builder
	store *registry.Store
	ep    *registry.Endpoint
	to    Target
}

func (s *sender) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	r, err := s.inner.Build(ctx, spec, progress)
	if err != nil {
		return nil, err
	}
	lease := s.store.NewLease()
	lease.Begin()
	err = s.send(ctx, s.store.WithLease(lease), spec, r, progress)
	if end := lease.End(); err == nil && end != nil {
		err = end
	}
	return r, err
}

func (s *sender) send(ctx context.Context, store *registry.Store, spec Spec, r *Result, progress Progress) error {
	name := spec.Repository() + ":" + registry.Short(r.Digest)
	if err := s.ep.Pull(ctx, store, spec.Repository(), r.Digest); err != nil {
		return err
	}
	recipe, err := Load(spec)
	if err != nil {
		return fmt.Errorf("push %s: %w", name, err)
	}
	from := recipe.Bases()
	for _, p := range Parents(recipe) {
		from = append(from, s.to.Push+"/"+p.Spec.Repository()+":latest") // any tag: only the repository counts
	}
	step := "pushing to " + s.to.Push
	start := time.Now()
	progress.send(spec, Event{Step: step})
	if err := store.Push(ctx, r.Digest, s.to.Push+"/"+name, from, s.to.Plain); err != nil {
		return err
	}
	progress.send(spec, Event{Step: step, Done: true, Took: time.Since(start).Round(time.Millisecond)})
	r.Ref = PulledFrom(s.to.Pull, spec, r.Digest)
	return nil
}
