package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

// look compares what is wanted with what is, publishes the snapshot and tells
// what changed in words: a service that became ready, a rollout that fails.
func (l *loop) look() {
	st := &State{
		Project:   l.s.opts.Project.Name,
		Namespace: l.s.opts.Project.Namespace,
		Context:   l.s.parts.Cluster.Context,
		Root:      l.s.opts.Project.Root,
		Started:   l.s.State().Started,
		Session:   true,
	}
	if p := l.blocked(); p != nil {
		st.Problems = append(st.Problems, p)
	}
	st.Problems = append(st.Problems, l.s.mistakes...)
	now := time.Now()
	l.seePods(now)
	var statuses []deploy.WorkloadStatus
	if l.objects != nil {
		statuses = l.s.parts.Deployer.Status(l.s.parts.Live, l.objects)
	}
	l.restore(statuses)
	l.unwatched = deploy.Unwatched(statuses)
	ready := l.objects != nil && l.applied && !l.applying && !l.applyAgain && !l.rendering && l.blocked() == nil
	for _, svc := range l.ordered() {
		view := l.view(svc, statuses, now)
		l.follow(svc, &view, now)
		switch view.Phase {
		case Ready, Syncing, Paused, Stopped, Sleeping:
		default:
			ready = ready && svc.IgnoreReady
		}
		l.tellRollout(svc, &view)
		st.Services = append(st.Services, view)
	}
	st.Objects, st.Tasks = l.seeObjects(st.Services), l.seeTasks()
	ready = ready && objectsReady(st.Objects)
	l.tellObjects(st.Objects, ready)
	st.Ready, st.Deployed = ready, l.deployed
	st.URL = l.home(st)
	if ready && !l.ready {
		l.s.tell(Notice{Level: Done, Code: "ready", Text: "everything is ready", Took: Millis(time.Since(l.since))})
	}
	if !ready && l.ready {
		l.since = time.Now()
	}
	l.ready = ready
	l.s.publish(st)
}

// follow sees how far the change of svc that is under way has come.
func (l *loop) follow(svc *service, v *Service, now time.Time) {
	if svc.local == nil && svc.track.now != nil {
		if again := svc.serve(v.Phase, l.pods(svc), now); !again.IsZero() {
			l.s.parts.Live.PokeAt(again)
		}
		svc.track.fail(v.Phase == FailedPhase && !v.Stuck, now)
	}
	svc.track.show(v)
}

// restore asks for another apply when a workload that was there is gone: somebody
// deleted it. Jobs and Pods may go because they are done, and stay gone.
func (l *loop) restore(statuses []deploy.WorkloadStatus) {
	for _, st := range statuses {
		switch st.Kind {
		case "Deployment", "StatefulSet", "DaemonSet":
		default:
			continue
		}
		if st.Namespace != "" {
			continue // its name may be another one's here
		}
		_, there := l.s.parts.Live.Get(st.Kind, l.s.opts.Project.Namespace+"/"+st.Name)
		if l.present[st.Ref] && !there {
			l.s.tell(Notice{Level: Warn, Code: "workload-gone", Text: st.Ref.String() + " was deleted: applying it again"})
			l.applyAgain = true
		}
		l.present[st.Ref] = there
	}
}

// seePods notes how far each pod has come, and forgets those that are gone.
func (l *loop) seePods(now time.Time) {
	gone := maps.Clone(l.stages)
	for _, pod := range l.s.parts.Live.Pods() {
		t := l.stages[pod.UID]
		if t == nil {
			t = &podTimes{}
			l.stages[pod.UID] = t
		}
		t.see(pod, now)
		delete(gone, pod.UID)
	}
	for uid := range gone {
		delete(l.stages, uid)
	}
}

// view is the snapshot of one service.
func (l *loop) view(svc *service, statuses []deploy.WorkloadStatus, now time.Time) Service {
	if svc.local != nil {
		return l.viewLocal(svc)
	}
	v := Service{
		Name: svc.Name, Kind: Workload, Image: svc.ref, Pods: []Pod{}, Build: svc.last,
		Ahead: slices.Sorted(maps.Keys(svc.ahead)), Problem: svc.problem, Stuck: svc.problem != nil,
		Manual: svc.Manual, Ignored: svc.IgnoreReady, Paused: svc.paused, Held: svc.heldPaths(), Scaled: svc.scaled,
	}
	if svc.built {
		v.Kind = Built
	}
	if len(svc.workloads) == 0 {
		v.Ahead = nil // others are made from its image; no container of it is
	}
	seen := false
	times := func(pod *corev1.Pod) *podTimes { return l.stages[pod.UID] }
	for i := range statuses {
		if slices.Contains(svc.workloads, statuses[i].Ref) {
			seen = true
			v.add(&statuses[i], times, now)
		}
	}
	if !l.s.opts.Attach {
		owned := l.s.parts.Deployer.OwnedStatus(l.s.parts.Live, svc.workloads)
		for i := range owned {
			v.add(&owned[i], times, now)
		}
	}
	l.weigh(&v)
	v.Events = l.clusterEvents(svc)
	if v.Image == "" {
		v.Image = v.runs()
	}
	for _, key := range slices.SortedFunc(maps.Keys(svc.sync), compareKeys) {
		v.Sync = append(v.Sync, *svc.sync[key])
		if p := svc.syncErr[key]; p != nil && v.Problem == nil {
			v.Problem = p
		}
	}
	v.URLs = slices.Clone(l.s.front.ruled[svc.Name])
	for _, f := range l.forwarders {
		if f.service == svc.Name {
			v.Ports = append(v.Ports, Port{Host: f.port.Host, Local: f.local, Remote: f.port.Remote, URL: f.url()})
			v.URLs = append(v.URLs, f.url())
		}
	}
	v.URLs = append(v.URLs, l.s.front.named[svc.Name]...)
	if u := svc.here; u != nil {
		v.Local = u.view(InPlace, u.work.Status())
	}
	l.judge(svc, &v, seen)
	return v
}

// judge finds the word for a service and what it waits for.
func (l *loop) judge(svc *service, v *Service, seen bool) {
	rolledOut := true
	for _, w := range v.Workloads {
		rolledOut = rolledOut && w.Ready
	}
	wait := func(p Phase, r Reason, text string, on ...string) {
		v.Phase, v.Waiting = p, &Waiting{Reason: r, On: on, Text: text}
	}
	awaited, generator := "", l.generator(svc)
	if l.objects != nil {
		awaited = l.awaited(svc)
	}
	asleep := len(v.Workloads) > 0 && v.Desired == 0 && rolledOut
	for _, w := range v.Workloads {
		asleep = asleep && w.Unwatched == "" && (w.Kind == "Deployment" || w.Kind == "StatefulSet")
	}
	switch {
	case svc.off:
		wait(Stopped, ForStart, "`kdev trigger "+l.s.called(svc.Name)+"`")
		v.Explanation = "" // that nothing of it is there is by wish
		if len(v.Pods) == 0 {
			v.Desired = 0
		}
	case svc.build != nil:
		wait(Building, ForBuild, svc.build.why)
	case svc.deciding:
		wait(Pending, ForImage, "its image")
	case generator != "" && (svc.undecided || svc.dirty != "" || l.unrendered && l.objects == nil):
		wait(Pending, ForGenerator, generator+", which runs before it", generator)
	case svc.dirty != "":
		wait(Pending, ForBuild, "its image")
	case svc.hereProblem() != nil:
		v.Phase, v.Waiting, v.Problem = FailedPhase, nil, svc.hereProblem()
	case v.Problem != nil:
		v.Phase, v.Waiting = FailedPhase, nil
	case svc.built && svc.ref == "":
		wait(Pending, ForImage, "its image")
	case l.objects == nil && !l.s.opts.Attach:
		wait(Pending, ForManifests, "the manifests to be rendered")
	case awaited != "" && awaited == generator:
		wait(Pending, ForGenerator, generator+", which runs before it", generator)
	case awaited != "":
		wait(Pending, ForNeeds, awaited+", which it needs", awaited)
	case l.blocked() != nil && !l.there(svc):
		wait(Pending, ForManifests, "the manifests")
	case l.applying || l.applyAgain:
		text := "its objects to be applied"
		if l.applyWaits != "" {
			text += " (" + l.applyWaits + ")"
		}
		wait(Deploying, ForApply, text)
	case !seen && l.watches(svc) || !rolledOut || !seen && !l.ownPodsReady(svc):
		v.Phase = Progressing
	case !svc.reached():
		wait(Progressing, ForAgent, "the agent in its containers")
	case svc.here != nil && svc.hereWaits() != nil:
		v.Phase, v.Waiting = Progressing, svc.hereWaits()
	case svc.swap != nil:
		wait(Syncing, ForFiles, "its program is compiled", svc.swap.why...)
	case svc.lastBatch != nil:
		wait(Syncing, ForFiles, "files on their way", svc.lastBatch.paths...)
	case svc.back:
		text := "`kdev resume " + l.s.called(svc.Name) + "`: an image from before runs, and nothing is built or synced"
		wait(Paused, ForTrigger, text, v.Held...)
		v.Explanation += fmt.Sprintf("%s was rolled back: an image from before runs\n  waits for %s\n", svc.Name, text)
	case svc.paused:
		wait(Paused, ForTrigger, "`kdev resume "+l.s.called(svc.Name)+"`", v.Held...)
	case len(svc.saved) > 0:
		wait(Paused, ForTrigger, "`kdev trigger "+l.s.called(svc.Name)+"`", v.Held...)
	case asleep:
		v.Phase, v.Waiting = Sleeping, nil
	default:
		v.Phase, v.Waiting = Ready, nil
	}
}

// there says whether the cluster has what svc consists of already, as far as is known:
// manifests that cannot be used now change nothing of it.
func (l *loop) there(svc *service) bool {
	return svc.admitted && !slices.ContainsFunc(svc.workloads, func(r deploy.Ref) bool {
		there, watched := l.present[r]
		return watched && !there || !watched && !l.took[r]
	})
}

// watches says whether a workload of svc is of a kind whose status says how far
// it is. One that only holds the image, of a custom kind, has none.
func (l *loop) watches(svc *service) bool {
	return slices.ContainsFunc(l.objects, func(o *deploy.Object) bool {
		return deploy.IsWorkload(o) && slices.Contains(svc.workloads, deploy.RefOf(o))
	})
}

// ownPodsReady says whether all pods that a controller has made of svc's custom
// objects are ready; without one there is nothing to wait for.
func (l *loop) ownPodsReady(svc *service) bool {
	return !slices.ContainsFunc(l.pods(svc), func(pod *corev1.Pod) bool {
		return pod.DeletionTimestamp == nil && !podReady(pod) && !deploy.Ended(pod)
	})
}

// runs is the image of the service's first container, where kdev chose none.
func (s *Service) runs() string {
	for _, p := range s.Pods {
		for _, c := range p.Containers {
			if !c.Init && !p.Old {
				return c.Image
			}
		}
	}
	return ""
}

// reached says whether every container has acknowledged what the tree held when
// it started: a container that still waits for its first files, or whose process
// could not be started, is not ready whatever its pod says.
func (svc *service) reached() bool {
	for _, st := range svc.sync {
		if !st.reached {
			return false
		}
	}
	return true
}

func compareKeys(a, b containerKey) int {
	if c := strings.Compare(a.pod, b.pod); c != 0 {
		return c
	}
	return strings.Compare(a.container, b.container)
}

// tellRollout tells once what a person waits for: that a service is ready, or
// why it is not getting there.
func (l *loop) tellRollout(svc *service, v *Service) {
	if svc.local != nil {
		return // seeLocal tells
	}
	now := time.Now()
	if svc.stuck && v.Phase != FailedPhase {
		svc.stuck, svc.since = false, now // how long a person took to mend it is no time of the start
	}
	switch v.Phase {
	case Stopped, Paused, Sleeping:
		return // by wish
	case Ready:
		if !svc.wasReady {
			text := fmt.Sprintf("ready (%d/%d)", v.Current, v.Desired)
			for _, url := range v.URLs {
				text += " " + url
			}
			l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "service-ready", Text: text, Took: Millis(now.Sub(svc.since))})
		}
		svc.wasReady, svc.told = true, ""
		return
	case Syncing, Deploying:
		return // not a change of the rollout: every save of a manifest passes through
	case FailedPhase:
		l.tellFailure(svc, v.Problem)
		svc.stuck = v.Stuck || slices.ContainsFunc(v.Sync, func(s Sync) bool { return s.Held })
	}
	if svc.wasReady {
		svc.since = now
	}
	svc.wasReady = false
}

// tellFailure tells a rollout's problem when it is a new one. Builds and syncs
// tell theirs when they end.
func (l *loop) tellFailure(svc *service, p *problem.Problem) {
	if p == nil || p == svc.problem {
		return
	}
	if svc.here != nil && (p.Code == "process-ended" || p.Code == "process-port") {
		return // seeStandIn has told
	}
	for _, s := range svc.syncErr {
		if s == p {
			return
		}
	}
	text := p.Code + p.Error()
	if svc.told == text {
		return
	}
	svc.told = text
	l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "rollout-failed", Text: "is not getting ready", Problem: p})
}
