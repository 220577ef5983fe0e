package session

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

// images lists our services' images for injection.
func (l *loop) images() []deploy.Image {
	var images []deploy.Image
	for _, svc := range l.services {
		if !svc.built {
			continue
		}
		images = append(images, InDev(deploy.Image{Service: svc.Name, Repository: svc.Image, Ref: svc.ref}, svc.Service))
	}
	return images
}

// InDev adds to a service's image what the dev image needs of the pods that run it.
func InDev(im deploy.Image, s config.Service) deploy.Image {
	im.Prefix, im.Volumes, im.Restarts = build.AgentCommand(), volumes(s.Sync), restartsInPlace(s)
	return im
}

// restartsInPlace says whether the process of s may be away while its container
// stays: a save restarts it, or another one stands in for it.
func restartsInPlace(s config.Service) bool {
	if b := s.Build; b != nil && (b.Go != nil || b.Command != nil && b.Command.Output != "" && len(s.OnSync) == 0) {
		return true // what is compiled is started again
	}
	return s.StandIn != nil || slices.ContainsFunc(s.OnSync, func(r config.OnSync) bool { return r.Restart && !r.Container })
}

// volumes are the folders over which the rules want a writable copy mounted.
func volumes(sync config.Sync) []string {
	var dirs []string
	for _, rule := range sync.Rules {
		if dir := path.Clean(rule.To); rule.Volume && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// findUses learns from the manifests which workloads belong to which service.
// A workload whose images kdev does not build is a service of its own.
func (l *loop) findUses() {
	injection := deploy.Inject(deploy.Copy(l.objects), l.images())
	taken := map[deploy.Ref]bool{}
	for _, svc := range l.services {
		svc.workloads = nil
		for _, use := range injection.Uses[svc.Name] {
			taken[use.Object] = true
			svc.workloads = appendNew(svc.workloads, use.Object)
		}
	}
	bases := Bases(l.s.opts.Project)
	for _, name := range injection.Unused {
		if bases[name] {
			continue
		}
		l.s.tell(Notice{Level: Warn, Service: name, Code: "image-unused", Text: "no manifest uses its image: it is built for nothing"})
	}
	for _, look := range injection.Lookalikes {
		l.s.tell(Notice{Level: Warn, Code: "image-lookalike", Text: look})
	}
	for _, text := range deploy.Forgotten(l.objects, l.s.opts.Project.Unlisted, l.images()) {
		l.s.tell(Notice{Level: Warn, Code: "service-unlisted", Text: text})
	}
	for _, o := range l.objects {
		ref := deploy.RefOf(o)
		if !deploy.IsWorkload(o) || taken[ref] {
			continue
		}
		svc, ok := l.byName[ref.Name]
		if !ok {
			svc = l.newService(config.Service{Name: ref.Name})
		}
		svc.workloads = appendNew(svc.workloads, ref)
	}
	for _, svc := range l.services {
		l.findNothing(svc)
	}
}

// findNothing tells of a service that kdev.yaml lists and of which there is nothing: no
// folder, and no object of that name.
func (l *loop) findNothing(svc *service) {
	const code = "service-nowhere"
	nothing := svc.Where != "" && svc.local == nil && svc.here == nil && !svc.built && len(svc.workloads) == 0 &&
		!slices.ContainsFunc(l.objects, func(o *deploy.Object) bool { return o.GetName() == svc.Name })
	was := svc.problem != nil && svc.problem.Code == code
	switch {
	case nothing && !was:
		others := slices.DeleteFunc(slices.Collect(maps.Keys(l.byName)), func(name string) bool { return name == svc.Name })
		svc.problem = &problem.Problem{Class: problem.Usage, Code: code, Where: svc.Where, Hint: config.DidYouMean(svc.Name, slices.Sorted(slices.Values(others)), "`services` names folders with a Dockerfile, and workloads of the manifests"),
			Summary: fmt.Sprintf("there is no folder %s and no workload of that name", svc.Name)}
		l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: code, Text: "is nowhere", Problem: svc.problem})
	case !nothing && was:
		svc.problem = nil
	}
}

func appendNew(refs []deploy.Ref, ref deploy.Ref) []deploy.Ref {
	for _, r := range refs {
		if r == ref {
			return refs
		}
	}
	return append(refs, ref)
}

// provided says that the images of others are where the nodes find them.
type provided struct {
	pull    deploy.PullSecret
	unasked error // why pull is not known
	err     error
	took    time.Duration
}

// provide looks for images of others that the manifests name.
func (l *loop) provide() {
	ours := l.images()
	var refs []string
	for _, ref := range deploy.ImageRefs(l.objects) {
		if !slices.ContainsFunc(ours, func(im deploy.Image) bool { return im.Matches(ref) }) {
			refs = append(refs, ref)
		}
	}
	if l.providing {
		l.provideAgain = true // the manifests may name others since
		return
	}
	if l.provideAgain = false; len(refs) == 0 {
		return
	}
	l.providing = true
	l.work.Go(func() {
		start := time.Now()
		e := provided{}
		var logins sync.WaitGroup
		if ask := l.s.parts.Logins; ask != nil {
			logins.Go(func() { e.pull, e.unasked = ask(l.ctx, refs) })
		}
		e.err = l.s.parts.Provide(l.ctx, refs, func(text string) {
			l.s.post(l.ctx, notice{Notice{Level: Info, Code: "image-copying", Text: text}})
		})
		logins.Wait()
		e.took = time.Since(start)
		l.s.post(l.ctx, e)
	})
}

func (e provided) apply(l *loop) {
	l.providing = false
	if l.provideAgain {
		l.provide()
	}
	if e.unasked == nil {
		l.pull = e.pull // else what was found before holds: pods are not replaced for a locked key
	} else if l.ctx.Err() == nil {
		l.s.tell(Notice{Level: Warn, Code: "logins-unread", Text: "private images of others may not be pulled", Problem: asProblem(e.unasked, "logins-unread", "")})
	}
	if e.err != nil {
		// Not fatal: the nodes may be able to pull them. If not, the rollout says so.
		l.s.tell(Notice{Level: Warn, Code: "image-copy-failed", Text: "images of this machine could not be handed to the cluster", Problem: asProblem(e.err, "image-copy-failed", "")})
	}
}

// deployable are the objects as they are applied: with our images, and a Secret
// for private ones of others.
func (l *loop) deployable() []*deploy.Object {
	objects := deploy.Copy(l.objects)
	deploy.Inject(objects, l.images())
	return deploy.AddPullSecret(objects, l.s.opts.Project.Namespace, l.pull)
}

// awaited names a service or generator that svc waits for, for its first start
// only: what runs is never held back.
func (l *loop) awaited(svc *service) string {
	if svc.admitted {
		return ""
	}
	for _, name := range svc.Needs {
		other, ok := l.s.State().Service(name)
		switch {
		case ok && other.Ignored: // by wish
		case ok && !slices.Contains([]Phase{Ready, Syncing, Paused, Sleeping}, other.Phase): // the last two by wish
			return name
		case !ok && (l.objects == nil || l.byName[name] != nil):
			return name // it may come with the manifests, or has come and nobody has looked yet
		}
	}
	if !svc.built { // else its image waits
		return l.generator(svc)
	}
	return ""
}

// admit asks for another apply when a service that was held back may start.
func (l *loop) admit() {
	for _, svc := range l.services {
		if svc.local == nil && !svc.admitted && !svc.off && (!svc.built || svc.ref != "") && l.awaited(svc) == "" {
			l.applyAgain = true
		}
	}
}

// applyDone is the end of one Apply.
type applyDone struct {
	objects []*deploy.Object
	applied *deploy.Applied
	doubts  []*problem.Problem // about what pods read
	whole   bool               // every object was among them
	took    time.Duration
	err     error
}

// apply writes every object whose images are known. Services that are still
// being built for the first time come later and hold up nobody.
func (l *loop) apply() {
	l.applyAgain = false
	unknown := map[deploy.Ref]bool{} // or kept back
	kept := 0
	for _, svc := range l.services {
		if svc.local != nil {
			continue
		}
		for _, ref := range svc.workloads {
			if svc.leaves(ref) && !unknown[ref] {
				unknown[ref] = true
				kept++
			}
		}
		if svc.off || svc.keeps() && svc.holdsManifests {
			continue
		}
		if (!svc.built || svc.ref != "") && l.awaited(svc) == "" {
			svc.admitted = true
			continue
		}
		for _, ref := range svc.workloads {
			unknown[ref] = true
		}
	}
	objects := l.deployable()
	var now []*deploy.Object
	for _, o := range objects {
		if !unknown[deploy.RefOf(o)] {
			now = append(now, o)
		}
	}
	if len(now) == 0 {
		return
	}
	l.applying = true
	whole := len(now)+kept == len(objects)
	l.work.Go(func() {
		start := time.Now()
		d := l.s.parts.Deployer
		doubts, err := d.Missing(l.ctx, now, l.s.opts.Project.Manifests)
		if err != nil {
			l.s.post(l.ctx, applyDone{now, nil, doubts, whole, time.Since(start), err})
			return
		}
		d.Tell(func(text string) { l.s.post(l.ctx, applyWaiting{text}) })
		applied, err := d.Apply(l.ctx, now)
		took := time.Since(start)
		if err == nil {
			// Before anything is called ready, what says so itself has to be seen.
			err = d.Follow(l.ctx, l.s.parts.Live, now)
		}
		l.s.post(l.ctx, applyDone{now, applied, doubts, whole, took, err})
	})
}

// leaves says whether an apply lets a workload of svc be as it is. A Job of a service that
// was rolled back has run, a migration most likely, and does not run again with an image of
// before.
func (svc *service) leaves(ref deploy.Ref) bool {
	return svc.off || svc.keeps() && svc.holdsManifests || svc.back && ref.Kind == "Job"
}

// applyWaiting is what an apply waits for: a hook, the API server, what is still going.
type applyWaiting struct{ text string }

func (e applyWaiting) apply(l *loop) {
	l.applyWaits = e.text
	l.s.tell(Notice{Level: Info, Code: "progress", Text: e.text})
}

func (e applyDone) apply(l *loop) {
	l.applying, l.applyWaits = false, ""
	l.deployed = true
	l.tellDoubts(e.doubts)
	l.taken = hasCode(e.err, "object-taken")
	for _, svc := range l.services {
		l.containersChanged(svc)
	}
	if e.applied != nil {
		for _, line := range e.applied.Anew {
			l.s.tell(Notice{Level: Info, Code: "recreated", Text: line})
		}
		for _, line := range e.applied.Rolled {
			l.s.tell(Notice{Level: Info, Code: "data-changed", Text: line})
		}
		l.renewing(e.applied.Renewals)
	}
	if e.err != nil {
		l.applyErr = asProblem(e.err, "apply-failed", "")
		l.s.tell(Notice{Level: Fail, Code: "apply-failed", Text: "applying the manifests failed", Took: Millis(e.took), Problem: l.applyErr})
		return
	}
	l.applyErr = nil
	l.lookForPrograms(e.objects, e.applied)
	for _, o := range e.objects {
		l.took[deploy.RefOf(o)] = true
	}
	for _, note := range e.applied.Notes {
		if !slices.Contains(l.notes, note) { // what stays as it is, is told once
			l.s.tell(Notice{Level: Info, Code: "apply-note", Text: note})
		}
	}
	l.notes = e.applied.Notes
	l.acknowledge(e.applied)
	if e.whole {
		l.applied = true
	}
	if n := len(e.applied.Created) + len(e.applied.Changed) + len(e.applied.Recreated); n > 0 {
		l.s.tell(Notice{Level: Done, Code: "applied", Text: fmt.Sprintf("applied %s (%s)", counted(n, "object"), e.applied.Counts()), Took: Millis(e.took)})
	} else if e.whole {
		l.s.tell(Notice{Level: Done, Code: "applied", Text: counted(len(e.applied.Unchanged), "object") + " unchanged", Took: Millis(e.took)})
	}
}

// acknowledge notes for each service what the API server has taken.
func (l *loop) acknowledge(a *deploy.Applied) {
	now := time.Now()
	written := map[string]bool{}
	for _, list := range [][]string{a.Created, a.Changed, a.Recreated} {
		for _, label := range list {
			written[label] = true
		}
	}
	for _, svc := range l.services {
		touched := slices.ContainsFunc(svc.workloads, func(r deploy.Ref) bool { return written[r.String()] })
		if c := svc.track.under(ActBuild); c != nil && !c.Made.IsZero() {
			c.Acknowledged = now
			if !touched {
				svc.track.end(Nothing) // the image that runs already
			}
		}
		if l.deploying != nil && !l.deploying.Made.IsZero() && touched && svc.track.under(ActBuild) == nil {
			c := svc.track.begin(*l.deploying)
			c.Acknowledged = now
		}
	}
	if l.deploying != nil && !l.deploying.Made.IsZero() {
		l.deploying = nil
	}
}

// pruneLimit bounds a Prune: it asks for removals and waits for none of them.
const pruneLimit = 2 * time.Minute

// pruneDone is the end of one Prune.
type pruneDone struct {
	removed []string
	going   []deploy.Kept
	volumes []string
	err     error
}

// prune removes what left the manifests, once the rollout that replaced it is
// ready.
func (l *loop) prune() {
	if !l.applied {
		return
	}
	l.pruned = true
	if len(l.unwatched) > 0 {
		l.s.tell(Notice{Level: Warn, Code: "unwatched", Text: strings.Join(l.unwatched, "; ") + "; so nothing that left the manifests is removed"})
		return
	}
	l.pruning = true
	objects := l.deployable()
	images := map[string]string{}
	for _, svc := range l.services {
		if svc.built && svc.ref != "" {
			images[svc.Name] = svc.ref
		}
	}
	l.work.Go(func() {
		ctx, cancel := context.WithTimeout(l.ctx, pruneLimit)
		defer cancel()
		pruned, err := l.s.parts.Deployer.PruneReport(ctx, objects)
		if pruned == nil {
			pruned = &deploy.Pruned{}
		}
		if err == nil {
			err = l.s.parts.Deployer.Record(ctx, images) // for kdev rollback
		}
		l.s.post(l.ctx, pruneDone{pruned.Removed, pruned.Going, pruned.Volumes, err})
	})
}

func (e pruneDone) apply(l *loop) {
	l.pruning = false
	if len(e.volumes) > 0 {
		l.s.tell(Notice{Level: Info, Code: "volumes-kept", Text: KeptVolumes(e.volumes)})
	}
	if e.err != nil {
		l.s.tell(Notice{Level: Warn, Code: "prune-failed", Text: "what left the manifests could not be removed", Problem: asProblem(e.err, "prune-failed", "")})
		return
	}
	for _, what := range e.removed {
		l.s.tell(Notice{Level: Done, Code: "pruned", Text: "removed " + what + ": it left the manifests"})
	}
	for _, g := range e.going {
		l.s.tell(Notice{Level: Info, Code: "going", Text: g.Object + " left the manifests and is not gone yet: " + g.Why})
	}
}

// hasCode says whether one of the errors that err joins is a problem with this code.
func hasCode(err error, code string) bool {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(list.Unwrap(), func(e error) bool { return hasCode(e, code) })
	}
	p := problem.As(err)
	return p != nil && p.Code == code
}

// blocked returns what keeps the whole project from being applied.
func (l *loop) blocked() *problem.Problem {
	if l.rendered != nil {
		return l.rendered
	}
	return l.applyErr
}
