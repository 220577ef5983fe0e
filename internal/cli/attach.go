package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// What one who joins sees of what was before.
const (
	joinedEvents = 20
	joinedLines  = 100
)

func newAttach(env Env) *cobra.Command {
	o := &upOptions{env: env}
	cmd := &cobra.Command{
		Use:   "attach",
		Short: "Join the running kdev up: see what it does",
		Long: `Attach shows what the running "kdev up" of this project does, its logs included, from
another terminal: on a dashboard of its own, from which everything can be done that can be
done there, or as lines. Ctrl-C leaves it and ends nothing; "kdev stop" ends it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			about, err := o.flags.running(env)
			if err != nil {
				return err
			}
			return o.attach(cmd.Context(), about)
		},
	}
	o.flags.addRunning(cmd)
	cmd.Flags().StringVarP(&o.output, "output", "o", "text", "text or json: one object for each thing that happens")
	cmd.Flags().BoolVar(&o.plain, "plain", false, "lines of text instead of the dashboard; the default where there is no terminal, with CI set or TERM=dumb")
	cmd.Flags().BoolVar(&o.accessible, "accessible", false, "lines for a screen reader; as with ACCESSIBLE set")
	cmd.MarkFlagsMutuallyExclusive("plain", "output")
	cmd.MarkFlagsMutuallyExclusive("accessible", "output")
	return cmd
}

// attach joins with a face of its own.
func (o *upOptions) attach(ctx context.Context, about control.About) error {
	defer spareMemory(o.env, spareUpFrom)()
	facts := term.Detect(o.env.Out, term.ColorAuto, o.env.Getenv)
	o.joins = true
	p := &config.Project{Name: about.Project, Root: about.Root, Namespace: about.Namespace}
	if loaded, err := o.flags.load(o.env); err == nil { // the session goes on where it has a mistake
		p.Environments = loaded.Environments
	}
	face, err := o.face(p, facts)
	if err != nil {
		return err
	}
	return errors.Join(o.join(ctx, about, face), face.close())
}

// A joiner is a face that shows a session of another process, and log lines which come
// from there. beside is called once there is a State to show; it returns at once, or,
// where the face takes keys, when the person has left or ctx is done. carry begins with
// what the session says.
type joiner interface {
	beside(ctx context.Context, o *upOptions, remote *control.Remote, carry func()) (left bool, err error)
	line(control.Line)
}

// join shows another process's session until it ends, or ctx does, or with
// --until when that has come.
func (o *upOptions) join(ctx context.Context, about control.About, face face) error {
	remote, err := control.Dial(ctx, o.env.Getenv, about)
	if err != nil {
		return err
	}
	defer remote.Close()
	for _, name := range o.session.Services {
		if _, err := remote.Do(ctx, session.Command{Verb: session.DoStart, Service: name}); err != nil {
			return err
		}
	}
	face.notice(session.Notice{Level: session.Info, Code: "joined",
		Text: fmt.Sprintf("joined the kdev up that runs for %s (process %d); Ctrl-C leaves it, `kdev stop` ends it", took(time.Since(about.Started)), about.PID)})
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() {
		select {
		case <-remote.Ended():
			cancel()
		case <-ctx.Done():
		}
	})
	left := false
	if f, ok := face.(joiner); ok {
		left, err = f.beside(ctx, o, remote, func() {
			work.Go(func() {
				_ = remote.Events(ctx, true, joinedEvents, func(n session.Notice) { // its end is the session's
					if n.Code != "build-output" { // among the lines
						face.notice(n)
					}
				})
			})
			work.Go(func() {
				if err := remote.Lines(ctx, true, joinedLines, f.line); errors.Is(err, control.ErrNoLines) {
					face.notice(session.Notice{Level: session.Warn, Code: "lines-elsewhere", Text: "the session reads no logs, since it was started with --output json: `kdev logs` does"})
				}
			})
		})
	} else {
		work.Go(func() { _ = remote.Events(ctx, true, joinedEvents, face.notice) })
	}
	switch {
	case left || err != nil:
	case o.until != "":
		err = o.await(ctx, remote)
		if err == nil && ctx.Err() == nil {
			return nil
		}
	default:
		<-ctx.Done()
	}
	switch {
	case err != nil:
		return err
	case left:
		cancel()
		work.Wait()
		face.notice(session.Notice{Level: session.Info, Code: "left", Text: "left; the session goes on: `kdev attach` comes back, `kdev stop` ends it"})
		return nil
	case whole.Err() != nil:
		return exitCode(exitInterrupted)
	case o.until != "":
		return &problem.Problem{Code: "session-gone", Where: about.Root, Summary: "the session ended before everything was ready",
			Hint: "`kdev up` starts another one"}
	}
	face.notice(session.Notice{Level: session.Info, Code: "session-ended", Text: "the session has ended"})
	return nil
}

func (f *plainFace) lines() *store.Store { return f.hub.Store() }
func (d *dashboard) lines() *store.Store { return d.hub.Store() }

func (f *plainFace) beside(_ context.Context, _ *upOptions, _ *control.Remote, carry func()) (bool, error) {
	carry()
	return false, nil
}

func (f *plainFace) line(l control.Line) { carried(f.hub, l) }
func (d *dashboard) line(l control.Line) { carried(d.hub, l) }

// carried adds a line of a session in another process.
func carried(hub *logs.Hub, l control.Line) {
	source := hub.Source(l.Name)
	if l.Pod != "" {
		source = hub.Carried(l.Service, l.Node, l.Namespace, l.Pod, l.Container)
	}
	if l.Time.IsZero() {
		l.Time = time.Now()
	}
	source.WriteAt(l.Time, level.Unknown, l.Text)
}

// beside shows a session of another process until the person leaves.
func (d *dashboard) beside(ctx context.Context, o *upOptions, remote *control.Remote, carry func()) (left bool, err error) {
	client := func() (*kube.Client, func(), error) {
		kc, err := o.flags.client(ctx, d.env, remote.About.Context)
		if err != nil {
			return nil, nil, err
		}
		return kc, kc.Close, nil
	}
	d.setShown(true)
	defer d.setShown(false)
	carry()
	return d.run(ctx, remote, client)
}

// asProblem gives an error the form that faces show.
func asProblem(err error, code string) *problem.Problem {
	if p := problem.As(err); p != nil {
		return p
	}
	return &problem.Problem{Code: code, Summary: err.Error()}
}
