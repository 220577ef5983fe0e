package session

import (
	"slices"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

// programsSeen is what a look into the images of changed workloads has found.
type programsSeen struct{ doubts []*problem.Problem }

func (e programsSeen) apply(l *loop) {
	now := map[string]bool{}
	for _, p := range e.doubts {
		now[p.Error()] = true
		if !l.toldPrograms[p.Error()] {
			l.s.tell(Notice{Level: Warn, Code: p.Code, Text: "will not start", Problem: p})
		}
	}
	l.toldPrograms = now
}

// lookForPrograms looks into the images of what an apply has written, whether the programs
// are there that its containers are to run.
func (l *loop) lookForPrograms(objects []*deploy.Object, applied *deploy.Applied) {
	if l.s.parts.Store == nil || l.s.parts.Deployer == nil {
		return
	}
	written := slices.Concat(applied.Created, applied.Changed, applied.Recreated)
	var changed []*deploy.Object
	for _, o := range objects {
		if deploy.IsWorkload(o) && slices.Contains(written, deploy.RefOf(o).String()) {
			changed = append(changed, o)
		}
	}
	if len(changed) == 0 {
		return
	}
	ahead := map[string]bool{} // images in whose containers kdev puts what they lack
	for _, svc := range l.services {
		if svc.built && len(svc.ahead) > 0 {
			ahead[svc.ref] = true
		}
	}
	view := func(ref string) (*deploy.ImageView, bool) {
		if ahead[ref] {
			return nil, false
		}
		return l.s.viewImage(ref)
	}
	l.work.Go(func() {
		l.s.post(l.ctx, programsSeen{l.s.parts.Deployer.Programs(changed, build.AgentCommand(), view)})
	})
}

// viewImage looks into an image that is in the store with all its layers.
func (s *Session) viewImage(ref string) (*deploy.ImageView, bool) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, false
	}
	digest := digestOf(ref)
	if digest == "" {
		e, err := s.parts.Store.Resolve(registry.MirrorRepository(parsed.Context().RegistryStr(), parsed.Context().RepositoryStr()), parsed.Identifier())
		if err != nil {
			return nil, false
		}
		digest = string(e.Digest)
	}
	image, err := s.parts.Store.Image(parsed.Context().RepositoryStr(), digest)
	if err != nil {
		return nil, false
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, false
	}
	tree, err := assemble.Look(s.parts.Store, &s.trees, digest)
	if err != nil {
		return nil, false // its layers are where the nodes pull from
	}
	c := config.Config
	return &deploy.ImageView{Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, Has: tree.Has}, true
}
