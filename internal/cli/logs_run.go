package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/source"
)

// run reads until nothing is left, what --until says is reached, or ctx is done.
func (p *logsPlan) run(ctx context.Context) (err error) {
	defer spareMemory(p.o.env, spareLogsFrom)()
	p.hub.Out = p.o.env.Out
	if p.o.save != "" {
		file, openErr := os.OpenFile(p.o.path(p.o.save), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if openErr != nil {
			return badLogs(openErr)
		}
		defer func() { err = p.saved(err, file.Close()) }()
		p.hub.Save = file
		p.hub.SaveFailed = func(err error) { p.notices.warn(fmt.Sprintf("%v: the lines go on without being saved", err)) }
	}
	if p.o.stdin || p.o.past {
		p.hideManifests(ctx)
		out := &wroteAny{Writer: p.hub.Out}
		p.hub.Out = out
		hub, err := logs.New(p.hub)
		if err != nil {
			return badLogs(err)
		}
		if p.o.stdin {
			hub.Pipe(p.o.env.In)
		} else if err := p.readPast(hub); err != nil {
			return err
		}
		err = p.ended(ctx, hub, hub.Run(ctx))
		if err == nil && p.o.past && !out.any && !p.toldNone {
			p.notices.say("no kept line matches")
		}
		return err
	}
	if about, ok := p.session(); ok {
		remote, err := control.Dial(ctx, p.o.env.Getenv, about)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil: // else it has just ended, and the cluster is there all the same
			defer remote.Close()
			p.remote = remote
			if err := p.strayLocal(remote.State()); err != nil {
				return err
			}
			if p.has(remote) {
				if err := p.through(ctx, remote); !errors.Is(err, control.ErrNoLines) {
					return err
				}
			}
		}
	}
	clusters, closeAll, err := p.clusters(ctx)
	if err != nil {
		return err
	}
	defer closeAll()
	if p.o.prompt {
		if err := p.ask(ctx, clusters); err != nil {
			return err
		}
	}
	p.hideManifests(ctx)
	hub, err := logs.New(p.hub)
	if err != nil {
		return badLogs(err)
	}
	return p.follow(ctx, hub, clusters)
}

// follow reads clusters.
func (p *logsPlan) follow(ctx context.Context, hub *logs.Hub, clusters []*logsCluster) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	beside, stopBeside := context.WithCancel(ctx)
	var work sync.WaitGroup
	if p.remote != nil && p.once() {
		p.feedLocals(beside, hub)
	}
	open := p.open(beside, hub, clusters)
	defer func() {
		stopBeside()
		work.Wait()
		open.close()
	}()
	if p.once() || len(clusters) == 1 {
		// Who reads once shows all in its order; else no cluster waits for another.
		if open.wait(); len(open.of) == 0 {
			return open.missing
		}
	}
	var left error
	work.Go(func() {
		if open.wait(); len(open.of) == 0 {
			stop()
		} else if untilStates[p.o.until] != nil {
			p.until(beside, hub, open.of, func(err error) {
				p.reached, left = true, err
				stop()
			})
		}
	})
	if p.remote != nil && !p.once() {
		work.Go(func() {
			if err := p.locals(beside, func(l control.Line) { carried(hub, l) }); err != nil {
				p.notices.say(err.Error())
			}
		})
	}
	if p.project != nil {
		work.Go(func() {
			if err := keepLines(beside, p.o.env, p.project, hub.Store(), &p.hidden); err != nil {
				p.notices.say(err.Error())
			}
		})
	}
	err := hub.Run(reading)
	stopBeside()
	work.Wait()
	if p.reached && !errors.Is(err, logs.ErrSave) {
		if left == nil && p.o.until != "failed" {
			return open.missing // ready or done as far as was read
		}
		return left
	}
	err = p.ended(ctx, hub, err)
	if open.missing != nil && !p.reached && (err == nil || len(open.of) == 0 || errors.Is(err, context.DeadlineExceeded)) {
		return open.missing
	}
	return err
}

// saved is err, or why the file of --save lacks lines.
func (p *logsPlan) saved(err, closing error) error {
	switch {
	case errors.Is(err, logs.ErrSave):
		closing = errors.Unwrap(err)
	case err != nil || closing == nil:
		return err
	}
	return &problem.Problem{Code: "logs-save", Where: p.o.save, Summary: "lines are missing in the file", Err: closing,
		Hint: "`kdev logs --no-follow --save FILE` in a folder with room saves what the nodes still have"}
}

// ended gives an interrupt the error that Main knows.
func (p *logsPlan) ended(ctx context.Context, hub *logs.Hub, err error) error {
	p.reached = hub.Met()
	switch {
	case err != nil || p.reached:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case p.hub.Until != nil:
		return &problem.Problem{Code: "logs-until", Summary: fmt.Sprintf("no line matched --until %s", p.o.until),
			Hint: "without --no-follow it waits for one"}
	}
	return nil
}

// path is a file that a flag names.
func (o *logsOptions) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.env.Dir, name)
}

// notices writes what is not a log line to stderr.
type notices struct {
	out       io.Writer
	quiet     bool // --only-log-lines
	color     bool
	namespace bool
	palette   format.Palette

	mu        sync.Mutex
	explained map[string]bool
}

func (n *notices) tell(e logs.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch e.Kind {
	case source.Opened:
		n.sign("+", format.SGR(92, 1), e)
	case source.Ended:
		n.sign("-", format.SGR(91, 1), e)
	case source.Retrying:
		fmt.Fprintf(n.out, "failed to tail %s › %s: %v, will retry\n", e.Source.Pod, e.Source.Container, e.Err)
	case source.Denied:
		fmt.Fprintf(n.out, "failed to tail %s › %s: %v\n", e.Source.Pod, e.Source.Container, e.Err)
	case source.Explained, source.Waiting:
		text := e.Text
		if e.Kind == source.Waiting {
			text = "more containers than --max-log-requests: those beyond it are read in turn"
		}
		if n.explained == nil {
			n.explained = map[string]bool{}
		}
		if !n.explained[text] {
			n.explained[text] = true
			fmt.Fprintln(n.out, text)
		}
	}
}

// sign writes stern's line about a container that begins or ends.
func (n *notices) sign(sign string, c format.Color, e logs.Notice) {
	if n.quiet {
		return
	}
	paint := func(c format.Color, s string) string {
		if !n.color {
			return s
		}
		return c.Sprint(s)
	}
	pod, container := n.palette.Of(e.Source)
	line := paint(c, sign) + " "
	if n.namespace {
		line += paint(pod, e.Source.Namespace) + " "
	}
	fmt.Fprintf(n.out, "%s%s › %s\n", line, paint(pod, e.Source.Pod), paint(container, e.Source.Container))
}

func (n *notices) say(text string) {
	if n.quiet {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.out, text)
}

// warn says something whatever the flags are.
func (n *notices) warn(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.out, text)
}

// dropped is told of lines that were not shown. That is said whatever the flags are.
func (n *notices) dropped(lines uint64) {
	n.warn(fmt.Sprintf("%d lines were dropped: the output was too slow for them", lines))
}

// lost is told of a watch that broke; it mends itself.
func (n *notices) lost(err error) {
	n.say(fmt.Sprintf("lost the watch on pods, watching again: %v", err))
}

// failed is told of a line that a template could not show.
func (n *notices) failed(err error) {
	n.warn(err.Error())
}
