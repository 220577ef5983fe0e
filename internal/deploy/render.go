package deploy

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// A Source is one place that manifests come from; paths are relative to the
// root. Just one of Kustomize, YAML, Helm, Command and Apps is set.
type Source struct {
	Kustomize string   // folder with a kustomization
	YAML      []string // files and patterns of filepath.Match
	Helm      *Chart
	Command   *Command
	Apps      *config.Apps
	Missing   config.Problems // what it names and is not there
}

// Sources are the deployer's form of what the configuration says. Charts are
// rendered for a namespace, and for a cluster where that is not nil.
func Sources(list []config.Source, namespace string, cluster *kube.Client) []Source {
	out := make([]Source, len(list))
	for i, s := range list {
		out[i] = Source{Kustomize: s.Kustomize, YAML: s.YAML, Apps: s.Apps, Missing: s.Missing}
		if h := s.Helm; h != nil {
			out[i].Helm = &Chart{Chart: h.Chart, Version: h.Version, Release: h.Release, Namespace: namespace, Values: h.Values, Set: h.Set, Cluster: cluster, Where: s.Where}
		}
		if c := s.Command; c != nil {
			out[i].Command = &Command{Run: c.Run, Env: c.Env, Inputs: c.Inputs, Where: s.Where}
		}
	}
	return out
}

// Manifests is what sources render to.
type Manifests struct {
	Objects []*Object       // in the order of the sources
	Notes   []string        // what a person should know of the render, in words
	files   map[string]bool // absolute paths that were read
	globs   []string        // absolute patterns
	dirs    []string        // absolute; every file below takes part
}

// Reads says whether a file (absolute) takes part in the render, or would if
// it were there.
func (m *Manifests) Reads(file string) bool {
	if m == nil {
		return false
	}
	below := func(dir string) bool { return strings.HasPrefix(file, dir+string(filepath.Separator)) }
	return m.files[file] || slices.ContainsFunc(m.dirs, below) || slices.ContainsFunc(m.globs, func(glob string) bool {
		ok, _ := filepath.Match(glob, file)
		return ok
	})
}

// Render renders sources in their order. The same files give the same objects in
// the same order. The Manifests are never nil: after an error they still know
// which files were read, so that a change of one of them can be noticed.
//
// Problems: render-failed, render-remote, render-command, manifest-invalid,
// manifest-missing, manifest-empty, manifest-duplicate, chart-invalid, chart-values,
// chart-dependency, chart-pull, chart-kubernetes, secret-source.
func Render(ctx context.Context, root string, sources []Source) (*Manifests, error) {
	m := &Manifests{files: map[string]bool{}}
	var empty error
	for i, s := range sources {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		before := len(m.Objects)
		var err error
		switch {
		case len(s.Missing) > 0:
			err = s.Missing
		case s.Kustomize != "":
			err = m.kustomize(root, s)
		case s.Helm != nil:
			err = m.helm(ctx, root, s.Helm)
		case s.Command != nil:
			err = m.command(ctx, root, s.Command)
		case s.Apps != nil:
			err = m.apps(root, s.Apps)
		default:
			err = m.yaml(ctx, root, s.YAML)
		}
		if err != nil {
			return m, err
		}
		for _, o := range m.Objects[before:] {
			o.source = i
		}
		if len(m.Objects) > before || s.Apps != nil {
			continue
		}
		if empty = s.empty(); s.Helm == nil {
			return m, empty
		}
		// A chart may have nothing for an environment, beside others that have.
		m.Notes = append(m.Notes, s.name()+" renders to no object")
	}
	if len(m.Objects) == 0 && empty != nil {
		return m, empty
	}
	return m, duplicates(m.Objects, "")
}

// empty is the problem of a source without an object: it is more likely broken than meant,
// and all that was applied would be removed.
func (s Source) empty() error {
	return &problem.Problem{Class: problem.Usage, Code: "manifest-empty", Where: s.name(), Summary: "there is no object in it",
		Hint: "take it out of `manifests:` if it should have none; `kdev down` removes what was applied"}
}

// name is how kdev.yaml names a source.
func (s Source) name() string {
	switch {
	case s.Kustomize != "":
		return s.Kustomize
	case s.Helm != nil:
		return s.Helm.Chart
	case s.Command != nil:
		return cmp.Or(s.Command.Where, strings.Join(s.Command.Run, " "))
	}
	return strings.Join(s.YAML, ", ")
}

// duplicates refuses the same object twice: the second would silently win. Objects that name
// no namespace are in the one that is called otherwise.
func duplicates(objects []*Object, otherwise string) error {
	type key struct{ group, kind, namespace, name string }
	seen := map[key]*Object{}
	for _, o := range objects {
		k := key{o.GroupVersionKind().Group, o.GetKind(), orElse(o.GetNamespace(), otherwise), o.GetName()}
		if first := seen[k]; first != nil {
			return &problem.Problem{Class: problem.Usage, Code: "manifest-duplicate", Where: o.Origin,
				Summary: RefOf(o).String() + " is there twice" + twiceIn(o, first, otherwise), Hint: "the other one is at " + first.Origin}
		}
		seen[k] = o
	}
	return nil
}

// twiceIn says where two objects meet of which just one names its namespace.
func twiceIn(a, b *Object, namespace string) string {
	if a.GetNamespace() == b.GetNamespace() {
		return ""
	}
	return " in namespace " + namespace + ": one of them names it, the other names none"
}
