package build

import (
	"context"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// A Recipe says what the files of a build context mean to the image. Paths are
// relative to the context; those of a Go program may begin with ../.
type Recipe interface {
	// Explain says what a change of a path asks for.
	Explain(file string) dockerfile.Verdict
	// Placements are the files that can be synced, by container path.
	Placements(ctx context.Context, x *tree.Index) (map[string]dockerfile.Placement, error)
	// Sources are the paths and patterns that the recipe names.
	Sources() []string
	// Ignore is what the build does not see of the context.
	Ignore() *ignore.DockerMatcher
	// Bases are the images that the build begins with.
	Bases() []string
}

// Load reads the recipe of a Spec: the Dockerfile, or what stands for it, and
// those of the images of the project that it is made from.
func Load(spec Spec) (Recipe, error) {
	r, err := loadOwn(spec)
	if err != nil || len(spec.Siblings) < 2 {
		return r, err
	}
	above, err := parents(spec, r, nil)
	return inherit(r, above), err
}

// loadOwn is Load as if there were no other images.
func loadOwn(spec Spec) (Recipe, error) {
	switch {
	case spec.Go != nil:
		return loadGo(spec), nil
	case spec.Command != nil:
		return loadCommand(spec)
	case spec.Image != "":
		return loadImage(spec), nil
	}
	return load(spec)
}

// nothing is a recipe without files.
type nothing struct {
	why    string
	ignore *ignore.DockerMatcher
	bases  []string
}

func (r *nothing) Explain(string) dockerfile.Verdict { return dockerfile.Verdict{Why: r.why} }

func (r *nothing) Placements(context.Context, *tree.Index) (map[string]dockerfile.Placement, error) {
	return map[string]dockerfile.Placement{}, nil
}

func (r *nothing) Sources() []string             { return nil }
func (r *nothing) Ignore() *ignore.DockerMatcher { return r.ignore }
func (r *nothing) Bases() []string               { return r.bases }

// baseList is a base as Recipe.Bases has it.
func baseList(base string) []string {
	if base == "" || base == Scratch {
		return nil
	}
	return []string{base}
}
