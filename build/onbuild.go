package build

import (
	"context"
	"slices"

	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/registry"
)

// Knowing is the Spec with what the store remembers of the images of others that
// it begins with: their ONBUILD lines read the context as its own lines do. An
// image is remembered from its first build on. What such lines read then counts
// as changed during that build, so that nothing is taken for the same unseen.
func (s Spec) Knowing(store *registry.Store) Spec {
	s.triggers = func(image, platform string) []string {
		known, _ := assemble.Base(store, platform, image)
		return known.OnBuild
	}
	return s
}

// base tells a Dockerfile's reader the ONBUILD lines alone: where a COPY puts
// something should not hang on whether an image was ever seen here.
func (s Spec) base(image string) (dockerfile.Base, bool) {
	i := slices.IndexFunc(s.Siblings, func(other Sibling) bool { return other.Spec.Service != s.Service && other.is(image) })
	if i >= 0 {
		return dockerfile.Base{OnBuild: s.Siblings[i].Spec.onBuild()}, false
	}
	if s.triggers == nil {
		return dockerfile.Base{}, false
	}
	return dockerfile.Base{OnBuild: s.triggers(image, s.platform())}, false
}

// onBuild are the ONBUILD lines of the image itself. Those of what it begins with have
// run by then and are not handed on.
func (s Spec) onBuild() []string {
	if s.Dockerfile == "" {
		return nil
	}
	s.Siblings, s.triggers = nil, nil
	plan, err := load(s)
	if err != nil {
		return nil // its own build says what is wrong
	}
	return plan.OnBuild()
}

// knowing lets each Spec know what the store remembers.
func knowing(inner Builder, store *registry.Store) Builder { return &knower{inner, store} }

type knower struct {
	inner Builder
	store *registry.Store
}

func (k *knower) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	return k.inner.Build(ctx, spec.Knowing(k.store), progress)
}
