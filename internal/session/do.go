package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

// Do hands a command to the loop and returns when it has begun.
func (s *Session) Do(ctx context.Context, c Command) (string, error) {
	answers := make(chan answer, 1)
	select {
	case s.events <- asked{c, answers}:
	case <-s.ended:
		return "", over
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select {
	case a := <-answers:
		return a.text, a.err
	case <-s.ended:
	case <-ctx.Done():
	}
	select {
	case a := <-answers: // it was the command that ended the session
		return a.text, a.err
	default:
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return "", over
}

// Down says whether the session was ended by one who wants what it deployed removed.
// Whoever ran it does that.
func (s *Session) Down() bool { return s.down.Load() }

// over is what a command hears of a session that has come to its end.
var over = &problem.Problem{Code: "session-over", Summary: "the session is ending", Hint: "start another one: `kdev up`"}

// asked is a command for the loop, with the place for its answer.
type asked struct {
	command Command
	answers chan<- answer
}

type answer struct {
	text string
	err  error
}

func (e asked) apply(l *loop) {
	c := e.command
	switch c.Verb {
	case DoStop:
		e.answers <- answer{text: "leaving: everything stays in the cluster"}
		l.stop()
		return
	case DoDown:
		e.answers <- answer{text: "leaving, and removing what was deployed"}
		l.s.down.Store(true)
		l.stop()
		return
	}
	var services []*service
	for _, svc := range l.services {
		if c.Service == "" || c.Service == svc.Name {
			services = append(services, svc)
		}
	}
	if c.Service != "" && len(services) == 0 {
		e.answers <- answer{err: l.unknown(c.Service)}
		return
	}
	text, later, err := l.do(c, services)
	if later == nil {
		e.answers <- answer{text, err}
		return
	}
	l.work.Go(func() {
		text, err := later()
		e.answers <- answer{text, err}
	})
}

// do carries a command out, or returns what has to be done off the loop.
func (l *loop) do(c Command, services []*service) (text string, later func() (string, error), err error) {
	who := "everything"
	if c.Service != "" {
		who = c.Service
	}
	switch c.Verb {
	case DoBuild:
		n := 0
		for _, svc := range services {
			if svc.built && svc.plan != nil && !svc.off {
				l.supersede(svc)
				svc.track.begin(Change{Action: ActBuild, Saved: time.Now()})
				svc.dirty = "asked for"
				n++
			}
		}
		if n == 0 {
			return "", nil, refused("%s has no image that kdev builds", who)
		}
		return "building " + who, nil, nil
	case DoSync:
		return "comparing the containers of " + who + " with the tree", l.resync(services), nil
	case DoDeploy:
		l.render()
		return "rendering and applying the manifests", nil, nil
	case DoRestart:
		text, services = l.restartLocal(c, services)
		if len(services) == 0 {
			return text, nil, nil
		}
		return "", l.restart(services), nil
	case DoTrigger:
		n := 0
		for _, svc := range services {
			if svc.off && c.Service != "" {
				l.start(svc)
				return "starting " + who, nil, nil
			}
			if svc.local != nil && svc.local.generates() && c.Service != "" && len(svc.saved) == 0 {
				l.runLocal(svc, Change{Saved: time.Now()})
				return "running " + who, nil, nil
			}
			n += len(svc.saved)
			l.release(svc)
		}
		if n == 0 {
			return "nothing that was saved for " + who + " is waiting", nil, nil
		}
		return fmt.Sprintf("going on with what was saved for %s: %s", who, counted(n, "path")), nil, nil
	case DoPause:
		return "", l.pause(who, services), nil
	case DoResume:
		for _, svc := range services {
			svc.paused = false
			if svc.back {
				l.forth(svc) // with `trigger: manual` too: it was held back by hand
				continue
			}
			if svc.keeps() {
				continue
			}
			if len(svc.saved) == 0 {
				l.s.kept.drop(svc.Name) // the tree still holds what the containers have
			}
			l.release(svc)
		}
		return who + " goes on", nil, nil
	case DoStart:
		if c.Service == "" {
			return "", nil, refused("start wants the name of a service")
		}
		if !services[0].off {
			return who + " is started already", nil, nil
		}
		l.start(services[0])
		return "starting " + who, nil, nil
	case DoScale:
		return l.scale(c, services)
	case DoForward:
		text, err = l.forward(c, services)
		return text, nil, err
	case DoBack:
		later, err = l.rollback(c, services)
		return "", later, err
	case DoCancel:
		for _, svc := range services {
			if svc.build != nil {
				l.supersede(svc)
				svc.track.end(Cancelled)
				svc.problem = &problem.Problem{Code: "build-cancelled", Where: svc.Name, Summary: "its build was cancelled", Hint: "`kdev trigger " + l.s.called(svc.Name) + " build` starts it again, and so does the next save"}
				text = "cancelled the build of " + svc.Name
			}
		}
		if text == "" {
			return "", nil, refused("no build of %s is under way", who)
		}
		return text, nil, nil
	case DoDelete:
		return l.deletePod(c)
	case DoTask:
		text, err = l.runTask(c)
		return text, nil, err
	case DoDiff:
		later, err = l.compare()
		return "", later, err
	}
	return "", nil, refused("%q is nothing that a session does", c.Verb)
}

func refused(format string, args ...any) error {
	return &problem.Problem{Class: problem.Usage, Code: "command-refused", Summary: fmt.Sprintf(format, args...)}
}

func (l *loop) unknown(name string) error {
	var names []string
	for _, svc := range l.services {
		names = append(names, svc.Name)
	}
	return Unknown(name, names)
}

// Unknown is the problem of a name that no service has; names are those that
// there are.
func Unknown(name string, names []string) error {
	return &problem.Problem{Class: problem.Usage, Code: "service-unknown", Summary: fmt.Sprintf("there is no service %s", name),
		Hint: "there are: " + strings.Join(names, ", ")}
}

// resync hashes every mapped path in the containers and puts right what differs.
func (l *loop) resync(services []*service) func() (string, error) {
	var names []string
	for _, svc := range services {
		if svc.files != nil && len(svc.sync) > 0 {
			names = append(names, svc.Name)
			l.desire(svc)
		}
	}
	return func() (string, error) {
		if len(names) == 0 {
			return "", refused("nothing of it is synced")
		}
		n := 0
		for _, name := range names {
			drift, err := l.s.mirror.Verify(l.ctx, name, true)
			if err != nil {
				return "", err
			}
			n += len(drift)
		}
		if n == 0 {
			return "every container holds what the tree holds", nil
		}
		return fmt.Sprintf("paths that differed and are being put right: %d", n), nil
	}
}

// scaled says that the cluster has taken a number of replicas by hand.
type scaled struct {
	service  string
	replicas int
}

func (e scaled) apply(l *loop) {
	svc := l.byName[e.service]
	if svc == nil {
		return
	}
	if l.asManifest(svc, e.replicas) {
		svc.scaled = nil
		l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "scaled", Text: fmt.Sprintf("scaled to %d, as the manifests say", e.replicas)})
		return
	}
	svc.scaled = &e.replicas
	l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "scaled", Text: fmt.Sprintf("scaled to %d by hand: the manifests say otherwise", e.replicas)})
}

// asManifest says whether the manifests want as many pods of the workload of svc that can
// be scaled.
func (l *loop) asManifest(svc *service, replicas int) bool {
	return slices.ContainsFunc(l.objects, func(o *deploy.Object) bool {
		ref := deploy.RefOf(o)
		return (ref.Kind == "Deployment" || ref.Kind == "StatefulSet") && slices.Contains(svc.workloads, ref) && deploy.Wanted(o) == replicas
	})
}

// restart starts processes anew: in place where the agent can, else by a new
// pod for each, as `kubectl rollout restart` does.
func (l *loop) restart(services []*service) func() (string, error) {
	type target struct {
		name      string
		workloads []deploy.Ref
	}
	var targets []target
	for _, svc := range services {
		t := target{name: svc.Name}
		for _, w := range svc.workloads {
			switch w.Kind {
			case "Deployment", "StatefulSet", "DaemonSet":
				t.workloads = append(t.workloads, w)
			}
		}
		targets = append(targets, t)
		if len(svc.sync) > 0 {
			svc.track.begin(Change{Action: ActRestart, Saved: time.Now(), Made: time.Now(), Generation: l.generation, restarts: true})
		}
	}
	return func() (string, error) {
		inPlace, rolled := 0, 0
		for _, t := range targets {
			n, err := l.s.mirror.Restart(l.ctx, t.name)
			l.s.post(l.ctx, restarted{t.name, n > 0, err})
			if err != nil {
				return "", err
			}
			inPlace += n
			if n > 0 {
				continue
			}
			for _, w := range t.workloads {
				if err := l.s.parts.Deployer.Restart(l.ctx, w); err != nil {
					return "", err
				}
				rolled++
			}
		}
		switch {
		case rolled == 0:
			return "restarting the process in " + counted(inPlace, "container"), nil
		case inPlace == 0:
			return "restarting " + counted(rolled, "workload") + " with new pods", nil
		}
		return "restarting the process in " + counted(inPlace, "container") + ", and " + counted(rolled, "workload") + " with new pods", nil
	}
}

// restarted says whether the agents of a service have taken a restart by hand.
type restarted struct {
	service string
	inPlace bool
	err     error
}

func (e restarted) apply(l *loop) {
	svc := l.byName[e.service]
	if svc == nil || svc.track.under(ActRestart) == nil {
		return
	}
	switch {
	case e.err != nil:
		svc.track.end(Failed)
	case e.inPlace:
		svc.track.now.Acknowledged = time.Now()
	default:
		svc.track.end(Nothing) // a rollout follows, which is shown as one
	}
}

// restartLocal starts the servers among services anew, and a generator that was
// asked for by its name. It returns the services that are none of its business.
func (l *loop) restartLocal(c Command, services []*service) (text string, others []*service) {
	for _, svc := range services {
		switch {
		case svc.unit() == nil:
			others = append(others, svc)
		case svc.off && c.Service != "":
			l.start(svc)
			text = "starting " + svc.Name
		case svc.here != nil && !svc.here.asked:
			text = svc.Name + " has not been started here yet" // settle does, as soon as it can
		case !svc.off && (c.Service != "" || !svc.unit().generates()):
			svc.saved = nil
			l.runLocal(svc, Change{Saved: time.Now()})
			text = "starting " + svc.Name + " anew"
		}
	}
	return text, others
}

// scale sets the replicas of a service's workload, a change by hand: apply
// leaves replicas alone that somebody else has set.
func (l *loop) scale(c Command, services []*service) (string, func() (string, error), error) {
	if c.Service == "" || c.Replicas < 0 {
		return "", nil, refused("scale wants a service and how many pods it is to have")
	}
	svc := services[0]
	var targets []deploy.Ref
	for _, w := range svc.workloads {
		if w.Kind == "Deployment" || w.Kind == "StatefulSet" {
			targets = append(targets, w)
		}
	}
	if len(targets) != 1 {
		return "", nil, refused("%s has %d workloads that can be scaled: `kubectl scale` takes one of them", svc.Name, len(targets))
	}
	return "", func() (string, error) {
		if err := l.s.setReplicas(l.ctx, targets[0], c.Replicas); err != nil {
			return "", err
		}
		l.s.post(l.ctx, scaled{svc.Name, c.Replicas})
		return fmt.Sprintf("scaling %s to %d, by hand: the manifests stay as they are", svc.Name, c.Replicas), nil
	}, nil
}

func (s *Session) setReplicas(ctx context.Context, w deploy.Ref, n int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	apps, ns, o := s.parts.Kube.Core.AppsV1(), s.opts.Project.Namespace, metav1.PatchOptions{FieldManager: "kdev-scale"}
	var err error
	if w.Kind == "Deployment" {
		_, err = apps.Deployments(ns).Patch(ctx, w.Name, types.MergePatchType, patch, o, "scale")
	} else {
		_, err = apps.StatefulSets(ns).Patch(ctx, w.Name, types.MergePatchType, patch, o, "scale")
	}
	if err != nil {
		return fmt.Errorf("scale %s: %w", w, err)
	}
	return nil
}

func (l *loop) deletePod(c Command) (string, func() (string, error), error) {
	owned := slices.ContainsFunc(l.services, func(svc *service) bool {
		for _, pod := range l.pods(svc) {
			if pod.Name == c.Pod {
				return true
			}
		}
		return false
	})
	if !owned {
		return "", nil, &problem.Problem{Class: problem.Usage, Code: "pod-unknown", Summary: fmt.Sprintf("no pod %q belongs to the project", c.Pod), Hint: "`kdev status` lists them"}
	}
	return "", func() (string, error) {
		err := l.s.parts.Kube.Core.CoreV1().Pods(l.s.opts.Project.Namespace).Delete(l.ctx, c.Pod, metav1.DeleteOptions{})
		if err != nil {
			return "", fmt.Errorf("delete pod %s: %w", c.Pod, err)
		}
		return "deleting pod " + c.Pod, nil
	}, nil
}
