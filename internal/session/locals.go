package session

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
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
	called  string // for people
	cancel  context.CancelFunc
	done    chan struct{} // closed when nothing of it is left
	stand   *stand        // of one that stands in for a service; else nil

	env atomic.Pointer[[]string] // of one that stands in

	// Below: the loop's.
	asked bool      // it was started once
	up    bool      // it was ready once
	seen  string    // what its environment was made of
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
	return s.unit(ctx, c, meaning(&config.Project{Local: []config.Local{c}}), nil)
}

// takeStandIn is take for a program that stands in for a service.
func (s *Session) takeStandIn(ctx context.Context, c *config.StandIn) *unit {
	return s.unit(ctx, c.Local, meaning(&config.Project{Services: []config.Service{{StandIn: c}}}), c)
}

func (s *Session) unit(ctx context.Context, c config.Local, is string, in *config.StandIn) *unit {
	if u := s.locals.of[c.Name]; u != nil && u.meaning == is {
		u.Where = c.Where
		return u
	}
	u := &unit{Local: c, meaning: is, called: s.called(c.Name), done: make(chan struct{})}
	o := local.Options{
		Command: process.Command{Args: c.Run, Dir: c.Dir},
		Hide:    s.parts.Hide,
		Output:  func(line string) { s.output(c.Name, line) },
		Changed: s.locals.signal,
	}
	if in == nil {
		o.Command.Env = environment(c.Env)
	} else {
		o.Env = func() []string { return *u.env.Load() } // it is not started before that is known
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
	if in != nil {
		u.stand = newStand(ctx, s, in)
	}
	go func() { // waited for by retain and close
		defer close(u.done)
		u.work.Run(ctx)
		if u.stand != nil {
			u.stand.close()
		}
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
// the run that this asked for is under way, and again, is its own. So it is where
// each run makes a file of another name: people do not go on for so long to save
// just while it runs.
type echoes struct {
	since   time.Time       // when somebody else's change asked for the first run of a row
	written map[string]bool // paths that changed during the runs of that row
	later   bool            // the run under way is to be followed by another one
	repeats int             // runs in a row that the same paths asked for
	row     int             // runs in a row that anything asked for that changed during one
	told    bool
}

// mostRepeats is how many runs a generator gets because of files that changed
// during the one before, where they had done so before; longestRow how many because
// of any.
const (
	mostRepeats = 3
	longestRow  = 10
)

// A changing is when a path changed.
type changing struct {
	at   time.Time
	seen bool // nobody knows but when it was seen: the path is gone
}

// seeing is how late it may be seen that a file is gone.
const seeing = time.Second

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
func (e *echoes) heard(paths []string, changed func(path string) changing, st local.Status) echoed {
	if e.since.IsZero() {
		e.since = st.Started.Add(-coarse)
	}
	for _, p := range paths {
		c := changed(p)
		end := st.Ended
		if c.seen && !end.IsZero() {
			end = end.Add(seeing)
		}
		// Of an earlier run than the last one counts too: it may be heard of late.
		if st.Started.IsZero() || c.at.Before(e.since) || !end.IsZero() && c.at.After(end) {
			*e = echoes{since: c.at, told: e.told} // somebody else's
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
		switch e.row++; {
		case e.row < longestRow:
			return runNow
		case st.Ended.IsZero():
			e.later = true // let it end at least
			return runLater
		}
		return runNot
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
	e.row++
	if e.repeats++; e.repeats >= mostRepeats || e.row >= longestRow {
		return runNot
	}
	return runNow
}
