package session

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/sync/mirror"
)

// restarting is a service with one container and a change that restarts its process; the
// container is as ready says, and has a readiness probe or none.
func restarting(probe *corev1.Probe) (svc *service, st *Sync, pods func(ready bool) []*corev1.Pod) {
	st = &Sync{Pod: "web-1", Container: "web", Connected: true, reached: true}
	svc = &service{sync: map[containerKey]*Sync{{"web-1", "web"}: st}, syncErr: map[containerKey]*problem.Problem{}}
	c := svc.track.begin(Change{Action: ActSync, Generation: 3, Saved: noon})
	c.restarts, c.Made, c.Acknowledged = true, noon, noon
	return svc, st, func(ready bool) []*corev1.Pod {
		return []*corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", ReadinessProbe: probe}}},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "web", Ready: ready}}}}}
	}
}

// A change that restarts the process serves when the process has stayed, since its start.
func TestServingAfterARestart(t *testing.T) {
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	quick := &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 3}
	type look struct {
		ms    int
		ready bool
		phase Phase
		want  int // Serving, ms after noon; 0: not yet
	}
	for name, c := range map[string]struct {
		probe *corev1.Probe
		looks []look
	}{
		"it stays":                     {nil, []look{{15, true, Ready, 0}, {999, true, Ready, 0}, {1010, true, Ready, 10}}},
		"it crashes":                   {nil, []look{{15, true, Ready, 0}, {500, false, FailedPhase, 0}, {1010, false, FailedPhase, 0}, {9000, true, Progressing, 0}}},
		"its probe never fails":        {quick, []look{{15, true, Ready, 0}, {1500, true, Ready, 0}, {3010, true, Ready, 10}}},
		"its probe fails for a while":  {quick, []look{{15, true, Ready, 0}, {1200, false, Progressing, 0}, {2200, true, Ready, 2200}}},
		"a probe of kubelet's default": {&corev1.Probe{PeriodSeconds: 10, FailureThreshold: 3}, []look{{4900, true, Ready, 0}, {5010, true, Ready, 10}}},
		"the first look is late":       {nil, []look{{60000, true, Ready, 10}}},
	} {
		t.Run(name, func(t *testing.T) {
			svc, st, pods := restarting(c.probe)
			if svc.serve(Ready, pods(true), at(5)); svc.track.now == nil {
				t.Fatal("serves before the process was started")
			}
			st.startedWith, st.startedAt = 3, at(10)
			for _, l := range c.looks {
				again := svc.serve(l.phase, pods(l.ready), at(l.ms))
				got := 0
				if svc.track.now == nil {
					got = int(svc.track.history[0].Serving.Sub(noon) / time.Millisecond)
				}
				if got != l.want {
					t.Fatalf("at %d ms it serves since %d, want %d", l.ms, got, l.want)
				}
				if l.want == 0 && l.ready && l.phase == Ready && !again.After(at(l.ms)) {
					t.Fatalf("at %d ms nobody looks again: %v", l.ms, again)
				}
			}
		})
	}
}

// A restart by hand serves with a start that came after it.
func TestServingAfterARestartByHand(t *testing.T) {
	svc, st, pods := restarting(nil)
	svc.track.now.Action, st.startedWith, st.startedAt = ActRestart, 3, noon.Add(-time.Hour)
	if svc.serve(Ready, pods(true), noon.Add(time.Minute)); svc.track.now == nil {
		t.Fatal("serves by a start of before")
	}
	st.startedAt = noon.Add(time.Second)
	if svc.serve(Ready, pods(true), noon.Add(time.Minute)); svc.track.now != nil {
		t.Fatal("does not serve")
	}
}

// A process that the agent keeps because it failed right after the restart ends the change.
func TestAChangeThatCrashes(t *testing.T) {
	svc, st, pods := restarting(nil)
	l := &loop{s: &Session{}, byName: map[string]*service{"web": svc}}
	tell := func(k mirror.Kind, p *problem.Problem) {
		syncHappened{mirror.Event{Kind: k, Service: "web", Pod: "web-1", Container: "web", Generation: 3, Problem: p}}.apply(l)
	}
	tell(mirror.Started, nil)
	svc.serve(Ready, pods(true), time.Now())
	tell(mirror.Held, &problem.Problem{Code: "crash", Summary: "exited"})
	svc.serve(FailedPhase, pods(true), time.Now().Add(time.Minute))
	if !st.Held || svc.track.now != nil || len(svc.track.history) != 1 || svc.track.history[0].Outcome != Failed || svc.track.history[0].Ended.IsZero() {
		t.Errorf("%+v", svc.track)
	}
	if missed := svc.track.history[0].Missed(); missed != "serving" {
		t.Errorf("it failed before it was %s", missed)
	}
}

// While its service has a problem, a change that is under way has failed, and does not
// count on; it goes on where the problem passes.
func TestAChangeOfAServiceThatFails(t *testing.T) {
	var tr track
	tr.begin(Change{Action: ActBuild, Saved: noon, Batched: noon, Made: noon.Add(time.Second)})
	outcome := func() Change {
		var v Service
		tr.show(&v)
		return *v.Change
	}
	tr.fail(true, noon.Add(3*time.Second))
	tr.fail(true, noon.Add(9*time.Second))
	if c := outcome(); c.Outcome != Failed || c.Took() != 3*time.Second || c.Missed() != "acknowledged" {
		t.Errorf("%s after %s, not %s", c.Outcome, c.Took(), c.Missed())
	}
	tr.fail(false, noon)
	if c := outcome(); c.Outcome != "" {
		t.Errorf("%s although it goes on", c.Outcome)
	}
	tr.fail(true, noon.Add(4*time.Second))
	tr.begin(Change{Action: ActBuild, Saved: noon})
	if c := tr.history[0]; c.Outcome != Failed || c.Took() != 4*time.Second {
		t.Errorf("%s after %s", c.Outcome, c.Took())
	}
}

// What put right a change that failed is shown, although it asked for nothing.
func TestAMistakeThatWasPutBack(t *testing.T) {
	var tr track
	newest := func(a Action, how Outcome) Outcome {
		tr.begin(Change{Action: a, Saved: noon})
		tr.end(how)
		var v Service
		tr.show(&v)
		return v.Change.Outcome
	}
	for i, c := range []struct{ how, want Outcome }{{Served, Served}, {Nothing, Served}, {Failed, Failed}, {Nothing, Nothing}, {Nothing, Nothing}, {Cancelled, Cancelled}, {Nothing, Nothing}} {
		if got := newest(ActBuild, c.how); got != c.want {
			t.Errorf("%d: after %s the newest is %s, want %s", i, c.how, got, c.want)
		}
	}
	if n := len(tr.history); n != 5 {
		t.Errorf("%d changes are remembered, want 5", n)
	}
}
