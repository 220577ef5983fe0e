package config

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
)

// A resolver makes a Project of what the file says: defaults, detection, and
// the checks that need the folder. It goes on after a problem, so that one
// run shows all of them.
type resolver struct {
	*loader
	d      *decoder
	f      *file
	p      *Project
	listed bool // kdev.yaml lists the services, so none is added by detection
}

func (r *resolver) resolve() {
	p, f := r.p, r.f
	p.Name = f.Name
	if p.Name == "" {
		p.Name = label(filepath.Base(r.root))
		if p.Name == "" {
			p.Name = "app"
		}
	}
	r.requires()
	p.Watch.Ignore = f.Watch.Ignore
	p.Contexts, p.Registry = f.Contexts, f.Registry
	p.Cluster = Cluster{Provider: "kind", Nodes: max(f.Cluster.Nodes, 1), Version: string(f.Cluster.Version)}
	if v := p.Cluster.Version; v != "" && v[0] != 'v' {
		p.Cluster.Version = "v" + v
	}
	p.Router = Router{Off: f.Router.Off, Port: cmp.Or(f.Router.Keys.Port, 7080)}
	r.buildkit()
	r.manifests()
	if !r.options.ManifestsLate {
		r.problems = append(r.problems, Missing(p.Manifests)...)
	}
	r.services()
	r.local()
	r.cycles()
	r.apps()

	p.Namespace, p.NamespaceFrom = f.Namespace, r.d.position("namespace").String()
	if p.Namespace == "" {
		p.Namespace, p.NamespaceFrom = r.namespace(p.Manifests)
	}
	switch {
	case p.File == "" && (len(p.Services) == 0 || len(p.Manifests) == 0):
		r.add(missing(r.root))
	case len(p.Manifests) == 0 && len(r.problems) == 0 && !r.options.ManifestsOptional:
		r.add(usage("config-no-manifests", position{file: FileName},
			"name them in "+FileName+": manifests: {yaml: [FILES]} or manifests: {kustomize: FOLDER}",
			"no manifests: looked for a kustomization or Kubernetes YAML in deploy, k8s, kubernetes, kustomize and manifests"))
	}
	r.tasks()
	r.includes()
}

func (r *resolver) add(p *problem.Problem) { r.problems = append(r.problems, p) }

func (r *resolver) where(format string, args ...any) position {
	return r.d.position(fmt.Sprintf(format, args...))
}

func (r *resolver) namespace(sources []Source) (name, from string) {
	if name, from = manifestNamespace(r.root, sources); name != "" {
		return name, from
	}
	return r.p.Name, "the project's name"
}

func (r *resolver) manifests() {
	p, f := r.p, r.f
	for i, s := range f.Manifests {
		at := "manifests"
		if _, list := r.d.at["manifests[0]"]; list {
			at = fmt.Sprintf("manifests[%d]", i)
		}
		p.Manifests = append(p.Manifests, r.source(at, s)...)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Environments)) {
		e := f.Environments[name]
		at := join("environments", name)
		env := Environment{Name: name, Context: e.Context, Namespace: e.Namespace, Where: r.where("%s", at).String()}
		env.Manifests = r.environment(at, e)
		p.Environments = append(p.Environments, env)
	}
	if f.Manifests == nil {
		sources, environments := detectManifests(r.root)
		p.Manifests = sources
		for _, s := range sources {
			r.detected("manifests", s)
		}
		if f.Environments == nil {
			for _, name := range slices.Sorted(maps.Keys(environments)) {
				s := environments[name]
				p.Environments = append(p.Environments, Environment{Name: name, Manifests: []Source{s}, Where: s.Where})
				r.detected("environment "+name, s)
			}
		}
	}
	for i := range p.Environments {
		if e := &p.Environments[i]; e.Namespace == "" {
			e.Namespace, _ = r.namespace(e.Manifests)
		}
	}
}

// environment is the one source of an environment, or its list of several.
func (r *resolver) environment(at string, e environmentFile) []Source {
	one := sourceFile{Kustomize: e.Kustomize, YAML: e.YAML, Helm: e.Helm, Command: e.Command}
	if e.Manifests == nil {
		if r.kinds(at, one) == 0 && r.hasApps() {
			return nil
		}
		return r.source(at, one)
	}
	if r.kinds(at, one) > 0 {
		r.add(usage("config-value", r.where("%s.manifests", at), "put the other into the list", "%s has both manifests and a source of its own", at))
		return nil
	}
	var all []Source
	for i, s := range e.Manifests {
		below := at + ".manifests"
		if _, list := r.d.at[below+"[0]"]; list {
			below = fmt.Sprintf("%s[%d]", below, i)
		}
		all = append(all, r.source(below, s)...)
	}
	return all
}

// kinds counts the kinds of source that a source names.
func (r *resolver) kinds(at string, s sourceFile) int {
	n := 0
	_, helm := r.d.at[at+".helm"]
	_, command := r.d.at[at+".command"]
	for _, set := range []bool{s.Kustomize != "", s.YAML != nil, helm, command} {
		if set {
			n++
		}
	}
	return n
}

func (r *resolver) detected(what string, s Source) {
	from := s.Kustomize
	if from == "" {
		from = strings.Join(s.YAML, ", ")
	}
	r.p.Detected = append(r.p.Detected, what+": "+from)
}

// source checks that a source says one thing and that it is there.
func (r *resolver) source(at string, s sourceFile) []Source {
	where := r.where("%s", at)
	out := Source{Where: where.String(), YAML: cleanAll(s.YAML)}
	lack := func(p *problem.Problem) { out.Missing = append(out.Missing, p) }
	switch {
	case s.Kustomize != "" && s.YAML != nil:
		r.add(usage("config-value", where, "make it a list of two sources: their order matters", "%s has both kustomize and yaml", at))
		return nil
	case r.kinds(at, s) > 1:
		r.add(usage("config-value", where, "make it a list of sources: their order matters", "%s names several sources", at))
		return nil
	case len(s.Command.Run) > 0:
		out.Command = &Command{Run: s.Command.Run, Inputs: cleanAll(s.Command.Inputs), Env: texts(s.Command.Env)}
	case s.Helm.Chart != "":
		out.Helm = r.helm(at, s.Helm, lack)
	case s.Kustomize != "":
		out.Kustomize = path.Clean(s.Kustomize)
		where := r.where("%s.kustomize", at)
		if !isFolder(r.root, out.Kustomize) {
			hint := "give the folder, not the file"
			if !isFile(r.root, out.Kustomize) {
				hint = "check the path: it is relative to " + FileName
			}
			lack(usage("config-manifests-missing", where, hint, "no folder %s", out.Kustomize))
		} else if !hasKustomization(r.root, out.Kustomize) {
			lack(usage("config-manifests-missing", where, "name a folder that has one, or list files under yaml", "no kustomization.yaml in %s", out.Kustomize))
		}
	case len(s.YAML) > 0:
		for i, pattern := range out.YAML {
			if strings.Contains(pattern, "://") {
				continue // the decoder has seen to it that it has its hash
			}
			where := r.where("%s.yaml[%d]", at, i)
			files, err := fs.Glob(os.DirFS(r.root), pattern)
			if err != nil {
				r.add(usage("config-value", where, "write it as k8s/*.yaml", "%s is not a pattern", pattern))
			} else if len(files) == 0 {
				lack(usage("config-manifests-missing", where, "check the path: it is relative to "+FileName, "no file matches %s", pattern))
			}
		}
	default:
		if !r.troubled(at) {
			r.add(usage("config-value", where, "add kustomize: FOLDER, yaml: [FILES], helm: {chart: …} or command: {run: …}", "%s names no manifests", at))
		}
		return nil
	}
	return []Source{out}
}

// helm checks what can be checked without loading the chart.
func (r *resolver) helm(at string, f helmFile, lack func(*problem.Problem)) *Helm {
	h := &Helm{Chart: f.Chart, Version: string(f.Version), Release: f.Release, Values: cleanAll(f.Values), Set: chartValues(f.Set)}
	if h.Release == "" {
		h.Release = r.p.Name
	}
	where := r.where("%s.helm.chart", at)
	packaged := strings.Contains(h.Chart, "#sha256=") // its hash says which it is
	switch remote := strings.Contains(h.Chart, "://"); {
	case remote && h.Version == "" && !packaged:
		r.add(usage("config-value", where, "add version: 1.2.3, so that the same manifests come out tomorrow", "chart %s has no version", h.Chart))
	case remote:
	case h.Version != "":
		r.add(usage("config-value", r.where("%s.helm.version", at), "take it out: the version of a chart of the project is in its Chart.yaml", "%s has a version", h.Chart))
	default:
		h.Chart = path.Clean(h.Chart)
		if !isFile(r.root, path.Join(h.Chart, "Chart.yaml")) && !isFile(r.root, h.Chart) {
			lack(usage("config-manifests-missing", where, "name a folder with a Chart.yaml, or a package; the path is relative to "+FileName, "no chart at %s", h.Chart))
		}
	}
	for i, file := range h.Values {
		if !isFile(r.root, file) {
			lack(usage("config-manifests-missing", r.where("%s.helm.values[%d]", at, i), "check the path: it is relative to "+FileName, "no file %s", file))
		}
	}
	return h
}

func chartValues(m map[string]chartValue) map[string]any {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v.value
	}
	return out
}

// troubled says whether the decoder has already refused something of a value,
// so that what is missing because of that is not reported on top.
func (r *resolver) troubled(at string) bool {
	where := map[string]bool{}
	for path, pos := range r.d.at {
		if path == at || strings.HasPrefix(path, at+".") || strings.HasPrefix(path, at+"[") {
			where[pos.String()] = true
		}
	}
	return slices.ContainsFunc(r.d.problems, func(p *problem.Problem) bool { return where[p.Where] })
}

func cleanAll(paths []string) []string {
	var out []string
	for _, p := range paths {
		switch {
		case strings.Contains(p, "://"):
			out = append(out, p)
		case p != "":
			out = append(out, path.Clean(p))
		}
	}
	return out
}

// cycles refuses services and local work that wait for each other.
func (r *resolver) cycles() {
	done := map[string]bool{}
	var visit func(name string, trail []string, at string)
	visit = func(name string, trail []string, at string) {
		if i := slices.Index(trail, name); i >= 0 {
			chain := strings.Join(append(slices.Clone(trail[i:]), name), " -> ")
			r.add(usage("config-needs", r.where("%s", at), "take one of them out", "services wait for each other: %s", chain))
			return
		}
		if done[name] {
			return
		}
		for _, w := range r.waits(name) {
			visit(w.on, append(slices.Clone(trail), name), w.at)
		}
		done[name] = true
	}
	for _, s := range r.p.Services {
		visit(s.Name, nil, "")
	}
	for _, l := range r.p.Local {
		visit(l.Name, nil, "")
	}
}

// A waiting is what a service or local work waits for, and the place that says so.
type waiting struct{ on, at string }

func (r *resolver) waits(name string) []waiting {
	var all []waiting
	for i := range r.p.Local {
		if l := &r.p.Local[i]; l.Name == name {
			for _, n := range l.Needs {
				all = append(all, waiting{n, r.localAt(l) + ".needs"})
			}
			return all
		}
	}
	s, ok := r.p.Service(name) // else a workload of the manifests, for all that is known here
	if ok {
		for _, n := range s.Needs {
			all = append(all, waiting{n, "services." + name + ".needs"})
		}
	}
	for i := range r.p.Local {
		if l := &r.p.Local[i]; l.Run != nil && (l.Before.Deploy || l.Before.Holds(name, ok && s.Build != nil)) {
			all = append(all, waiting{l.Name, r.localAt(l) + ".before"})
		}
	}
	return all
}
