package session

import (
	"slices"
	"time"

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

	restarts bool // a sync that restarts the process
}

// A Leg is the way from one stage of a change to the next.
type Leg struct {
	Name string // "batched", "built", "synced", "rendered", "ran", "acknowledged", "serving"
	Took time.Duration
}

// Legs are the stages that the change has reached, each with the time since the
// one before it: where the time went.
func (c *Change) Legs() []Leg {
	made := map[Action]string{ActBuild: "built", ActDeploy: "rendered", ActRun: "ran"}[c.Action]
	if made == "" {
		made = "synced"
	}
	var legs []Leg
	last := c.Saved
	for _, s := range []struct {
		name string
		at   time.Time
	}{{"batched", c.Batched}, {made, c.Made}, {"acknowledged", c.Acknowledged}, {"serving", c.Serving}} {
		if s.at.IsZero() {
			continue
		}
		legs = append(legs, Leg{s.name, max(0, s.at.Sub(last))})
		last = s.at
	}
	return legs
}

// Took is the time from the save to the last stage that was reached.
func (c *Change) Took() time.Duration {
	for _, at := range []time.Time{c.Serving, c.Acknowledged, c.Made, c.Batched} {
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
	if how != Nothing {
		t.history = append(t.history, *t.now)
		if n := len(t.history) - historyLength; n > 0 {
			t.history = slices.Clone(t.history[n:])
		}
	}
	t.now = nil
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

// serve ends a change that is what runs now. ready is whether the service is.
func (svc *service) serve(ready bool, now time.Time) {
	c := svc.track.now
	if c == nil || c.Acknowledged.IsZero() {
		return
	}
	switch c.Action {
	case ActSync:
		for _, st := range svc.sync {
			if c.restarts && !st.alone && st.startedWith < c.Generation {
				return
			}
		}
	default:
		if !ready {
			return
		}
	}
	c.Serving = now
	svc.track.end(Served)
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
		v.Change = &c
	case n > 0:
		c := t.history[n-1]
		v.Change = &c
	}
}
