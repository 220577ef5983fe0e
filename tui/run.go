package tui

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/session"
)

// Source is what the dashboard shows: a session, or a stand-in.
type Source interface {
	State() *session.State
	Subscribe() (<-chan struct{}, func())
}

// Run shows the dashboard until the person leaves or ctx is done. lines
// delivers logs and notices; it may be closed. The terminal is as before when
// Run returns.
func Run(ctx context.Context, source Source, lines <-chan []Line, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	p := tea.NewProgram(New(source.State(), time.Now()), tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler())
	var pumps sync.WaitGroup
	defer pumps.Wait()
	defer cancel()
	pumps.Go(func() {
		changed, stop := source.Subscribe()
		defer stop()
		for {
			select {
			case <-changed:
				p.Send(StateMsg{source.State()})
			case <-ctx.Done():
				return
			}
		}
	})
	pumps.Go(func() {
		for {
			select {
			case l, ok := <-lines:
				if !ok {
					return
				}
				p.Send(LineMsg{l})
			case <-ctx.Done():
				return
			}
		}
	})
	_, err := p.Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil // ctx ended it
	}
	return err
}
