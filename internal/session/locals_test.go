package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/local"
)

// A generator whose `on` matches what it makes runs a few times and no more; one
// whose inputs a person saves during its runs goes on running.
func TestEchoes(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	ran := func(run int) local.Status { // from second 10*run to 10*run+5
		return local.Status{Run: run, Started: at(10 * run), Ended: at(10*run + 5)}
	}
	runs := func(run int) local.Status { return local.Status{Run: run, Started: at(10 * run)} }
	hear := func(e *echoes, path string, second int, st local.Status) echoed {
		return e.heard([]string{path}, func(string) changing { return changing{at: at(second)} }, st)
	}

	var own echoes
	answers := []echoed{runNow, runNow, runNow, runNot, runNot}
	for i, want := range answers {
		if got := hear(&own, "gen.go", 10*(i+1)+2, ran(i+1)); got != want {
			t.Errorf("run %d of its own: %d, want %d", i+1, got, want)
		}
	}
	if got := hear(&own, "gen.go", 58, ran(5)); got != runNow || own.repeats != 0 {
		t.Errorf("saved between two runs: %d, %d repeats", got, own.repeats)
	}

	var during echoes
	if got := hear(&during, "a.proto", 12, runs(1)); got != runNow {
		t.Errorf("saved during a run: %d, want it run anew", got)
	}
	if got := hear(&during, "a.proto", 22, runs(2)); got != runLater || !during.later {
		t.Errorf("saved during the next run too: %d, want it to end first", got)
	}
	if got := during.again(); got != runNow || during.later {
		t.Errorf("after that run: %d", got)
	}
	if got := hear(&during, "b.proto", 32, runs(3)); got != runNow {
		t.Errorf("another file: %d, want it run anew", got)
	}

	// Heard of when the next run has begun already.
	var late echoes
	for i, want := range []echoed{runNow, runNow, runLater} {
		if got := hear(&late, "gen.go", 10*(i+1)+2, runs(i+2)); got != want {
			t.Errorf("late, run %d: %d, want %d", i+1, got, want)
		}
	}

	var named echoes
	ran10 := 0
	for i := 1; hear(&named, fmt.Sprintf("gen-%d.go", i), 10*i+2, ran(i)) == runNow; i++ {
		ran10 = i
	}
	if ran10 != longestRow-1 {
		t.Errorf("each run makes a file of another name: %d runs", ran10)
	}

	// Made and removed as its last act, which is seen when it has ended.
	var gone echoes
	n := 0
	for i := 1; gone.heard([]string{"lock"}, func(string) changing { return changing{at(10*i + 5).Add(seeing / 2), true} }, ran(i)) == runNow; i++ {
		n = i
	}
	if n != mostRepeats {
		t.Errorf("each run removes a file last: %d runs", n)
	}
	if got := gone.heard([]string{"lock"}, func(string) changing { return changing{at(1000), true} }, ran(90)); got != runNow {
		t.Errorf("removed by a person: %d", got)
	}

	var removed echoes
	if got := hear(&removed, "x", 20, local.Status{}); got != runNow {
		t.Errorf("before the first run: %d", got)
	}
}

// TestUnitsOutliveLoops: what a saved kdev.yaml does not change goes on, another
// command ends the old process first, and what was taken out ends.
func TestUnitsOutliveLoops(t *testing.T) {
	s := &Session{locals: locals{changed: make(chan struct{}, 1)}}
	defer s.locals.close()
	serve := func(name, command string) config.Local {
		return config.Local{Name: name, Where: "kdev.yaml:3", Serve: []string{"sh", "-c", command}, Dir: t.TempDir()}
	}
	until := func(u *unit, ok func(local.Status) bool) local.Status {
		t.Helper()
		for {
			st := u.work.Status()
			if ok(st) {
				return st
			}
			select {
			case <-s.locals.changed:
			case <-time.After(30 * time.Second):
				t.Fatalf("still %+v", st)
			}
		}
	}
	runs := func(st local.Status) bool { return st.Phase == local.Ready && st.PID != 0 }
	web, db := serve("web", "exec sleep 300"), serve("db", "exec sleep 300")
	one, two := s.take(t.Context(), web), s.take(t.Context(), db)
	s.locals.retain([]*unit{one, two})
	one.work.Ask()
	two.work.Ask()
	was := until(one, runs)
	until(two, runs)

	web.Where = "kdev.yaml:7" // a line above it
	db.Serve = []string{"sh", "-c", "exec sleep 301"}
	three, four := s.take(t.Context(), web), s.take(t.Context(), db)
	s.locals.retain([]*unit{three, four})
	if three != one || three.Where != "kdev.yaml:7" || three.work.Status().PID != was.PID {
		t.Error("a line above it restarts a process")
	}
	if four == two || two.work.Status().PID != 0 {
		t.Errorf("another command leaves the old process: %+v", two.work.Status())
	}
	s.locals.retain(nil)
	if st := one.work.Status(); st.PID != 0 || st.Phase != local.Idle {
		t.Errorf("taken out and still there: %+v", st)
	}
}
