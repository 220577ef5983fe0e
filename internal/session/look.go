package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
		Started:   l.s.State().Started,
		Problem:   l.blocked(),
	}
	var statuses []deploy.WorkloadStatus
	if l.objects != nil {
		statuses = l.s.parts.Deployer.Status(l.s.parts.Live, l.objects)
	}
	l.restore(statuses)
	ready := l.objects != nil && l.applied && !l.applying && !l.applyAgain && !l.rendering && st.Problem == nil
	for _, svc := range l.services {
		view := l.view(svc, statuses)
		if view.Phase != Ready && view.Phase != Syncing {
			ready = false
		}
		l.tellRollout(svc, &view)
		st.Services = append(st.Services, view)
	}
	st.Ready, st.Deployed = ready, l.deployed
	if ready && !l.ready {
		l.s.tell(Notice{Level: Done, Code: "ready", Text: "everything is ready", Took: time.Since(l.since)})
	}
	if !ready && l.ready {
		l.since = time.Now()
	}
	l.ready = ready
	l.s.publish(st)
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
		_, there := l.s.parts.Live.Get(st.Kind, l.s.opts.Project.Namespace+"/"+st.Name)
		if l.present[st.Ref] && !there {
			l.s.tell(Notice{Level: Warn, Code: "workload-gone", Text: st.Ref.String() + " was deleted: applying it again"})
			l.applyAgain = true
		}
		l.present[st.Ref] = there
	}
}

// view is the snapshot of one service.
func (l *loop) view(svc *service, statuses []deploy.WorkloadStatus) Service {
	v := Service{Name: svc.Name, Image: svc.ref, Took: svc.took, Problem: svc.problem, Stuck: svc.problem != nil}
	v.Ahead = slices.Sorted(maps.Keys(svc.ahead))
	rolledOut, seen := true, false
	for _, st := range statuses {
		if !slices.Contains(svc.workloads, st.Ref) {
			continue
		}
		seen = true
		v.Desired += st.Desired
		v.Updated += st.Updated
		v.Current += st.ReadyReplicas
		if !st.Ready {
			rolledOut = false
			if v.Waiting == "" {
				v.Waiting = st.Waiting
			}
		}
		if v.Problem == nil {
			v.Problem = st.Problem
		}
	}
	for _, pod := range l.pods(svc) {
		v.Pods = append(v.Pods, podView(pod))
	}
	for _, key := range slices.SortedFunc(maps.Keys(svc.sync), compareKeys) {
		v.Sync = append(v.Sync, *svc.sync[key])
		if p := svc.syncErr[key]; p != nil && v.Problem == nil {
			v.Problem = p
		}
	}
	for _, f := range l.forwarders {
		if f.service == svc.Name {
			v.Ports = append(v.Ports, Port{Host: f.port.Host, Local: f.local, Remote: f.port.Remote, URL: f.url()})
		}
	}
	switch {
	case svc.build != nil:
		v.Phase, v.Waiting = Building, svc.build.why
	case svc.deciding || svc.dirty != "":
		v.Phase, v.Waiting = Pending, "its image"
	case v.Problem != nil:
		v.Phase = FailedPhase
	case svc.built && svc.ref == "":
		v.Phase, v.Waiting = Pending, "its image"
	case l.objects != nil && l.awaited(svc) != "":
		v.Phase, v.Waiting = Pending, l.awaited(svc)+", which it needs"
	case l.blocked() != nil:
		v.Phase, v.Waiting = Pending, "the manifests"
	case l.applying || l.applyAgain:
		v.Phase = Deploying
	case !seen && len(svc.workloads) > 0 || !rolledOut:
		v.Phase = Progressing
	case !svc.reached():
		v.Phase, v.Waiting = Progressing, "the agent in its containers"
	case svc.lastBatch != nil:
		v.Phase, v.Waiting = Syncing, "files on their way"
	default:
		v.Phase, v.Waiting = Ready, ""
	}
	return v
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
	now := time.Now()
	switch v.Phase {
	case Ready:
		if !svc.wasReady {
			text := fmt.Sprintf("ready (%d/%d)", v.Current, v.Desired)
			for _, p := range v.Ports {
				text += " " + p.URL
			}
			l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "service-ready", Text: text, Took: now.Sub(svc.since)})
		}
		svc.wasReady, svc.told = true, ""
		return
	case Syncing, Deploying:
		return // not a change of the rollout: every save of a manifest passes through
	case FailedPhase:
		l.tellFailure(svc, v.Problem)
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
