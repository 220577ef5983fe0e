package deploy

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/kdev-io/kdev/internal/problem"
)

// A Source is one place that manifests come from; paths are relative to the
// root. Just one of Kustomize and YAML is set.
type Source struct {
	Kustomize string   // folder with a kustomization
	Remote    bool     // the kustomization may name what is not in the project
	YAML      []string // files and patterns of filepath.Match
}

// Manifests is what sources render to.
type Manifests struct {
	Objects []*Object       // in the order of the sources
	files   map[string]bool // absolute paths that were read
	globs   []string        // absolute patterns
}

// Reads says whether a file (absolute) takes part in the render, or would if
// it were there.
func (m *Manifests) Reads(file string) bool {
	if m == nil {
		return false
	}
	return m.files[file] || slices.ContainsFunc(m.globs, func(glob string) bool {
		ok, _ := filepath.Match(glob, file)
		return ok
	})
}

// Render renders sources in their order. The same files give the same objects in
// the same order. The Manifests are never nil: after an error they still know
// which files were read, so that a change of one of them can be noticed.
//
// Problems: render-failed, render-remote, manifest-invalid, manifest-missing,
// manifest-duplicate.
func Render(ctx context.Context, root string, sources []Source) (*Manifests, error) {
	m := &Manifests{files: map[string]bool{}}
	for _, s := range sources {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		var err error
		if s.Kustomize != "" {
			err = m.kustomize(root, s)
		} else {
			err = m.yaml(root, s.YAML)
		}
		if err != nil {
			return m, err
		}
	}
	return m, duplicates(m.Objects)
}

// duplicates refuses the same object twice: the second would silently win.
func duplicates(objects []*Object) error {
	type key struct{ group, kind, namespace, name string }
	seen := map[key]*Object{}
	for _, o := range objects {
		k := key{o.GroupVersionKind().Group, o.GetKind(), o.GetNamespace(), o.GetName()}
		if first := seen[k]; first != nil {
			return &problem.Problem{Class: problem.Usage, Code: "manifest-duplicate", Where: o.Origin,
				Summary: RefOf(o).String() + " is there twice", Hint: "the other one is at " + first.Origin}
		}
		seen[k] = o
	}
	return nil
}
