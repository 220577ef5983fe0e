package session

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/watch"
)

// An Action is what a change asks for.
type Action string

const (
	ActSync    Action = "sync"    // files into running containers
	ActBuild   Action = "build"   // a new image
	ActDeploy  Action = "deploy"  // manifests
	ActRestart Action = "restart" // of the process, asked for by a person or by a change
	ActRun     Action = "run"     // of a generator
)

// An Outcome says how a change ended; empty while it is on its way.
type Outcome string

const (
	Served     Outcome = "served"     // it is what runs
	Failed     Outcome = "failed"     // Service.Problem says why
	Superseded Outcome = "superseded" // a newer one took its place
	Cancelled  Outcome = "cancelled"  // by a person
	Nothing    Outcome = "nothing"    // the containers held it already
)

// A Change is one saved change of a service on its way to what runs. The times
// that it has not reached are zero.
type Change struct {
	Number       int       `json:"number"` // counts from 1 for each service
	Action       Action    `json:"action"`
	Generation   uint64    `json:"generation,omitempty"` // of the watcher's batch; 0 when a person asked
	Paths        []string  `json:"paths,omitempty"`      // what was saved, relative to the project, the first of them
	More         int       `json:"more,omitempty"`       // how many paths are not in Paths
	Outcome      Outcome   `json:"outcome,omitempty"`
	Saved        time.Time `json:"saved"`
	Batched      time.Time `json:"batched,omitzero"`      // the watcher handed it over
	Made         time.Time `json:"made,omitzero"`         // built, rendered, or hashed and sent
	Acknowledged time.Time `json:"acknowledged,omitzero"` // by every container, or by the API server
	Serving      time.Time `json:"serving,omitzero"`      // the process runs with it: restarted where it must be, pods ready
	Ended        time.Time `json:"ended,omitzero"`        // of one that is not served: when it failed or was given up

	restarts bool // a sync that restarts the process
	resumed  bool // what was saved while its service was kept back: what it asks for was found out afterwards
	fell     bool // a container was not ready after the restart
}

// A Leg is the way from one stage of a change to the next.
type Leg struct {
	Name string // "batched", "built", "synced", "rendered", "ran", "acknowledged", "serving"
	Took time.Duration
}

// Legs are the stages that the change has reached, each with the time since the
// one before it: where the time went.
func (c *Change) Legs() []Leg {
	var legs []Leg
	last := c.Saved
	for _, s := range c.stages() {
		if s.at.IsZero() {
			continue
		}
		legs = append(legs, Leg{s.name, max(0, s.at.Sub(last))})
		last = s.at
	}
	return legs
}

type stage struct {
	name string
	at   time.Time
}

func (c *Change) stages() []stage {
	made := map[Action]string{ActBuild: "built", ActDeploy: "rendered", ActRun: "ran"}[c.Action]
	if made == "" {
		made = "synced"
	}
	return []stage{{"batched", c.Batched}, {made, c.Made}, {"acknowledged", c.Acknowledged}, {"serving", c.Serving}}
}

// Missed is the stage that a change has not reached: where it failed or was given up.
func (c *Change) Missed() string {
	all := c.stages()
	for i := len(all) - 1; i > 0; i-- {
		if !all[i-1].at.IsZero() || i == 1 { // what a person asked for was never batched
			return all[i].name
		}
	}
	return ""
}

// Took is the time from the save to the last stage that was reached, or to the end of a
// change that is not served.
func (c *Change) Took() time.Duration {
	for _, at := range []time.Time{c.Ended, c.Serving, c.Acknowledged, c.Made, c.Batched} {
		if !at.IsZero() {
			return at.Sub(c.Saved)
		}
	}
	return 0
}

const (
	historyLength = 40 // changes that a service remembers
	namedPaths    = 8  // paths that a snapshot names of a change or a batch
)

// A track follows the changes of one service. Only the loop touches it.
type track struct {
	number  int
	now     *Change
	history []Change
	failing time.Time // since when the service has a problem with what is under way; zero: it has none
}

// begin starts to follow a change; the one that was under way is superseded.
func (t *track) begin(c Change) *Change {
	t.end(Superseded)
	t.number++
	c.Number = t.number
	if n := len(c.Paths) - namedPaths; n > 0 {
		c.Paths, c.More = slices.Clone(c.Paths[:namedPaths]), c.More+n
	}
	t.now = &c
	return t.now
}

// end puts the change under way, if any, into the history.
func (t *track) end(how Outcome) {
	if t.now == nil {
		return
	}
	t.now.Outcome = how
	if how == Superseded && !t.failing.IsZero() {
		t.now.Outcome = Failed // it was not the newer one that ended it
	}
	if how != Served {
		t.now.Ended = time.Now()
		if !t.failing.IsZero() {
			t.now.Ended = t.failing
		}
	}
	t.failing = time.Time{}
	// What asked for nothing is no news, unless it put right what had gone wrong.
	if n := len(t.history); how != Nothing || n > 0 && t.history[n-1].unfinished() {
		t.history = append(t.history, *t.now)
		if n := len(t.history) - historyLength; n > 0 {
			t.history = slices.Clone(t.history[n:])
		}
	}
	t.now = nil
}

// unfinished says that a change left its service as it should not stay.
func (c *Change) unfinished() bool { return c.Outcome == Failed || c.Outcome == Cancelled }

// fail notes whether the service has a problem while a change is under way. It may be the
// change's, and it may pass: a change ends when another one takes its place.
func (t *track) fail(failing bool, now time.Time) {
	switch {
	case !failing || t.now == nil:
		t.failing = time.Time{}
	case t.failing.IsZero():
		t.failing = now
	}
}

// changed begins to follow a saved path, or adds it to the change that the same
// batch began.
func (svc *service) changed(a Action, path string, batch watch.Batch) {
	if c := svc.track.under(a); c != nil && c.Generation == batch.Generation {
		switch {
		case slices.Contains(c.Paths, path):
		case len(c.Paths) < namedPaths:
			c.Paths = append(slices.Clone(c.Paths), path)
		default:
			c.More++
		}
		return
	}
	svc.track.begin(Change{Action: a, Generation: batch.Generation, Paths: []string{path}, Saved: savedAt(batch), Batched: batch.Time})
}

// serve ends a change that is what runs now. phase is how the service is; pods are its own.
// A zero time is returned, or when to look again.
func (svc *service) serve(phase Phase, pods []*corev1.Pod, now time.Time) (again time.Time) {
	c := svc.track.now
	if c == nil || c.Acknowledged.IsZero() {
		return again
	}
	serving := now
	switch {
	case c.restarts:
		// While it is rolled out, a container that crashed and runs again has yet to stay up.
		if serving, again = svc.stays(c, pods, now); serving.IsZero() || phase == Progressing {
			return again
		}
	case c.Action != ActSync && phase != Ready:
		return again
	}
	c.Serving = serving
	svc.track.end(Served)
	return time.Time{}
}

// A process that was started again has to stay for a moment before its change is called
// served. Nothing tells earlier that it does: what a program lacks it says while it loads,
// and that a container was ready before counts until its probe has failed as often as its
// failureThreshold says.
const (
	shortStay = time.Second     // without a readiness probe: interpreters that cannot load a program end within that
	longStay  = 5 * time.Second // what is waited for at most for a probe to fail; the default's 30 s nobody would wait for
)

// stays says since when the processes that c restarts serve: the last of them was started,
// its container is ready, and stayed so. If one was not ready in between, that is when it
// was seen to be ready again. A zero time: not yet, and when to look again.
func (svc *service) stays(c *Change, pods []*corev1.Pod, now time.Time) (since, again time.Time) {
	since, all := c.Acknowledged, true
	for key, st := range svc.sync {
		switch {
		case st.alone: // no agent tells of its starts: its container is another one then
		case c.Action == ActRestart && st.Connected && st.startedAt.Before(c.Saved), c.Action != ActRestart && st.startedWith < c.Generation:
			return time.Time{}, time.Time{}
		}
		if st.Held {
			return time.Time{}, time.Time{}
		}
		if st.startedAt.After(since) {
			since = st.startedAt
		}
		ready, probed, stay := readiness(pods, key)
		if !ready {
			c.fell, all = true, false
			continue
		}
		if at := st.startedAt.Add(stay); !st.alone && !(probed && c.fell) && now.Before(at) {
			if all = false; again.IsZero() || at.Before(again) {
				again = at
			}
		}
	}
	switch {
	case !all:
		return time.Time{}, again
	case c.fell:
		return now, time.Time{}
	}
	return since, time.Time{}
}

// readiness says whether a container is ready, whether a probe says so, and how long its
// process has to stay after a restart for that to mean anything.
func readiness(pods []*corev1.Pod, key containerKey) (ready, probed bool, stay time.Duration) {
	for _, pod := range pods {
		if pod.Name != key.pod {
			continue
		}
		for _, st := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			ready = ready || st.Name == key.container && st.Ready
		}
		for _, spec := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			if p := spec.ReadinessProbe; spec.Name == key.container && p != nil {
				period, failures := max(p.PeriodSeconds, 1), max(p.FailureThreshold, 1)
				return ready, true, min(max(time.Duration(period*failures)*time.Second, shortStay), longStay)
			}
		}
	}
	return ready, false, shortStay
}

// syncsInstead says whether what was let go needs no build: the change that was begun with
// it is one of files then, which the containers are about to get.
func (svc *service) syncsInstead(ahead []string) bool {
	c := svc.track.under(ActBuild)
	if c == nil || !c.resumed || len(ahead) == 0 || len(svc.sync) == 0 {
		return false
	}
	c.Action, c.restarts = ActSync, svc.restartsFor(c.Paths)
	return true
}

// catchUp notes that the containers have what was let go, once all of them do.
func (svc *service) catchUp(now time.Time) {
	c := svc.track.under(ActSync)
	if c == nil || !c.resumed || !c.Acknowledged.IsZero() {
		return
	}
	for _, st := range svc.sync {
		if st.Generation < c.Generation {
			return
		}
	}
	c.Made, c.Acknowledged = now, now
}

// under says whether a change of this kind is on its way.
func (t *track) under(a Action) *Change {
	if t.now != nil && t.now.Action == a {
		return t.now
	}
	return nil
}

// show puts the newest change and the history into a snapshot.
func (t *track) show(v *Service) {
	v.History = slices.Clip(t.history) // append to it copies: a snapshot never changes
	switch n := len(t.history); {
	case t.now != nil:
		c := *t.now
		if !t.failing.IsZero() {
			c.Outcome, c.Ended = Failed, t.failing
		}
		v.Change = &c
	case n > 0:
		c := t.history[n-1]
		v.Change = &c
	}
}
