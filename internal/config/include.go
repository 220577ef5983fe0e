package config

import (
	"path"
	"path/filepath"
	"slices"

	"github.com/kdev-io/kdev/internal/checkout"
	"github.com/kdev-io/kdev/internal/problem"
)

// includes reads the projects that this one includes. Their mistakes are told with
// their own files, as seen from here.
func (r *resolver) includes() {
	if r.options.Alone {
		return
	}
	for i, dir := range r.f.Include {
		where := r.where("include[%d]", i)
		bad := func(hint, format string, args ...any) {
			r.add(usage("config-include", where, hint, format, args...))
		}
		at := filepath.Join(r.root, filepath.FromSlash(dir))
		fetched := checkout.IsAddress(dir)
		if fetched {
			var err error
			if at, err = r.checkOut(dir); err != nil {
				r.add(checkoutProblem(err, where))
				continue
			}
		}
		switch {
		case dir == "":
			continue // the decoder has said so
		case fetched && !isFile(at, FileName):
			bad("name the folder that has it: "+dir+"//FOLDER", "no %s in %s", FileName, dir)
			continue
		case fetched && slices.Contains(r.within, at):
			bad("take it out", "%s includes itself", dir)
			continue
		case fetched:
		case filepath.IsAbs(filepath.FromSlash(dir)):
			bad("write it relative to "+FileName+", as ../NAME", "%s is another path on every machine", dir)
			continue
		case at == r.root || slices.Contains(r.within, at):
			bad("take it out", "%s includes itself", path.Clean(dir))
			continue
		case !isFolder(r.root, dir):
			bad("check the path: it is relative to "+FileName, "no folder %s", dir)
			continue
		case !isFile(at, FileName):
			bad("name the folder that has it, or write one there", "no %s in %s", FileName, dir)
			continue
		}
		l := &loader{root: at, within: append(slices.Clone(r.within), r.root), options: LoadOptions{Env: r.options.Env, Version: r.options.Version, ManifestsOptional: r.options.ManifestsOptional, ManifestsLate: r.options.ManifestsLate, Fetch: r.options.Fetch}}
		p := l.load()
		for _, problem := range l.problems {
			seen := *problem
			if !filepath.IsAbs(seen.Where) {
				seen.Where = path.Join(filepath.ToSlash(dir), seen.Where)
			}
			r.add(&seen)
		}
		if p == nil || len(l.problems) > 0 {
			continue
		}
		r.p.Files = append(r.p.Files, p.Files...)
		for _, one := range append([]Included{{p, where.String()}}, p.Include...) {
			r.included(Included{one.Project, where.String()}, bad)
		}
		p.Include = nil
	}
}

// checkOut finds the folder of a project that is a commit of another repository.
func (r *resolver) checkOut(name string) (string, error) {
	a, err := checkout.Parse(name)
	if err != nil {
		return "", err
	}
	if r.options.Fetch == nil {
		return "", &problem.Problem{Class: problem.Usage, Code: "config-include", Summary: name + " is not fetched here", Hint: "name a folder: include: [../NAME]"}
	}
	return r.options.Fetch(a)
}

// checkoutProblem is what went wrong with a repository, at its place.
func checkoutProblem(err error, where position) *problem.Problem {
	if p := problem.As(err); p != nil {
		at := *p
		at.Where = where.String()
		return &at
	}
	return &problem.Problem{Code: "checkout-failed", Where: where.String(), Summary: "the project cannot be fetched", Err: err}
}

// included adds one project, once: two that include the same third one share it.
func (r *resolver) included(one Included, bad func(hint, format string, args ...any)) {
	p := one.Project
	for _, other := range append([]Included{{Project: r.p}}, r.p.Include...) {
		o := other.Project
		switch {
		case o.Root == p.Root:
			return
		case o.Name == p.Name:
			bad("give one of them another name: name: NAME", "%s and %s are both called %s", r.name(o.Root), r.name(p.Root), p.Name)
			return
		case o.Namespace == p.Namespace:
			bad("give one of them a namespace of its own: namespace: NAME", "%s and %s are both in namespace %s", o.Name, p.Name, p.Namespace)
			return
		}
	}
	r.p.Include = append(r.p.Include, one)
}
