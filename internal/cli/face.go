package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/source"
	"github.com/kdev-io/kdev/tui"
)

// A face shows one session. notice may be called from the start; show is called
// once there is a session, and returns at once or when the person leaves; close
// writes what is still on its way.
type face interface {
	notice(session.Notice)
	show(ctx context.Context, s *session.Session, parts *session.Parts) error
	close() error
}

func (o *upOptions) face(p *config.Project, facts term.Facts) (face, error) {
	switch {
	case o.output == "json":
		return &jsonFace{out: o.env.Out}, nil
	case o.tui:
		return newDashboard(o.env, p, facts)
	}
	return newPlainFace(o.env.Out, p, facts)
}

// plainFace writes notices and the lines of all pods through one hub, so that
// they come out whole and in order.
type plainFace struct {
	plain plain
	hub   *logs.Hub
	stop  context.CancelFunc
	done  chan error
}

func newPlainFace(out io.Writer, p *config.Project, facts term.Facts) (*plainFace, error) {
	hub, err := logs.New(logs.Options{Out: out, Format: format.Options{Color: facts.Color, Safe: facts.TTY}})
	if err != nil {
		return nil, err
	}
	// The hub outlives the session's context: what is said on leaving goes
	// through it too.
	ctx, stop := context.WithCancel(context.Background())
	f := &plainFace{hub: hub, stop: stop, done: make(chan error, 1)}
	f.plain = plain{out: hub.Source(""), colour: facts.Color, width: nameWidth(p)}
	go func() { f.done <- hub.Run(ctx) }()
	return f, nil
}

// nameWidth is the width of the column of names.
func nameWidth(p *config.Project) int {
	width := len("kdev")
	for _, s := range p.Services {
		width = max(width, len(s.Name))
	}
	return min(width, 20)
}

func (f *plainFace) notice(n session.Notice) {
	if n.Code == "build-output" {
		f.hub.Source("build/" + n.Service).WriteLine(n.Text)
		return
	}
	f.plain.notice(n)
}

func (f *plainFace) show(_ context.Context, s *session.Session, parts *session.Parts) error {
	f.hub.Follow(selection(s, parts))
	return nil
}

func (f *plainFace) close() error {
	f.stop()
	if err := <-f.done; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// selection is every container of the project's workloads: lines from now on
// of what runs already, all lines of what comes.
func selection(s *session.Session, parts *session.Parts) logs.Selection {
	return logs.Selection{
		Opener: source.API(parts.Kube.Core),
		Pods:   ownedPods{parts.Live, s},
		Select: func(pod *corev1.Pod, _ string, _ logs.ContainerType) bool { return s.Owns(pod) },
		From:   source.Options{Follow: true, Since: time.Now()},
	}
}

// ownedPods signals a change after the session has seen it, so that a new pod
// is known to be the project's when it is looked at.
type ownedPods struct {
	*kube.Namespace
	session *session.Session
}

func (p ownedPods) Subscribe() (<-chan struct{}, func()) { return p.session.Subscribe() }

// jsonFace writes one object for each notice. Lines of pods are not in it:
// `kdev logs --output json` has them.
type jsonFace struct {
	mu  sync.Mutex
	out io.Writer
}

// event is the documented form of a notice: one line of `kdev up --output json`
// and of `kdev events`.
type event struct {
	APIVersion string `json:"apiVersion"`
	session.Notice
}

func (f *jsonFace) notice(n session.Notice) {
	if n.Time.IsZero() {
		n.Time = time.Now()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = writeJSON(f.out, event{apiVersion, n}) // strings, numbers and times always marshal
}

func (f *jsonFace) show(context.Context, *session.Session, *session.Parts) error { return nil }
func (f *jsonFace) close() error                                                 { return nil }

// dashboard is the terminal face. Until there is a session it writes plain
// lines: creating a cluster takes long enough to be watched.
type dashboard struct {
	env  Env
	hub  *logs.Hub
	stop context.CancelFunc
	done chan error

	mu      sync.Mutex
	plain   plain
	shown   bool // the dashboard has the terminal
	pending []tui.Line
	wake    chan struct{}
}

func newDashboard(env Env, p *config.Project, facts term.Facts) (*dashboard, error) {
	hub, err := logs.New(logs.Options{})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &dashboard{env: env, hub: hub, stop: stop, done: make(chan error, 1), wake: make(chan struct{}, 1)}
	d.plain = plain{out: env.Out, colour: facts.Color, width: nameWidth(p)}
	go func() { d.done <- hub.Run(ctx) }()
	return d, nil
}

func (d *dashboard) notice(n session.Notice) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.shown {
		d.plain.notice(n)
		return
	}
	who := n.Service
	if who == "" {
		who = "kdev"
	}
	text := fmt.Sprintf("%s %s %s", who, glyphs[n.Level], n.Text)
	if n.Took > 0 {
		text += " (" + took(time.Duration(n.Took)) + ")"
	}
	d.pending = append(d.pending, tui.Line{Service: n.Service, Text: text})
	if n.Problem != nil {
		d.pending = append(d.pending, tui.Line{Service: n.Service, Text: "  " + n.Problem.Error()})
	}
	d.signal()
}

func (d *dashboard) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *dashboard) show(ctx context.Context, s *session.Session, parts *session.Parts) error {
	d.hub.Follow(selection(s, parts))
	d.mu.Lock()
	d.shown = true
	d.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan []tui.Line)
	var pumps sync.WaitGroup
	pumps.Go(func() { d.pump(ctx, s, lines) })
	err := tui.Run(ctx, s, lines, d.env.In, d.env.Out)
	cancel()
	pumps.Wait()
	d.mu.Lock()
	d.shown = false
	d.mu.Unlock()
	if err == nil && ctx.Err() != nil {
		return exitCode(exitInterrupted)
	}
	return err
}

// pump hands lines of pods and notices to the dashboard.
func (d *dashboard) pump(ctx context.Context, s *session.Session, lines chan<- []tui.Line) {
	cur := d.hub.Store().Cursor(false)
	defer cur.Close()
	var safe []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-cur.Changed():
		case <-d.wake:
		}
		d.mu.Lock()
		batch := d.pending
		d.pending = nil
		d.mu.Unlock()
		segs, _ := cur.Next()
		for i := range segs {
			for _, l := range segs[i].Lines {
				src := segs[i].Source
				safe = term.AppendSafe(safe[:0], segs[i].Text(l), true)
				batch = append(batch, tui.Line{Service: s.ServiceOf(src.Pod), Text: src.Pod + " │ " + string(safe)})
			}
		}
		if len(batch) == 0 {
			continue
		}
		select {
		case lines <- batch:
		case <-ctx.Done():
			return
		}
	}
}

func (d *dashboard) close() error {
	d.stop()
	if err := <-d.done; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
