package build

import (
	"context"
	"runtime"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
)

// New makes images of every kind of Spec: from the cache where nothing changed,
// on this machine where no engine is needed, else in the engine. idx holds the
// project's files.
func New(docker *client.Client, store *registry.Store, ep *registry.Endpoint, idx *tree.Index, options ...Option) Builder {
	var set settings
	for _, o := range options {
		o(&set)
	}
	lease := store.NewLease()
	store = store.WithLease(lease)
	e := engine.New(docker)
	d := &dockerBuilder{e, store, ep}
	imageID := e.ImageID
	var runs runner = d
	if set.buildkit != nil {
		runs, imageID = &remoteBuilder{engine.NewRemote(set.buildkit, store), store, ep}, nil
	}
	var b Builder = &kinds{
		dockerfile: &ladder{runs: runs, store: store, ep: ep, idx: idx},
		golang:     &goBuilder{docker: d, store: store, ep: ep, idx: idx},
		command:    &commandBuilder{docker: d, store: store, ep: ep},
		image:      &imageBuilder{docker: d, store: store, ep: ep},
	}
	b = limited(b, max(2, runtime.NumCPU()))
	b = cached(b, store, ep, idx, imageID)
	b = linked(b, store, ep, idx)
	b = dev(b, store, ep, idx)
	b = recorded(b, store, ep)
	b = knowing(b, store)
	b = explained(b)
	return leased(b, lease)
}

// ImageIDs is how a Builder of New with these options tells that a base became another
// image: what the engine calls an image that it holds, "" where it holds none or does
// not answer. nil where the engine's images are no bases.
func ImageIDs(docker *client.Client, options ...Option) func(ctx context.Context, ref string) string {
	var set settings
	for _, o := range options {
		o(&set)
	}
	if set.buildkit != nil {
		return nil
	}
	return engine.New(docker).ImageID
}

// An Option changes how New's images are made.
type Option func(*settings)

type settings struct{ buildkit engine.Dialer }

// BuildKit lets one that is not the engine's run what Dockerfiles run, whether
// there is an engine or not. nil changes nothing.
func BuildKit(d engine.Dialer) Option { return func(s *settings) { s.buildkit = d } }

// kinds hands a Spec to the builder of its kind.
type kinds struct{ dockerfile, golang, command, image Builder }

func (k *kinds) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	switch {
	case spec.Go != nil:
		return k.golang.Build(ctx, spec, progress)
	case spec.Command != nil:
		return k.command.Build(ctx, spec, progress)
	case spec.Image != "":
		return k.image.Build(ctx, spec, progress)
	}
	return k.dockerfile.Build(ctx, spec, progress)
}
