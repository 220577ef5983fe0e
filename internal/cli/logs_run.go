package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/pods"
	"github.com/kdev-io/kdev/logs/source"
)

// run reads until nothing is left, what --until says is reached, or ctx is done.
func (p *logsPlan) run(ctx context.Context) (err error) {
	defer p.spareMemory()()
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
		hub, err := logs.New(p.hub)
		if err != nil {
			return badLogs(err)
		}
		if p.o.stdin {
			hub.Pipe(p.o.env.In)
		} else if err := p.readPast(hub); err != nil {
			return err
		}
		return p.ended(ctx, hub, hub.Run(ctx))
	}
	if about, ok := p.session(); ok {
		if err := p.through(ctx, about); !errors.Is(err, control.ErrNoLines) {
			return err
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
	reading, stop := context.WithCancel(ctx)
	wait := p.hideSecrets(reading, clusters)
	defer func() { stop(); wait() }()
	hub, err := logs.New(p.hub)
	if err != nil {
		return badLogs(err)
	}
	return p.follow(ctx, hub, clusters)
}

// spareFrom is when the streams of some hundred containers are open: until then nothing
// is to take the processor from them.
const spareFrom = 3 * time.Second

// spareMemory lets the heap grow by a quarter between collections instead of doubling, once
// the logs are open: what is alive is small (4 MiB of lines, the pods), collections cost next
// to nothing then, and the command runs for days beside the user's other programs. $GOGC wins.
func (p *logsPlan) spareMemory() (restore func()) {
	if p.o.env.Getenv("GOGC") != "" {
		return func() {}
	}
	before := make(chan int, 1)
	timer := time.AfterFunc(spareFrom, func() { before <- debug.SetGCPercent(25) })
	return func() {
		if !timer.Stop() {
			debug.SetGCPercent(<-before)
		}
	}
}

// follow reads clusters.
func (p *logsPlan) follow(ctx context.Context, hub *logs.Hub, clusters []*logsCluster) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	beside, stopBeside := context.WithCancel(ctx)
	var waits []func()
	defer func() {
		stopBeside()
		for _, wait := range waits {
			wait()
		}
	}()
	var of []*chosen
	var missing error // why a cluster is not read; the others are
	for i, c := range clusters {
		sel, one, wait, err := p.selection(beside, c)
		if wait != nil {
			waits = append(waits, wait)
		}
		if err != nil {
			more := len(of) > 0 || i+1 < len(clusters)
			if !more || ctx.Err() != nil {
				return errors.Join(missing, err)
			}
			missing = errors.Join(missing, err)
			p.notices.warn(fmt.Sprintf("context %s is not read: %v", c.name, err))
			continue
		}
		of = append(of, one)
		hub.Follow(sel)
		if p.o.events {
			waits = append(waits, p.events(beside, hub, one))
		}
	}
	var work sync.WaitGroup
	waits = append(waits, work.Wait)
	var left error
	if untilStates[p.o.until] != nil {
		work.Go(func() {
			p.until(beside, hub, of, func(err error) {
				p.reached, left = true, err
				stop()
			})
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
		return left
	}
	if err = p.ended(ctx, hub, err); err == nil && !p.reached {
		return missing
	}
	return err
}

// saved is err, or why the file of --save lacks lines.
func (p *logsPlan) saved(err, closing error) error {
	switch {
	case errors.Is(err, logs.ErrSave):
		closing = errors.Unwrap(err)
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			closing = joined.Unwrap()[1]
		}
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

// selection finds the pods of one cluster. wait, where there is one, returns when
// watching them has ended.
func (p *logsPlan) selection(ctx context.Context, c *logsCluster) (_ logs.Selection, _ *chosen, wait func(), _ error) {
	where := p.where
	where.Namespaces = c.namespaces
	choice := p.choice
	choice.OwnedWith = c.owned
	selector, err := pods.NewSelector(ctx, choice, pods.NewOwners(c.client.Dynamic, c.client.Mapper), c.namespaces)
	if err != nil {
		return logs.Selection{}, nil, nil, err
	}
	sel := logs.Selection{
		Cluster:  c.name,
		Opener:   source.API(c.client.Core),
		Early:    early(c.client),
		Select:   selector.Select,
		Existing: func(cs *corev1.ContainerStatus) bool { return pods.MatchState(p.states, cs) },
		From:     p.from,
		Once:     p.once(),
	}
	if p.condition != nil {
		sel.While = p.condition.Match
	}
	if sel.Once {
		fixed, err := pods.List(ctx, c.client.Core, where)
		if err != nil {
			return sel, nil, nil, p.unreachable(c, err)
		}
		sel.Pods = fixed
	} else {
		live, err := pods.Watch(ctx, c.client.Core, where, p.notices.lost)
		if err != nil {
			return sel, nil, nil, p.unreachable(c, err)
		}
		sel.Pods, wait = live, live.Wait
	}
	p.nothing(c, selector, sel.Pods.Pods())
	return sel, &chosen{c, selector, sel.Pods}, wait, nil
}

// early reads new containers of a cluster on this machine before their log can be had; nil
// for others: what it costs their nodes is not ours to spend.
func early(client *kube.Client) *source.Early {
	u, err := url.Parse(client.Server)
	if err != nil {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		return nil
	}
	return source.NewEarly(client.Core)
}

// unreachable names the cluster where the failure is of the connection.
func (p *logsPlan) unreachable(c *logsCluster, err error) error {
	var status apierrors.APIStatus
	if problem.As(err) != nil || errors.As(err, &status) && !apierrors.IsUnauthorized(err) || errors.Is(err, context.Canceled) {
		return err
	}
	return c.client.Unreachable(err)
}

// nothing says why nothing is shown, when no pod is wanted yet.
func (p *logsPlan) nothing(c *logsCluster, selector *pods.Selector, now []*corev1.Pod) {
	for _, pod := range now {
		if selector.Pod(pod) {
			return
		}
	}
	where := "any namespace"
	if len(c.namespaces) > 0 && c.namespaces[0] != "" {
		where = "namespace " + fmt.Sprint(c.namespaces)
		if len(c.namespaces) == 1 {
			where = "namespace " + c.namespaces[0]
		}
	}
	what := "there is no pod"
	if len(now) > 0 {
		what = fmt.Sprintf("none of %d pods is meant", len(now))
	}
	of := ""
	if c.context != "" { // as with --server or --as
		of = " of context " + c.context
	}
	p.notices.say(fmt.Sprintf("%s in %s%s", what, where, of))
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
