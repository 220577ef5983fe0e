//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/tui"
)

// script is what the person presses, over and over: through services, into the
// lines, back and forth, a search, the palette, the help. Esc is not in it: no
// program knows before some 50 ms whether it begins the sequence of another key.
var script = []string{"j", "j", "j", "k", "1", "\x1b[5~", "\x1b[5~", "f", "w", "w", "/", "j", "o", "b", "\r", "n", "N", "/", "\r", "f", "a", "a", "\t", ":", "\x03", "?", "q"}

// A dashboard runs as it does for a person, with a clock at each end.
type dashboard struct {
	cancel context.CancelFunc
	ended  chan struct{}
	keys   *io.PipeWriter

	mu     sync.Mutex
	n      counts
	drew   chan struct{}
	sent   time.Time // of the key under way
	stage  stage
	answer chan struct{} // the key's picture was written
}

// counts are what was seen so far.
type counts struct {
	views, paints []time.Duration
	flushes       int
	bytes         int
}

// A stage is how far a key is.
type stage int

const (
	noKey stage = iota
	typed
	taken // by Update
	made  // into a frame
)

// patience bounds the wait for one picture.
const patience = 10 * time.Second

func show(ctx context.Context, l *load) *dashboard {
	ctx, cancel := context.WithCancel(ctx)
	in, keys := io.Pipe()
	d := &dashboard{cancel: cancel, ended: make(chan struct{}), keys: keys, drew: make(chan struct{}, 1), answer: make(chan struct{}, 1)}
	go func() {
		defer close(d.ended)
		_, _ = tui.Run(ctx, l, tui.Options{Store: l.store, Around: func(m tea.Model) tea.Model { return probe{m, d} }},
			tui.Terminal{In: in, Out: d, Env: []string{"TERM=xterm-256color"}}, tea.WithWindowSize(200, 60))
	}()
	return d
}

func (d *dashboard) close() {
	d.cancel()
	_ = d.keys.Close()
	<-d.ended
}

func (d *dashboard) counts() counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.n
	c.views, c.paints = slices.Clone(c.views), slices.Clone(c.paints)
	return c
}

// Write is the terminal.
func (d *dashboard) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n.bytes += len(p)
	d.n.flushes++
	if d.stage == made {
		d.n.paints = append(d.n.paints, time.Since(d.sent))
		d.stage = noKey
		wake(d.answer)
	}
	wake(d.drew)
	return len(p), nil
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// press types a key. It waits until the picture of the last one is there: keys
// that overtake each other would share one.
func (d *dashboard) press(ctx context.Context, key string) error {
	d.mu.Lock()
	d.sent, d.stage = time.Now(), typed
	d.mu.Unlock()
	if _, err := io.WriteString(d.keys, key); err != nil {
		return err
	}
	select {
	case <-d.answer:
	case <-ctx.Done():
	case <-time.After(patience):
		return fmt.Errorf("%q had no picture after %v", key, patience)
	}
	return nil
}

// drawn returns when the first picture is there.
func (d *dashboard) drawn(ctx context.Context) error {
	select {
	case <-d.drew:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return fmt.Errorf("no picture after %v", patience)
	}
}

// settled returns when nothing was drawn for a second.
func (d *dashboard) settled(ctx context.Context) error {
	for {
		select {
		case <-d.drew:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
			return nil
		}
	}
}

// A probe is a Model with a watch.
type probe struct {
	tea.Model
	d *dashboard
}

func (p probe) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	_, cmd := p.Model.Update(msg)
	if _, ok := msg.(tea.KeyPressMsg); ok {
		p.d.mu.Lock()
		if p.d.stage == typed {
			p.d.stage = taken
		}
		p.d.mu.Unlock()
	}
	return p, cmd
}

func (p probe) View() tea.View {
	start := time.Now()
	v := p.Model.View()
	took := time.Since(start)
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.d.n.views = append(p.d.n.views, took)
	if p.d.stage == taken {
		p.d.stage = made
	}
	return v
}
