package session

import (
	"slices"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

// Ignored says whether nothing waits for an object: a service with `ready: ignore` has
// its name or runs by it. owner finds the service that a workload belongs to.
func Ignored(p *config.Project, ref deploy.Ref, owner string) bool {
	return slices.ContainsFunc(p.Services, func(s config.Service) bool {
		return s.IgnoreReady && (s.Name == ref.Name || s.Name == owner)
	})
}

// ObjectsOf are the snapshots of the objects without pods.
func ObjectsOf(p *config.Project, statuses []deploy.ObjectStatus) []Object {
	all := make([]Object, 0, len(statuses))
	for _, s := range statuses {
		all = append(all, Object{Kind: s.Kind, Name: s.Name, Ready: s.Ready, Ignored: Ignored(p, s.Ref, ""), Waiting: s.Waiting, Note: s.Note, Problem: s.Problem})
	}
	return all
}

// objectsReady says whether nothing of them is to be waited for.
func objectsReady(all []Object) bool {
	return !slices.ContainsFunc(all, func(o Object) bool { return !o.Ready && !o.Ignored })
}

// seeObjects looks at the objects without pods. services are the snapshots of this look.
func (l *loop) seeObjects(services []Service) []Object {
	if l.objects == nil || l.s.opts.Attach || !l.deployed {
		return nil
	}
	statuses := slices.DeleteFunc(l.s.parts.Deployer.Objects(l.s.parts.Live, l.objects), func(s deploy.ObjectStatus) bool {
		return !s.Ready && keptBack(l.services, s.Ref) // that it is not there, or is as it was, is by wish
	})
	views := ObjectsOf(l.s.opts.Project, statuses)
	for i := range views {
		if views[i].Note == "" {
			continue
		}
		if url := urlOf(services, statuses[i].Selects); url != "" {
			views[i].Note += "; it answers at " + url
		}
	}
	return views
}

// keptBack says whether an object is not applied because a service whose image it names is
// stopped, or waits for a person.
func keptBack(services []*service, ref deploy.Ref) bool {
	return slices.ContainsFunc(services, func(svc *service) bool {
		return (svc.off || svc.keeps() && svc.holdsManifests) && slices.Contains(svc.workloads, ref)
	})
}

// urlOf is where a browser finds what a Service sends to, "" where that is nowhere.
func urlOf(services []Service, workloads []deploy.Ref) string {
	for i := range services {
		s := &services[i]
		if len(s.URLs) > 0 && slices.ContainsFunc(s.Workloads, func(r Rollout) bool {
			return slices.Contains(workloads, deploy.Ref{Kind: r.Kind, Name: r.Name})
		}) {
			return s.URLs[0]
		}
	}
	return ""
}

// tellObjects tells once what is wrong with an object without pods, and, when all else
// is done, what is worth knowing of it.
func (l *loop) tellObjects(all []Object, ready bool) {
	now := map[string]bool{}
	once := func(key string, n Notice) {
		now[key] = true
		if !l.toldObjects[key] {
			l.s.tell(n)
		}
	}
	for i := range all {
		o := &all[i]
		switch key := o.String() + " "; {
		case o.Problem != nil && o.Ready:
			once(key+o.Problem.Error(), Notice{Level: Warn, Code: o.Problem.Code, Text: o.String() + " looks wrong", Problem: o.Problem})
		case o.Problem != nil:
			once(key+o.Problem.Error(), Notice{Level: Fail, Code: "rollout-failed", Text: o.String() + " is not getting ready", Problem: o.Problem})
		case o.Note != "" && (ready || l.toldObjects[key+"note"]):
			once(key+"note", Notice{Level: Info, Code: "object-note", Text: o.String() + ": " + o.Note})
		}
	}
	l.toldObjects = now
}

// tellDoubts tells once what pods read and nobody has made yet.
func (l *loop) tellDoubts(doubts []*problem.Problem) {
	now := map[string]bool{}
	for _, p := range doubts {
		now[p.Error()] = true
		if !l.toldDoubts[p.Error()] {
			l.s.tell(Notice{Level: Warn, Code: p.Code, Text: "something that pods read is missing", Problem: p})
		}
	}
	l.toldDoubts = now
}
