package session

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/local"
	"github.com/kdev-io/kdev/internal/process"
)

// locals are the units of local work that a session has. They outlive a loop, so
// that a saved kdev.yaml ends no process that it does not change. Their methods are
// for the goroutine of Run.
type locals struct {
	changed chan struct{} // a unit's status is another one; coalesced
	of      map[string]*unit
}

// A unit is local work under supervision.
type unit struct {
	config.Local
	work interface {
		Ask()
		Run(ctx context.Context)
		Status() local.Status
	}
	meaning string // of its configuration
	cancel  context.CancelFunc
	done    chan struct{} // closed when nothing of it is left

	// Below: the loop's.
	asked bool      // it was started once
	told  toldLocal // the status that notices are up to
	echo  echoes
}

// toldLocal is what tells one status from the next, for people.
type toldLocal struct {
	run   int
	phase local.Phase
}

func (u *unit) generates() bool { return u.Run != nil }

// take returns the unit of a configuration: the one that goes on, or a new one,
// which does nothing before it is asked to. It has to end with ctx.
func (s *Session) take(ctx context.Context, c config.Local) *unit {
	is := meaning(&config.Project{Local: []config.Local{c}})
	if u := s.locals.of[c.Name]; u != nil && u.meaning == is {
		u.Where = c.Where
		return u
	}
	u := &unit{Local: c, meaning: is, done: make(chan struct{})}
	o := local.Options{
		Command: process.Command{Args: c.Run, Dir: c.Dir, Env: environment(c.Env)},
		Hide:    s.parts.Hide,
		Output:  func(line string) { s.output(c.Name, line) },
		Changed: s.locals.signal,
	}
	if u.generates() {
		u.work = local.NewGenerator(o)
	} else {
		o.Command.Args = c.Serve
		check := local.Check{HTTP: c.Ready.HTTP, Port: c.Ready.Port}
		if c.Ready.Log != "" {
			check.Log = regexp.MustCompile(c.Ready.Log) // the configuration was checked
		}
		u.work = local.NewServer(o, check)
	}
	ctx, u.cancel = context.WithCancel(ctx)
	go func() { // waited for by retain and close
		defer close(u.done)
		u.work.Run(ctx)
	}()
	return u
}

// environment is variables as a process wants them.
func environment(vars map[string]string) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env
}

func (s *locals) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// retain makes units those that there are, and ends the others: an old process
// has given back its port before the new one is asked for.
func (s *locals) retain(units []*unit) {
	keep := map[string]*unit{}
	for _, u := range units {
		keep[u.Name] = u
	}
	var ending sync.WaitGroup
	for name, u := range s.of {
		if keep[name] != u {
			ending.Go(u.end)
		}
	}
	ending.Wait()
	s.of = keep
}

func (s *locals) close() { s.retain(nil) }

func (u *unit) end() {
	u.cancel()
	<-u.done
}

// Echoes find out that a generator runs because of what it wrote itself. Nobody
// tells who wrote a file; but what changes while a generator runs, and again while
// the run that this asked for is under way, and again, is its own.
type echoes struct {
	since   time.Time       // when somebody else's change asked for the first run of a row
	written map[string]bool // paths that changed during the runs of that row
	later   bool            // the run under way is to be followed by another one
	repeats int             // runs in a row that such changes asked for
	told    bool
}

// mostRepeats is how many runs a generator gets because of files that changed
// during the one before.
const mostRepeats = 3

// coarse is by how much the time of a file may lie before that of its writing: file
// systems take the time of the last tick.
const coarse = 10 * time.Millisecond

// What a change asks of a generator.
type echoed int

const (
	runNow   echoed = iota // what is under way is out of date
	runLater               // when the run under way has ended
	runNot                 // it is the generator's own
)

// heard judges changes that a generator should run for.
func (e *echoes) heard(paths []string, changed func(path string) time.Time, st local.Status) echoed {
	if e.since.IsZero() {
		e.since = st.Started.Add(-coarse)
	}
	for _, p := range paths {
		at := changed(p)
		// Of an earlier run than the last one counts too: it may be heard of late.
		if st.Started.IsZero() || at.Before(e.since) || !st.Ended.IsZero() && at.After(st.Ended) {
			*e = echoes{since: at, told: e.told} // somebody else's
			return runNow
		}
	}
	repeated := true
	for _, p := range paths {
		repeated = repeated && e.written[p]
	}
	if e.written == nil {
		e.written = map[string]bool{}
	}
	for _, p := range paths {
		e.written[p] = true
	}
	switch {
	case !repeated:
		return runNow
	case st.Ended.IsZero():
		e.later = true
		return runLater
	}
	return e.again()
}

// again says whether a run is due because of what changed during the one that has
// ended.
func (e *echoes) again() echoed {
	e.later = false
	if e.repeats++; e.repeats >= mostRepeats {
		return runNot
	}
	return runNow
}
