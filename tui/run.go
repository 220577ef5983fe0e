package tui

import (
	"context"
	"errors"
	"io"
	"sync"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/session"
)

// Source is what the dashboard shows: a session, or a stand-in.
type Source interface {
	State() *session.State
	Subscribe() (<-chan struct{}, func())
}

// Terminal is where the dashboard is shown.
type Terminal struct {
	In  io.Reader
	Out io.Writer
	// Env is the environment, from which TERM and what says of colours is read; nil
	// is the process's own.
	Env []string
}

// maxFPS is how often the screen may change in a second.
const maxFPS = 30

// Run shows the dashboard until the person leaves or ctx is done, and returns
// what is to be remembered. The terminal is as before when Run returns, whatever
// ended it. opts.State, if nil, is the source's.
func Run(ctx context.Context, source Source, opts Options, t Terminal, extra ...tea.ProgramOption) (Memory, error) {
	ctx, cancel := context.WithCancel(ctx)
	if opts.State == nil {
		opts.State = source.State()
	}
	if opts.Names == nil {
		opts.Names = NewNames(source.State)
	}
	m := New(opts)
	options := []tea.ProgramOption{
		tea.WithContext(ctx), tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithoutSignalHandler(), tea.WithFPS(maxFPS),
	}
	if t.Env != nil {
		options = append(options, tea.WithEnvironment(t.Env))
	}
	var shown tea.Model = m
	if opts.Around != nil {
		shown = opts.Around(m)
	}
	p := tea.NewProgram(shown, append(options, extra...)...)
	var pumps sync.WaitGroup
	defer pumps.Wait()
	defer cancel()
	pumps.Go(func() { m.worker.run(ctx, func() { p.Send(movedMsg{}) }) })
	pumps.Go(func() { follow(ctx, source, func(st *session.State) { p.Send(StateMsg{st}) }) })
	_, err := p.Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		err = nil // ctx ended it
	}
	return m.Memory(), err
}

// follow hands each new snapshot over, at most thirty times a second.
func follow(ctx context.Context, source Source, send func(*session.State)) {
	changed, stop := source.Subscribe()
	defer stop()
	var last *session.State
	pace := newPace()
	defer pace.Stop()
	for {
		if st := source.State(); st != last {
			last = st
			send(st)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		select {
		case <-pace.C:
			pace.Reset(frame)
		case <-ctx.Done():
			return
		}
	}
}
