package session

import (
	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/config"
)

// SpecOf is the build of a service that has one, for the platform of this machine.
func SpecOf(p *config.Project, cs config.Service) build.Spec {
	spec := ownSpec(p, cs)
	for _, s := range p.Services {
		if s.Build != nil {
			spec.Siblings = append(spec.Siblings, build.Sibling{Image: s.Image, Spec: ownSpec(p, s)})
		}
	}
	return spec
}

// ownSpec is the build as if it were the only one of the project.
func ownSpec(p *config.Project, cs config.Service) build.Spec {
	b := cs.Build
	spec := build.Spec{
		Project: p.Name, Service: cs.Name, Root: p.Root, Context: b.Context,
		Dockerfile: b.Dockerfile, Target: b.Target, Args: b.Args, Image: b.Image, Places: b.Places,
		Options: engine.Options{SSH: b.SSH, SSHWhere: b.Places["ssh"], CacheFrom: b.CacheFrom, CacheTo: b.CacheTo, Network: b.Network, Hosts: b.ExtraHosts},
	}
	for id, s := range b.Secrets {
		if spec.Options.Secrets == nil {
			spec.Options.Secrets = map[string]engine.Secret{}
		}
		spec.Options.Secrets[id] = engine.Secret{File: s.File, Env: s.Env, Where: b.Places["secrets."+id]}
	}
	if g := b.Go; g != nil {
		spec.Go = &build.Go{Main: g.Main, Flags: g.Flags, Env: g.Env, Base: g.Base}
	}
	if c := b.Command; c != nil {
		spec.Command = &build.Command{
			Run: c.Run, Inputs: c.Inputs, Env: c.Env, Output: c.Output, To: c.To, Base: c.Base, Entrypoint: c.Entrypoint, Name: c.Image,
		}
	}
	return spec
}

// Bases are the services whose images others of the project are made from: no
// manifest has to name them.
func Bases(p *config.Project) map[string]bool {
	bases := map[string]bool{}
	for _, cs := range p.Services {
		if cs.Build == nil {
			continue
		}
		recipe, err := build.Load(SpecOf(p, cs))
		if err != nil {
			continue // the build says why
		}
		for _, above := range build.Parents(recipe) {
			bases[above.Spec.Service] = true
		}
	}
	return bases
}
