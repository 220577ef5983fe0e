package session

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/registry"
)

// A Meaning is what a saved file asks of one service.
type Meaning struct {
	Service string
	Verdict dockerfile.Verdict
	// Compile says that the program is compiled and replaced in running
	// containers, where the Verdict is Rebuild.
	Compile bool
	Then    []Then // what onSync adds
}

// A Then is a rule of onSync that a saved file sets off.
type Then struct {
	Run     []string
	Restart bool
	Whole   bool // the restart is one of the container
	Signal  string
	Where   string // of the rule
}

// Config says whether a path, relative to the project, is part of its
// configuration.
func Config(p *config.Project, changed string) bool {
	return slices.Contains(p.Files, filepath.Join(p.Root, filepath.FromSlash(changed)))
}

// Manifests says whether the manifests are made from a path of the project. An
// error is theirs; what could be read of them counts all the same.
func Manifests(ctx context.Context, p *config.Project, changed string) (bool, error) {
	m, err := deploy.Render(ctx, p.Root, deploy.Sources(p.Manifests, p.Namespace, nil))
	return m.Reads(filepath.Join(p.Root, filepath.FromSlash(changed))), err
}

// Explain says what saving a path of the project asks of each service in whose
// build context it lies.
func Explain(p *config.Project, store *registry.Store, changed string) ([]Meaning, error) {
	var all []Meaning
	for _, cs := range p.Services {
		if cs.Build == nil {
			continue
		}
		spec := SpecOf(p, cs).Knowing(store)
		rel, ok := contextPath(spec, changed)
		plan, err := build.Load(spec)
		if err != nil {
			if !ok {
				continue
			}
			return nil, asProblem(err, "dockerfile", cs.Name)
		}
		if a := (&service{above: ancestors(plan)}).inherits(changed); a != nil {
			all = append(all, Meaning{Service: cs.Name, Verdict: dockerfile.Verdict{Action: dockerfile.Rebuild, Why: "the image is made from that of " + a.spec.Service}})
			continue
		}
		if !ok {
			continue
		}
		m := Meaning{Service: cs.Name, Verdict: (&mapping{plan: plan, sync: cs.Sync, dir: spec.Context}).explain(rel)}
		m.Compile = m.Verdict.Action == dockerfile.Rebuild && spec.Compiles() && !cs.Sync.Off
		if strings.HasPrefix(rel, "../") && m.Verdict.Action == dockerfile.Nothing {
			continue // beside a program that is not made from it
		}
		for _, r := range cs.OnSync {
			named := len(r.Paths) > 0
			if r.Matches(rel) && (m.Verdict.Action == dockerfile.Sync || m.Verdict.Action == dockerfile.Nothing && named) {
				m.Then = append(m.Then, Then{r.Run, r.Restart, r.Container, r.Signal, r.Where})
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// contextPath turns a path of the project into one of the build context.
func contextPath(spec build.Spec, changed string) (string, bool) {
	dir, err := filepath.Rel(spec.Root, spec.Context)
	if err != nil {
		return "", false
	}
	dir = filepath.ToSlash(dir)
	if dir == "." {
		return changed, true
	}
	rel, ok := strings.CutPrefix(changed, dir+"/")
	if !ok && spec.Go != nil {
		// Of the same module or workspace, beside the program.
		beside, err := filepath.Rel(filepath.FromSlash(dir), filepath.FromSlash(changed))
		return filepath.ToSlash(beside), err == nil
	}
	return rel, ok
}
