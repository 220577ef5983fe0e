// Package upstream lets the nodes pull images of others that this machine's
// engine already holds.
//
// In: the references that manifests name. Out: for each that the engine has,
// a copy in the image store, under the repository that the nodes' containerd
// asks our registry for before it asks the image's own. It never pulls: what
// the engine lacks, the nodes get from its own registry, through ours. Invariant: a copy is made once
// for each image ID.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/registry"
)

// Provider copies images from the engine to the store.
type Provider struct {
	docker   *client.Client
	engine   *engine.Builder
	store    *registry.Store
	endpoint *registry.Endpoint
}

// New makes a provider; the client and the store stay the caller's.
func New(docker *client.Client, store *registry.Store, endpoint *registry.Endpoint) *Provider {
	return &Provider{docker: docker, engine: engine.New(docker), store: store, endpoint: endpoint}
}

// Provide copies those of refs that the engine holds and the store does not.
// tell gets a line for each copy that is made. References of our own registry,
// by digest, or that do not parse are left alone.
func (p *Provider) Provide(ctx context.Context, refs []string, tell func(string)) error {
	failed := make([]error, len(refs))
	var copies sync.WaitGroup
	for i, ref := range refs {
		copies.Go(func() { failed[i] = p.provide(ctx, ref, tell) })
	}
	copies.Wait()
	return errors.Join(failed...)
}

func (p *Provider) provide(ctx context.Context, ref string, tell func(string)) error {
	tag, err := name.NewTag(ref)
	if err != nil || tag.RegistryStr() == p.endpoint.Host {
		return nil
	}
	image, err := p.docker.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) || client.IsErrConnectionFailed(err) {
		return nil // the nodes pull it
	}
	if err != nil {
		return fmt.Errorf("look for %s on the engine: %w", ref, err)
	}
	repo := registry.MirrorRepository(tag.RegistryStr(), tag.RepositoryStr())
	if p.held(repo, tag.TagStr(), image.ID) {
		return nil
	}
	tell("copying " + ref + " from the engine to the cluster's registry")
	target := p.endpoint.PushHost + "/" + repo + ":" + tag.TagStr()
	if _, err := p.docker.ImageTag(ctx, client.ImageTagOptions{Source: image.ID, Target: target}); err != nil {
		return fmt.Errorf("tag %s: %w", ref, err)
	}
	_, _, err = p.engine.Push(ctx, target, p.endpoint.Token)
	// A cancelled copy must not leave its name on the engine.
	return errors.Join(err, p.engine.Untag(context.WithoutCancel(ctx), target))
}

// held says whether the store's copy was made from the image with this ID. The
// engine's ID is the digest of the image's configuration, which a push keeps.
func (p *Provider) held(repo, tag, id string) bool {
	img, err := p.store.Image(repo, tag)
	if err != nil {
		return false
	}
	// Nobody builds a damaged copy anew: it is taken again.
	e, err := p.store.Resolve(repo, tag)
	if err != nil {
		return false
	}
	if err := p.store.Complete(e.Digest); err != nil {
		if !e.Pulled { // else nodes may not have asked for all of it yet
			p.store.Lost(e.Digest, err)
		}
		return false
	}
	config, err := img.ConfigName()
	return err == nil && config.Hex == strings.TrimPrefix(id, "sha256:")
}
