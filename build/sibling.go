package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/tree"
)

// A Sibling is another image of the project: one that a FROM, a COPY --from or
// a base may name.
type Sibling struct {
	Image string // repository that manifests name it by; empty: the service's name
	Spec  Spec   // without siblings of its own: they are the same ones
}

// is says whether a base means the sibling's image. A name with a registry or
// a folder does whatever its tag; a plain one only without a tag (or with the one
// that this means, latest), since redis:7 is somebody else's however a service is called.
func (s *Sibling) is(base string) bool {
	named, err := reference.ParseNormalizedNamed(base)
	if err != nil {
		return false
	}
	if _, pinned := named.(reference.Digested); pinned {
		return false
	}
	image := s.Image
	if image == "" {
		image = s.Spec.Service
	}
	own, err := reference.ParseNormalizedNamed(image)
	if err != nil || own.Name() != named.Name() {
		return false
	}
	return strings.Contains(image, "/") || reference.TagNameOnly(named).String() == own.Name()+":latest"
}

// A Parent is an image of the project that another one is made from.
type Parent struct {
	Base   string // as the child names it
	Spec   Spec   // the production image, for the child's platform
	Recipe Recipe
}

// parents are the siblings that the bases of a recipe mean, sorted by base.
// trail holds the services that led here: one that comes again is a cycle.
func parents(spec Spec, r Recipe, trail []string) ([]Parent, error) {
	var found []Parent
	trail = append(slices.Clone(trail), spec.Service)
	for _, base := range r.Bases() {
		i := slices.IndexFunc(spec.Siblings, func(s Sibling) bool { return s.Spec.Service != spec.Service && s.is(base) })
		if i < 0 {
			continue
		}
		p := Parent{Base: base, Spec: spec.Siblings[i].Spec}
		p.Spec.Siblings, p.Spec.Platform, p.Spec.Dev, p.Spec.triggers = spec.Siblings, spec.Platform, false, spec.triggers
		if slices.Contains(trail, p.Spec.Service) {
			from := slices.Index(trail, p.Spec.Service)
			return nil, &problem.Problem{
				Class: problem.Usage, Code: "build-cycle", Where: namedAt(spec, r, base),
				Summary: "images are made from each other: " + strings.Join(append(trail[from:], p.Spec.Service), " -> "),
				Hint:    "let one of them begin with an image of others",
			}
		}
		own, err := loadOwn(p.Spec)
		if err != nil {
			return nil, err
		}
		above, err := parents(p.Spec, own, trail)
		if err != nil {
			return nil, err
		}
		p.Recipe = inherit(own, above)
		found = append(found, p)
	}
	return found, nil
}

// isParent says whether another image of the project begins with spec's.
func isParent(spec Spec) bool {
	for _, child := range spec.Siblings {
		if child.Spec.Service == spec.Service {
			continue
		}
		r, err := loadOwn(child.Spec)
		if err != nil {
			continue // it begins with nothing as it is
		}
		for _, base := range r.Bases() {
			if slices.ContainsFunc(spec.Siblings, func(s Sibling) bool { return s.Spec.Service == spec.Service && s.is(base) }) {
				return true
			}
		}
	}
	return false
}

// namedAt is where a spec names a base.
func namedAt(spec Spec, r Recipe, base string) string {
	if plan, ok := r.(*dockerfile.Plan); ok {
		return plan.NamedAt(base)
	}
	return "services." + spec.Service + ".build"
}

// Parents are the images of the project that spec's is made from; those that
// they are made from in turn are in their recipes.
func Parents(r Recipe) []Parent {
	if c, ok := r.(*child); ok {
		return c.parents
	}
	return nil
}

// A child is the recipe of an image that is made from others of the project.
type child struct {
	Recipe
	parents []Parent
}

func inherit(r Recipe, above []Parent) Recipe {
	if len(above) == 0 {
		return r
	}
	return &child{r, above}
}

// fromPrefix begins the path of an input that stands for a parent: no file of a
// context has it.
const fromPrefix = "FROM "

func (c *child) Explain(file string) dockerfile.Verdict {
	if service, ok := strings.CutPrefix(file, fromPrefix); ok {
		return dockerfile.Verdict{Action: dockerfile.Rebuild, Why: "the image is made from that of " + service}
	}
	return c.Recipe.Explain(file)
}

// Bases are those of others: what is made here is no image to pull.
func (c *child) Bases() []string {
	return slices.DeleteFunc(slices.Clone(c.Recipe.Bases()), func(base string) bool {
		return slices.ContainsFunc(c.parents, func(p Parent) bool { return p.Base == base })
	})
}

// Inherited says whether an input stands for another image of the project.
func Inherited(path string) bool { return strings.HasPrefix(path, fromPrefix) }

// inherited are the inputs that stand for the parents. Their digest is that of
// all that a parent is made from, so a saved file of it is seen before anything
// is built.
func inherited(ctx context.Context, spec Spec, idx *tree.Index) ([]Input, error) {
	if len(spec.Siblings) == 0 {
		return nil, nil
	}
	r, err := Load(spec)
	if err != nil {
		return nil, err
	}
	return standFor(ctx, Parents(r), idx)
}

// standFor are the inputs for some parents: one for each service, under however
// many names it is one.
func standFor(ctx context.Context, above []Parent, idx *tree.Index) ([]Input, error) {
	var list []Input
	for _, p := range above {
		path := fromPrefix + p.Spec.Service
		if slices.ContainsFunc(list, func(in Input) bool { return in.Path == path }) {
			continue
		}
		options, err := productionOptions(p.Spec)
		if err != nil {
			return nil, err
		}
		inputs, err := Inputs(ctx, p.Spec, idx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Spec.Service, err)
		}
		list = append(list, Input{Path: path, Digest: key(options, inputs)})
	}
	return list, nil
}
