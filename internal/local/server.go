package local

import (
	"context"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/process"
)

// A Server keeps a process running. One that ends by itself is started again,
// after a time that doubles while it goes on ending.
type Server struct {
	board
	ready Check
	wants chan struct{} // wanted or anew changed

	// Guarded by board.mu.
	wanted bool // it is to run
	anew   bool // the one that runs is to be replaced

	delay time.Duration // until the next start after an end; Run's alone
}

const (
	longestDelay = 30 * time.Second
	longEnough   = 30 * time.Second // that a process ran for its end to count as the first
)

// NewServer prepares one; nothing runs before it is asked to, in Run.
func NewServer(o Options, ready Check) *Server {
	o = o.withDefaults()
	return &Server{board: board{options: o, status: Status{Phase: Idle}}, ready: ready, wants: make(chan struct{}, 1), delay: o.Again}
}

// Ask wants a process that is started after this call, in place of one that runs.
// From its return on the Status is that of a server that is starting.
func (s *Server) Ask() { s.want(true, Running) }

// Halt wants none.
func (s *Server) Halt() { s.want(false, Idle) }

func (s *Server) want(on bool, p Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted, s.anew = on, true
	s.status.Phase = p
	select {
	case s.wants <- struct{}{}:
	default:
	}
}

// take is what is wanted now. A want that comes later has a signal of its own.
func (s *Server) take() (wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anew = false
	select {
	case <-s.wants:
	default:
	}
	return s.wanted
}

// Run keeps it as it is wanted until ctx is done, and ends it then.
func (s *Server) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if s.take() && s.life(ctx) {
			s.down(ctx)
		} else {
			s.rest(ctx, nil)
		}
	}
}

// down is the time between an end and the start after it.
func (s *Server) down(ctx context.Context) {
	timer := time.NewTimer(s.delay)
	defer timer.Stop()
	s.delay = min(2*s.delay, longestDelay)
	if s.rest(ctx, timer.C) {
		s.set(func(st *Status) { st.Restarts++ })
	}
}

// rest waits until something else is wanted, or until it is over.
func (s *Server) rest(ctx context.Context, over <-chan time.Time) bool {
	s.mu.Lock()
	anew := s.anew // since the last process was started
	s.mu.Unlock()
	if anew {
		return false
	}
	select {
	case <-ctx.Done():
	case <-s.wants:
		s.delay = s.options.Again
	case <-over:
		return true
	}
	return false
}

// life is that of one process. It says whether it ended by itself.
func (s *Server) life(ctx context.Context) (ended bool) {
	s.began()
	if err := s.ready.free(ctx); err != nil {
		s.failed(err, nil)
		return true
	}
	probing, stop := context.WithCancel(ctx)
	var probe sync.WaitGroup
	defer probe.Wait()
	defer stop()
	up, hear := s.ready.watch(probing, &probe)
	p, err := process.Start(s.options.command(), func(text string) {
		s.line(text)
		hear(text)
	})
	if err != nil {
		s.failed(err, nil)
		return true
	}
	s.set(func(st *Status) { st.PID = p.PID() })
	for {
		select {
		case <-up:
			up = nil
			s.set(func(st *Status) {
				if !s.anew {
					st.Phase, st.Took = Ready, time.Since(st.Started)
				}
			})
		case <-p.Done():
			code := p.Code()
			if time.Since(s.Status().Started) > longEnough {
				s.delay = s.options.Again
			}
			s.failed(p.Err(), &code)
			return true
		case <-s.wants:
			s.delay = s.options.Again
			s.end(p)
			return false
		case <-ctx.Done():
			s.end(p)
			return false
		}
	}
}

// end stops the process because that is wanted.
func (s *Server) end(p *process.Running) {
	p.Stop(s.options.Grace)
	code := p.Code()
	s.set(func(st *Status) {
		st.PID, st.Exit, st.Ended = 0, &code, time.Now()
		if st.Phase != Running { // else it is started anew
			st.Phase = Idle
		}
	})
}

// failed notes that the process ended by itself, or could not be started.
func (s *Server) failed(err error, exit *int) {
	s.set(func(st *Status) {
		st.PID, st.Exit, st.Err, st.Ended, st.Again = 0, exit, err, time.Now(), s.delay
		if !s.anew {
			st.Phase = Failed
		}
	})
}
