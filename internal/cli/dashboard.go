package cli

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/tui"
)

// dashboard is the terminal face. Until there is a session, and after the person
// has left, it writes plain lines: creating a cluster takes long enough to be
// watched.
type dashboard struct {
	env    Env
	facts  term.Facts
	hub    *logs.Hub
	stop   context.CancelFunc
	done   chan error
	root   string // of the project
	memory string // file that keeps the layout
	// Of other environments, for people who look at one.
	environments []string
	context      string // of --context

	mu    sync.Mutex
	plain plain
	shown bool // the dashboard has the terminal
}

func newDashboard(env Env, p *config.Project, facts term.Facts, hide *secrets, run runHub) (*dashboard, error) {
	hub, err := logs.New(logs.Options{Mask: &hide.mask})
	if err != nil {
		return nil, err
	}
	// The hub outlives the session's context, as the plain face's does.
	ctx, stop := context.WithCancel(context.Background())
	d := &dashboard{env: env, facts: facts, hub: hub, stop: stop, done: make(chan error, 1), root: p.Root, memory: memoryFile(env.Getenv, p.Root)}
	d.plain = plain{out: env.Out, colour: facts.Color, width: nameWidth(p)}
	go func() { d.done <- run(ctx, env, p, hub, hide) }()
	return d, nil
}

// notice goes into the store, where the log pane finds it, and on the screen as
// long as there is no dashboard.
func (d *dashboard) notice(n session.Notice) {
	if n.Step != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.shown && n.Code != "build-output" {
		d.plain.notice(n)
	}
	d.store(n)
}

// severities are the levels by which the log pane filters what kdev says.
var severities = map[session.Level]level.Level{
	session.Info: level.Info, session.Done: level.Info, session.Warn: level.Warn, session.Fail: level.Error,
}

func (d *dashboard) store(n session.Notice) {
	if n.Time.IsZero() {
		n.Time = time.Now()
	}
	if n.Code == "build-output" {
		d.hub.Source("build/" + n.Service).WriteLine(n.Text)
		return
	}
	source := d.hub.Source("kdev/" + n.Service)
	write := func(text string) { source.WriteAt(n.Time, severities[n.Level], text) }
	text := glyphs[n.Level] + " " + n.Text
	if n.Took > 0 {
		text += " (" + took(time.Duration(n.Took)) + ")"
	}
	write(text)
	if p := n.Problem; p != nil {
		write("  " + p.Error())
		if out := strings.TrimRight(p.Output, "\n"); out != "" {
			for line := range strings.SplitSeq(out, "\n") {
				write("  │ " + line)
			}
		}
		if p.Hint != "" {
			write("  hint: " + p.Hint)
		}
	}
}

func (d *dashboard) output(service, line string) { d.hub.Source("local/" + service).WriteLine(line) }

func (d *dashboard) show(ctx context.Context, s session.Control, members []member) (left bool, err error) {
	for _, m := range members {
		d.hub.Follow(selection(m.session, m.parts))
	}
	d.setShown(true)
	defer d.setShown(false)
	return d.run(ctx, s, func() (*kube.Client, func(), error) { return members[0].parts.Kube, func() {}, nil })
}

// run has the terminal until the person leaves or ctx is done.
func (d *dashboard) run(ctx context.Context, s session.Control, connect func() (*kube.Client, func(), error)) (left bool, err error) {
	defer watchTerminal(d.env.In, d.env.Out, d.env.Getenv)()
	memory, err := tui.Run(ctx, s, tui.Options{
		Store: d.hub.Store(), Control: s, Host: d.host(ctx, s, connect), Memory: readMemory(d.memory), Plain: !d.facts.Color,
	}, tui.Terminal{In: d.env.In, Out: d.env.Out})
	if err != nil {
		return false, err
	}
	if ctx.Err() == nil && d.env.left != nil {
		d.env.left()
	}
	return ctx.Err() == nil, writeMemory(d.memory, memory)
}

func (d *dashboard) setShown(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown = on
}

func (d *dashboard) close() error {
	d.stop()
	if err := <-d.done; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
