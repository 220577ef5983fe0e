package build

import (
	"context"

	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// Scratch is the base that holds nothing.
const Scratch = "scratch"

// An imageBuilder takes an image of others as it is, so that a dev image can
// be made of it.
type imageBuilder struct {
	docker *dockerBuilder
	store  *registry.Store
	ep     *registry.Endpoint
}

func (b *imageBuilder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	digest, err := b.docker.take(ctx, spec, spec.Image, progress)
	if err != nil {
		return nil, err
	}
	if err := tagged(ctx, b.store, b.ep, spec.Repository(), digest); err != nil {
		return nil, err
	}
	return &Result{Digest: digest, Rung: "taken as it is", Why: "nothing to build"}, nil
}

func loadImage(spec Spec) Recipe {
	return &nothing{why: "the image " + spec.Image + " is taken as it is", ignore: ignore.Nothing(), bases: baseList(spec.Image)}
}

// take is the manifest in the store of an image of others.
func (b *dockerBuilder) take(ctx context.Context, spec Spec, ref string, progress Progress) (string, error) {
	if made, ok := spec.made[ref]; ok {
		return made.digest, nil
	}
	digest, err := assemble.Image(ctx, b.store, &stepEngine{b, b.store, b.ep, spec, progress}, spec.platform(), ref)
	if p := problem.As(err); p != nil && p.Where == "" {
		own := *p
		own.Where = spec.Places["base"]
		if spec.Image != "" {
			own.Where = spec.Places["image"]
		}
		return "", &own
	}
	return digest, err
}

// begin opens a base for a change.
func (b *dockerBuilder) begin(ctx context.Context, spec Spec, base string, progress Progress) (*imageDoc, error) {
	if base == Scratch {
		return emptyImage(spec.platform())
	}
	digest, err := b.take(ctx, spec, base, progress)
	if err != nil {
		return nil, err
	}
	return openImage(b.store, digest)
}

// end writes what begin opened, and tags it.
func (b *dockerBuilder) end(ctx context.Context, spec Spec, d *imageDoc) (string, error) {
	raw, err := d.write(b.store)
	if err != nil {
		return "", err
	}
	digest := string(layout.DigestOf(raw))
	repo, tag := spec.Repository(), registry.Short(digest)
	if _, err := b.store.PutPartialManifest(repo, tag, layout.OCIManifest, raw); err != nil {
		return "", err
	}
	return digest, b.ep.Publish(ctx, b.store, repo, tag, digest)
}
