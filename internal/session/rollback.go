package session

import (
	"slices"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

// A service that was rolled back runs an image that was ready before, as it is:
// nothing is built or synced for it until it is resumed.

// rollback looks for the newest image that was ready and is not the one that runs.
func (l *loop) rollback(c Command, services []*service) (func() (string, error), error) {
	switch {
	case c.Service == "":
		return nil, refused("rollback wants the name of a service")
	case !services[0].built || services[0].ref == "" || services[0].off:
		return nil, refused("%s runs no image that kdev has built", c.Service)
	case services[0].here != nil:
		return nil, refused("%s runs on this machine, not in its image", c.Service)
	}
	name, running := services[0].Name, services[0].ref
	return func() (string, error) {
		all, err := l.s.parts.Deployer.Releases(l.ctx)
		if err != nil {
			return "", err
		}
		had := len(all[name])
		// What the store no longer has cannot be run, and without an agent nothing can be
		// synced into it afterwards.
		list := slices.DeleteFunc(all[name], func(r deploy.Release) bool {
			has, ok := build.HasAgent(l.s.parts.Store, digestOf(r.Ref))
			return !ok || !has
		})
		to, ok := deploy.Previous(list, running)
		switch {
		case !ok && had > len(list):
			return "", &problem.Problem{Class: problem.Usage, Code: "rollback-gone", Where: "service " + name, Summary: "the images of it that were ready before are no longer in the store of this machine, or have no agent of kdev",
				Hint: "check out the sources of that time; `kdev registry gc --keep N` keeps more"}
		case !ok:
			return "", &problem.Problem{Class: problem.Usage, Code: "rollback-none", Where: "service " + name, Summary: "no other image of it was ready in this namespace",
				Hint: "`kdev rollback` lists those that were"}
		}
		record, ok := build.LoadRecord(l.s.parts.Store, digestOf(to.Ref))
		if !ok {
			return "", &problem.Problem{Code: "rollback-gone", Where: to.Ref, Summary: "the image is no longer in the store of this machine",
				Hint: "check out the sources of that time; `kdev registry gc --keep N` keeps more"}
		}
		l.s.post(l.ctx, rolledBack{name, to.Ref, record})
		return "back to the image that was ready at " + to.Time.Local().Format("15:04:05") + "; `kdev resume " + l.s.called(name) + "` goes on with what is saved", nil
	}, nil
}

// rolledBack says which image of before is to run.
type rolledBack struct {
	service, ref string
	record       *build.Record
}

func (e rolledBack) apply(l *loop) {
	svc := l.byName[e.service]
	l.supersede(svc)
	if svc.files != nil {
		svc.files.cancel()
		svc.files = nil
	}
	svc.ref, svc.record, svc.outputs, svc.problem = e.ref, e.record, e.record.Outputs, nil
	l.holdImages()
	svc.back, svc.paused, svc.lastBatch = true, true, nil
	clear(svc.ahead)
	if svc.deciding {
		svc.redecide = true // what it will have found is of the tree
	}
	svc.track.end(Superseded)
	l.containersChanged(svc)
	l.applyAgain, l.pruned = true, false
	l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "rolled-back", Text: "goes back to the image from before; what is saved waits for `kdev resume " + l.s.called(svc.Name) + "`"})
}

// forth lets a service that was rolled back follow the tree again.
func (l *loop) forth(svc *service) {
	paths := svc.heldPaths()
	l.reread(svc, paths)
	svc.back, svc.saved, svc.holdsManifests = false, nil, false
	l.s.kept.drop(svc.Name)
	if svc.off || svc.plan == nil {
		return
	}
	l.containersChanged(svc)
	l.resumes(svc, paths)
	if svc.deciding {
		svc.redecide = true
		return
	}
	l.decide(svc, svc.ref)
}
