package local

import (
	"context"
	"time"

	"github.com/kdev-io/kdev/internal/process"
)

// A Generator runs a command to its end, each time that it is asked to. A run that
// is under way then is killed: what it was to make is out of date.
type Generator struct {
	board
	asks chan struct{}
}

// NewGenerator prepares one; nothing runs before it is asked to, in Run.
func NewGenerator(o Options) *Generator {
	return &Generator{board: board{options: o.withDefaults(), status: Status{Phase: Idle}}, asks: make(chan struct{}, 1)}
}

// Ask wants a run that begins after this call. From its return on the Status is
// that of a generator which runs.
func (g *Generator) Ask() {
	g.mu.Lock()
	g.asked = true
	g.status.Phase = Running
	g.mu.Unlock()
	g.wake()
}

func (g *Generator) wake() {
	select {
	case g.asks <- struct{}{}:
	default: // a run that has not begun yet does for both
	}
}

// Run runs what is asked for until ctx is done.
func (g *Generator) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.asks:
		}
		g.once(ctx)
	}
}

// once is one run, to its end or until another one is asked for.
func (g *Generator) once(ctx context.Context) {
	g.began()
	p, err := process.Start(g.options.command(), g.line)
	if err != nil {
		g.ended(err, nil)
		return
	}
	g.set(func(s *Status) { s.PID = p.PID() })
	select {
	case <-p.Done():
	case <-ctx.Done():
	case <-g.asks:
		g.wake() // Run is to see it too
	}
	p.Stop(0)
	code := p.Code()
	g.ended(p.Err(), &code)
}

func (g *Generator) ended(err error, exit *int) {
	g.set(func(s *Status) {
		s.PID, s.Exit, s.Err, s.Ended = 0, exit, err, time.Now()
		s.Took = s.Ended.Sub(s.Started)
		switch {
		case g.asked: // another run is to come: what this one did is of no interest
			s.Phase = Running
		case err != nil:
			s.Phase = Failed
		default:
			s.Phase = Ready
		}
	})
}
