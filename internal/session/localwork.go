package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/local"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/watch"
)

// addLocal makes services of the project's local work. whole is the session's
// context: what runs goes on when this loop ends.
func (l *loop) addLocal(whole context.Context) {
	if l.s.opts.Attach {
		return // it was somebody else who brought the project up
	}
	var units []*unit
	for _, c := range l.s.opts.Project.Local {
		u := l.s.take(whole, c)
		units = append(units, u)
		svc := l.newService(config.Service{Name: c.Name, Where: c.Where, Needs: c.Needs, Manual: c.Manual, StartManual: c.ByHand})
		svc.local, svc.admitted = u, u.asked
	}
	for _, c := range l.s.opts.Project.Services {
		if c.StandIn != nil {
			u := l.s.takeStandIn(whole, c.StandIn)
			units = append(units, u)
			l.byName[c.Name].here = u
		}
	}
	l.s.locals.retain(units)
}

// placeLocal says which local work is part of the session, before anything is
// rendered: generators may come before that.
func (l *loop) placeLocal() {
	// A workload of the manifests is known behind the render only. A name that is gone
	// from the configuration counts no more.
	named := slices.DeleteFunc(slices.Clone(l.s.opts.Services), func(name string) bool {
		return l.before != nil && l.byName[name] == nil && l.before[name] == nil
	})
	wanted := l.wanted(named)
	for _, svc := range l.services {
		if svc.local != nil && !svc.placed {
			svc.placed = true
			svc.off = svc.StartManual && !slices.Contains(named, svc.Name) || len(named) > 0 && !wanted[svc.Name]
		}
	}
	for _, svc := range l.services { // what services need is started when they are known
		if svc.local == nil || svc.off {
			continue
		}
		for _, name := range svc.Needs {
			if other := l.byName[name]; other != nil && other.local != nil && other.off {
				l.start(other)
			}
		}
	}
}

// ordered are the services as a State has them: those on this machine last.
func (l *loop) ordered() []*service {
	var cluster, here []*service
	for _, svc := range l.services {
		if svc.local != nil {
			here = append(here, svc)
		} else {
			cluster = append(cluster, svc)
		}
	}
	return append(cluster, here...)
}

// holds says whether svc is a generator for which other waits at the start.
func (svc *service) holds(other *service) bool {
	u := svc.local
	return u != nil && u.generates() && other.local == nil && (u.Before.Deploy || u.Before.Holds(other.Name, other.built))
}

// generator names a generator that has to succeed before svc is built, or started
// for the first time.
func (l *loop) generator(svc *service) string {
	if svc.local != nil {
		return ""
	}
	for _, g := range l.services {
		if u := g.local; u != nil && !g.off && u.generates() && u.Before.Holds(svc.Name, svc.built) && u.work.Status().Phase != local.Ready {
			return g.Name
		}
	}
	if l.objects == nil {
		return l.generatesManifests()
	}
	return ""
}

// generatesManifests names a generator that has to succeed before the manifests
// are rendered.
func (l *loop) generatesManifests() string {
	for _, g := range l.services {
		if u := g.local; u != nil && !g.off && u.generates() && u.Before.Deploy && u.work.Status().Phase != local.Ready {
			return g.Name
		}
	}
	return ""
}

// nameTaken refuses manifests with a workload that has the name of local work: one
// of the two could not be told, nor asked for anything.
func (l *loop) nameTaken(objects []*deploy.Object) *problem.Problem {
	for _, o := range objects {
		ref := deploy.RefOf(o)
		if svc := l.byName[ref.Name]; svc != nil && svc.local != nil && deploy.IsWorkload(o) {
			return &problem.Problem{Class: problem.Usage, Code: "local-name", Where: svc.Where,
				Summary: fmt.Sprintf("%s is also the name of %s in the manifests", svc.Name, ref), Hint: "give the local work another name: name: NAME"}
		}
	}
	return nil
}

// tellUnknown tells of names that nothing has, which nothing will wait for.
func (l *loop) tellUnknown() {
	known := slices.Collect(maps.Keys(l.byName))
	for _, svc := range l.services {
		names := svc.Needs
		if svc.local != nil {
			names = slices.Concat(names, svc.local.Before.Services)
		}
		for _, name := range names {
			if l.byName[name] == nil {
				l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "needs-unknown", Text: UnknownNeed(svc.Name, name, known)})
			}
		}
	}
}

// UnknownNeed says that a service names, under `needs`, what nothing has. known are the
// names that there are, in any order.
func UnknownNeed(service, name string, known []string) string {
	known = slices.Concat(known, config.StoreKinds())
	slices.Sort(known)
	text := fmt.Sprintf("%s names %s, which is no service, no workload of the manifests and no local work: nothing waits for it", service, name)
	if hint := config.DidYouMean(name, known, ""); hint != "" {
		text += "; " + hint
	}
	return text
}

// startLocal starts the local work whose turn has come, and what waits for it, and
// says whether there was any.
func (l *loop) startLocal() (any bool) {
	for _, svc := range l.services {
		if u := svc.local; u != nil && !svc.off && !u.asked && l.awaited(svc) == "" {
			svc.admitted, any = true, true
			l.runLocal(svc, Change{Saved: time.Now()})
		}
	}
	if l.unrendered && l.generatesManifests() == "" {
		l.render()
		any = true
	}
	return any
}

// runLocal runs a generator, or starts a server, in place of what runs.
func (l *loop) runLocal(svc *service, c Change) {
	u := svc.unit()
	text := "starting: "
	c.Action = ActRestart
	if u.generates() {
		text, c.Action = "running: ", ActRun
	}
	text += u.Command
	if len(c.Paths) > 0 {
		text += " (" + c.Paths[0] + " changed)"
	}
	u.asked = true
	svc.track.begin(c)
	u.work.Ask()
	l.s.tell(Notice{Level: Info, Service: svc.Name, Code: "local-started", Text: text})
}

// localChanged runs again what a batch of changed files concerns.
func (l *loop) localChanged(batch watch.Batch) {
	for _, svc := range l.services {
		u := svc.unit()
		if u == nil || svc.off {
			continue
		}
		at := map[string]changing{}
		var paths []string
		for _, c := range batch.Changes {
			if c.Entry.IsDir() || !u.Concerns(c.Path) {
				continue
			}
			paths = append(paths, c.Path)
			at[c.Path] = changing{at: batch.Time, seen: true}
			if c.Op != watch.Remove {
				at[c.Path] = changing{at: time.Unix(0, c.Entry.MTime)}
			}
		}
		if len(paths) > 0 {
			l.concernsLocal(svc, paths, at, batch)
		}
	}
}

func (l *loop) concernsLocal(svc *service, paths []string, at map[string]changing, batch watch.Batch) {
	u := svc.unit()
	switch {
	case svc.keeps():
		for _, path := range paths {
			svc.hold(path)
		}
		return
	case !u.asked:
		return // its first start will see them
	}
	if u.generates() {
		switch u.echo.heard(paths, func(path string) changing { return at[path] }, u.work.Status()) {
		case runLater:
			return
		case runNot:
			l.tellEcho(svc, paths[0])
			return
		}
	}
	l.runLocal(svc, Change{Generation: batch.Generation, Paths: paths, Saved: savedAt(batch), Batched: batch.Time})
}

// tellEcho says once that a generator writes what it reads.
func (l *loop) tellEcho(svc *service, path string) {
	if svc.local.echo.told {
		return
	}
	svc.local.echo.told = true
	l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "generator-loop",
		Text: fmt.Sprintf("%s changes each time that it runs, and its `on` matches it: it is not run again for that; write `on` so that it leaves out what the generator makes", path)})
}

// seeLocal tells how local work has gone on since the last look.
func (l *loop) seeLocal() {
	for _, svc := range l.services {
		u := svc.local
		if u == nil {
			continue
		}
		st := u.work.Status()
		is := toldLocal{st.Run, st.Phase}
		if is == u.told {
			if st.Phase == local.Failed && svc.problem == nil {
				svc.problem = u.failure(st) // told under the configuration before
			}
			continue
		}
		u.told = is
		svc.problem = nil
		switch st.Phase {
		case local.Ready:
			l.localReady(svc, st)
		case local.Failed:
			svc.track.end(Failed)
			svc.problem = u.failure(st)
			l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: svc.problem.Code, Text: map[bool]string{true: "failed", false: "ended"}[u.generates()], Took: Millis(st.Ended.Sub(st.Started)), Problem: svc.problem})
		default:
			continue
		}
		if u.generates() {
			l.recheck() // it may have written through a memory map
			l.followUp(svc)
		}
	}
}

// localReady ends the change under way: a generator succeeded, a server is ready.
func (l *loop) localReady(svc *service, st local.Status) {
	u := svc.local
	n := Notice{Level: Done, Service: svc.Name, Code: "service-ready", Text: strings.TrimSpace("ready " + u.Ready.HTTP), Took: Millis(st.Took)}
	now := time.Now()
	if u.generates() {
		now = st.Ended
		n = Notice{Level: Done, Service: svc.Name, Code: "generated", Text: "ran: " + u.Command, Took: Millis(st.Took)}
	}
	if c := svc.track.now; c != nil {
		c.Made, c.Serving = now, now
		svc.track.end(Served)
	}
	l.s.tell(n)
}

// followUp runs a generator again where files changed under it.
func (l *loop) followUp(svc *service) {
	u := svc.local
	if !u.echo.later {
		return
	}
	var path string
	for p := range u.echo.written {
		path = max(path, p)
	}
	if u.echo.again() == runNot {
		l.tellEcho(svc, path)
		return
	}
	l.runLocal(svc, Change{Paths: []string{path}, Saved: time.Now()})
}

// failure is why local work is not ready, for a person.
func (u *unit) failure(st local.Status) *problem.Problem {
	p := &problem.Problem{Code: "generator-failed", Where: u.Where, Output: strings.Join(st.Lines, "\n"),
		Hint: "the next save of what it reads runs it again, and so does `kdev trigger " + u.called + "`"}
	if !u.generates() {
		p.Code = "process-ended"
		p.Hint = fmt.Sprintf("it is started again after %s; `kdev trigger %s restart` does so at once", st.Again, u.called)
	}
	var taken *local.Taken
	switch {
	case errors.As(st.Err, &taken):
		p.Code, p.Summary = "process-port", taken.Error()
		p.Hint = "end that program, or let this one use another place; it is tried again"
	case st.Exit == nil:
		p.Summary, p.Err = "`"+u.Command+"` cannot be started", st.Err
	default:
		p.Summary = fmt.Sprintf("`%s` ended with exit code %d", u.Command, *st.Exit)
	}
	return p
}

// view is the snapshot of the process itself.
func (u *unit) view(role LocalRole, st local.Status) *LocalWork {
	v := &LocalWork{Role: role, Command: u.Command, Runs: st.Run, PID: st.PID, Restarts: st.Restarts, Exit: st.Exit, Lines: st.Lines}
	if st.PID != 0 {
		v.Since = st.Started
	}
	return v
}

// unit is what runs on this machine of svc; nil: nothing.
func (svc *service) unit() *unit {
	if svc.local != nil {
		return svc.local
	}
	return svc.here
}

// viewLocal is the snapshot of local work.
func (l *loop) viewLocal(svc *service) Service {
	u := svc.local
	st := u.work.Status()
	v := Service{
		Name: svc.Name, Kind: Process, Pods: []Pod{}, Restarts: st.Restarts, Manual: svc.Manual, Paused: svc.paused,
		Held: svc.heldPaths(), Problem: svc.problem, Stuck: svc.problem != nil && u.generates(),
		Local: u.view(Server, st),
	}
	if u.generates() {
		v.Local.Role = Generator
	}
	if u.Ready.HTTP != "" {
		v.URLs = []string{u.Ready.HTTP}
	}
	wait := func(p Phase, r Reason, text string, on ...string) {
		v.Phase, v.Waiting = p, &Waiting{Reason: r, On: on, Text: text}
	}
	awaited := l.awaited(svc)
	switch {
	case svc.off:
		wait(Stopped, ForStart, "`kdev trigger "+l.s.called(svc.Name)+"`")
	case !u.asked && awaited != "":
		wait(Pending, ForNeeds, awaited+", which it needs", awaited)
	case st.Phase == local.Failed:
		v.Phase = FailedPhase
	case st.Phase != local.Ready:
		wait(Progressing, ForProcess, u.awaits())
	case svc.paused:
		wait(Paused, ForTrigger, "`kdev resume "+l.s.called(svc.Name)+"`", v.Held...)
	case len(svc.saved) > 0:
		wait(Paused, ForTrigger, "`kdev trigger "+l.s.called(svc.Name)+"`", v.Held...)
	default:
		v.Phase = Ready
	}
	return v
}

// awaits says what has to happen for the work under way to be ready.
func (u *unit) awaits() string {
	switch {
	case u.generates():
		return "`" + u.Command + "` to end"
	case u.Ready.HTTP != "":
		return u.Ready.HTTP + " to answer"
	case u.Ready.Port != 0:
		return fmt.Sprintf("port %d to accept connections", u.Ready.Port)
	case u.Ready.Log != "":
		return "a line that matches " + u.Ready.Log
	}
	return "its process to start"
}
