package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/internal/term"
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
another terminal. Ctrl-C leaves it and ends nothing; "kdev stop" ends it.`,
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
	return cmd
}

// attach joins with a face of its own.
func (o *upOptions) attach(ctx context.Context, about control.About) error {
	facts := term.Detect(o.env.Out, term.ColorAuto, o.env.Getenv)
	o.joins = true
	face, err := o.face(&config.Project{Name: about.Project, Root: about.Root, Namespace: about.Namespace}, facts)
	if err != nil {
		return err
	}
	return errors.Join(o.join(ctx, about, face), face.close())
}

// A joiner is a face that shows log lines which come from elsewhere.
type joiner interface{ line(control.Line) }

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
	work.Go(func() { _ = remote.Events(ctx, true, joinedEvents, face.notice) }) // its end is the session's
	if f, ok := face.(joiner); ok {
		work.Go(func() { _ = remote.Lines(ctx, true, joinedLines, f.line) })
	}
	if o.until != "" {
		err = o.await(ctx, remote)
		if err == nil && ctx.Err() == nil {
			return nil
		}
	} else {
		<-ctx.Done()
	}
	switch {
	case err != nil:
		return err
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

// line shows a line of a session in another process.
func (f *plainFace) line(l control.Line) {
	name := l.Name
	if l.Pod != "" {
		name = l.Pod + " " + l.Container
	}
	if l.Time.IsZero() {
		l.Time = time.Now()
	}
	f.hub.Source(name).WriteAt(l.Time, level.Detect([]byte(l.Text)), l.Text)
}

// asProblem gives an error the form that faces show.
func asProblem(err error, code string) *problem.Problem {
	if p := problem.As(err); p != nil {
		return p
	}
	return &problem.Problem{Code: code, Summary: err.Error()}
}
