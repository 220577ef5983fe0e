package session

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
)

// What a person keeps back: a service that is paused or has `trigger: manual`
// gathers the names of what is saved, one with `start: manual` is not started.
// Only names are kept: what is to be done follows from the tree when it is let go.

// keeps says whether what is saved for svc waits for a person.
func (svc *service) keeps() bool { return svc.paused || svc.Manual }

// hold notes a saved path for later.
func (svc *service) hold(path string) {
	if svc.saved == nil {
		svc.saved = map[string]bool{}
	}
	svc.saved[path] = true
}

// pause keeps back what is saved from now on. It has begun when what runs was
// put aside for pods that are yet to start.
func (l *loop) pause(who string, services []*service) func() (string, error) {
	var reading []<-chan struct{}
	for _, svc := range services {
		fresh := !svc.keeps()
		svc.paused = true
		if fresh && svc.files != nil {
			l.desire(svc)
			reading = append(reading, svc.files.read)
		}
	}
	return func() (string, error) {
		for _, read := range reading {
			select {
			case <-read:
			case <-l.ctx.Done():
				return "", over
			}
		}
		return who + " is paused: what is saved waits", nil
	}
}

// release does what the saved paths ask for.
func (l *loop) release(svc *service) {
	if len(svc.saved) == 0 {
		return
	}
	paths := slices.Sorted(maps.Keys(svc.saved))
	svc.saved = nil
	if svc.holdsManifests {
		svc.holdsManifests = false
		l.applyAgain, l.pruned = true, false
	}
	if u := svc.unit(); u != nil && !svc.off {
		if svc.here == nil || u.asked { // else it is started as soon as its environment is known
			l.runLocal(svc, Change{Paths: paths, Saved: time.Now()})
		}
		return
	}
	if !svc.built || svc.off {
		return
	}
	l.reread(svc, paths)
	if svc.plan == nil {
		return
	}
	l.supersede(svc)
	l.resumes(svc, paths)
	switch {
	case svc.ref == "":
		svc.dirty = paths[0] + " changed"
	case svc.deciding:
		svc.redecide = true
	default:
		l.decide(svc, svc.ref) // keeps the image and syncs the tree, or builds
	}
}

// resumes begins to follow what was saved while svc was kept back, from now on: the time
// that it was kept back is none that it took.
func (l *loop) resumes(svc *service, paths []string) {
	l.generation++
	svc.track.begin(Change{Action: ActBuild, Generation: l.generation, Paths: paths, Saved: time.Now()}).resumed = true
}

// reread reads the recipe of svc anew where one of the paths is of it.
func (l *loop) reread(svc *service, paths []string) {
	for _, path := range paths {
		if a := svc.inherits(path); l.isRecipe(svc, path) || a != nil && a.decides(path) {
			svc.loadPlan()
			return
		}
	}
}

// start lets a service start that was stopped.
func (l *loop) start(svc *service) {
	if !svc.off {
		return
	}
	svc.off = false
	for _, name := range svc.Needs {
		if other := l.byName[name]; other != nil {
			l.start(other)
		}
	}
	if svc.local != nil {
		return // settle starts it
	}
	l.applyAgain = true
	if svc.built && svc.ref == "" && svc.plan != nil && !svc.deciding && l.objects != nil {
		svc.undecided, svc.live = true, ""
	}
}

// freeze marks the services that are kept back and whose workloads are not
// rendered as they were.
func (l *loop) freeze(was []*deploy.Object) {
	before := map[deploy.Ref]*deploy.Object{}
	for _, o := range was {
		before[deploy.RefOf(o)] = o
	}
	for _, svc := range l.services {
		if !svc.keeps() || !svc.admitted || was == nil {
			continue
		}
		for _, o := range l.objects {
			ref := deploy.RefOf(o)
			if !slices.Contains(svc.workloads, ref) || before[ref] != nil && reflect.DeepEqual(before[ref].Object, o.Object) {
				continue
			}
			svc.holdsManifests = true
			if l.deploying != nil {
				svc.hold(l.deploying.Paths[0])
			}
		}
	}
}

// choose says for each service whether it is part of the session: all of them,
// or those that were named and what these need.
func (l *loop) choose() error {
	named := l.s.opts.Services
	if l.before != nil {
		named = l.known(named)
	}
	for _, name := range named {
		if l.byName[name] == nil {
			return l.unknown(name)
		}
	}
	wanted := l.wanted(named)
	for _, svc := range l.services {
		if svc.placed {
			continue
		}
		svc.placed = true // once: what is started later stays so
		switch {
		case len(named) > 0:
			svc.off = !wanted[svc.Name]
		case svc.StartManual:
			svc.off = !l.runsAlready(svc)
		}
	}
	for _, svc := range l.services {
		if !svc.off {
			for _, name := range svc.Needs {
				if other := l.byName[name]; other != nil && other.off {
					l.start(other)
				}
			}
		}
	}
	return nil
}

// wanted are services, what they need, and the generators that run before them.
func (l *loop) wanted(named []string) map[string]bool {
	all := map[string]bool{}
	var take func(name string)
	take = func(name string) {
		if all[name] {
			return
		}
		all[name] = true
		svc := l.byName[name]
		if svc == nil { // it may come with the manifests
			svc = &service{Service: config.Service{Name: name}}
		}
		for _, n := range svc.Needs {
			take(n)
		}
		for _, g := range l.services {
			if g.holds(svc) && !g.StartManual {
				take(g.Name)
			}
		}
	}
	for _, name := range named {
		take(name)
	}
	return all
}

// heldPaths are those that were saved while svc was kept back.
func (svc *service) heldPaths() []string { return slices.Sorted(maps.Keys(svc.saved)) }

// runsAlready says whether the cluster has a workload of svc from before.
func (l *loop) runsAlready(svc *service) bool {
	return slices.ContainsFunc(svc.workloads, func(r deploy.Ref) bool {
		_, there := l.s.parts.Live.Get(r.Kind, l.s.opts.Project.Namespace+"/"+r.Name)
		return there
	})
}
