package build

import (
	"context"

	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// remoteBuilder lets a BuildKit build that is not the engine's. What it makes comes
// into the store without a registry between.
type remoteBuilder struct {
	remote *engine.Remote
	store  *registry.Store
	ep     *registry.Endpoint
}

func (b *remoteBuilder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	given := map[string]string{}
	for base, made := range spec.made {
		given[base] = made.digest
	}
	digest, err := b.bring(spec, "", "", progress, func() (string, int64, error) {
		return b.remote.Build(ctx, requestOf(spec), given, report(spec, progress))
	})
	if err != nil {
		return nil, err
	}
	if err := tagged(ctx, b.store, b.ep, spec.Repository(), digest); err != nil {
		return nil, err
	}
	return &Result{Digest: digest, Rung: b.remote.String(), Why: b.remote.String() + " builds all of it"}, nil
}

// bring enters what make has put into the store under repo and tag, where these are named.
func (b *remoteBuilder) bring(spec Spec, repo, tag string, progress Progress, make func() (string, int64, error)) (string, error) {
	digest, received, err := make()
	if err != nil {
		return "", err
	}
	if digest, err = single(b.store, spec, digest); err != nil {
		return "", err
	}
	if err := b.store.Complete(layout.Digest(digest)); err != nil {
		return "", err
	}
	if repo != "" {
		raw, err := b.store.ReadBlob(layout.Digest(digest))
		if err != nil {
			return "", err
		}
		if _, err := b.store.PutPartialManifest(repo, tag, "", raw); err != nil {
			return "", err
		}
	}
	progress.send(spec, Event{Step: "taken over from " + b.remote.String(), Done: true, Bytes: received})
	return digest, nil
}

func (b *remoteBuilder) steps(spec Spec, progress Progress) assemble.Engine {
	return &remoteSteps{b, spec, progress}
}

// given is read from the store, by the session of the build.
func (b *remoteBuilder) given(made madeBase) assemble.Given {
	return assemble.Given{Digest: made.digest, Layout: engine.StoreName}
}

func (b *remoteBuilder) name() string { return b.remote.String() }

// missing leaves the problem as it is: it tells of the address.
func (b *remoteBuilder) missing(err error, _ string) error { return err }

func (b *remoteBuilder) lacks(error) bool { return false }

// remoteSteps does for an assembly what only a BuildKit can.
type remoteSteps struct {
	b        *remoteBuilder
	spec     Spec
	progress Progress
}

func (s *remoteSteps) Pulls() bool { return true }

func (s *remoteSteps) Version(ctx context.Context) (assemble.Version, error) {
	release, err := s.b.remote.Version(ctx)
	return assemble.Version{Release: release, Name: s.b.remote.String()}, err
}

func (s *remoteSteps) Offer(_ context.Context, repo string, manifest []byte) (assemble.Given, error) {
	digest, err := offered(s.b.store, repo, manifest)
	return s.b.given(madeBase{digest: digest}), err
}

// ImageID is unknown: a BuildKit keeps layers, not images.
func (s *remoteSteps) ImageID(context.Context, string) string { return "" }

func (s *remoteSteps) ImageConfig(ctx context.Context, ref, platform string) ([]byte, error) {
	return s.b.remote.ImageConfig(ctx, ref, platform)
}

func (s *remoteSteps) Take(ctx context.Context, ref, platform, repo, tag string) (string, error) {
	return s.b.bring(s.spec, repo, tag, s.progress, func() (string, int64, error) {
		return s.b.remote.Image(ctx, ref, platform)
	})
}

func (s *remoteSteps) Solve(ctx context.Context, part assemble.Solve) (string, error) {
	return s.b.bring(s.spec, part.Repository, "", s.progress, func() (string, int64, error) {
		return s.b.remote.Solve(ctx, part.Definition, requestOf(s.spec), report(s.spec, s.progress))
	})
}
