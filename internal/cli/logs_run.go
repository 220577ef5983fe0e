package cli

import (
	"context"
	"fmt"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/pods"
	"github.com/kdev-io/kdev/logs/source"
)

// run reads until nothing is left, or ctx is done.
func (p *logsPlan) run(ctx context.Context) error {
	p.hub.Out = p.o.env.Out
	if p.o.stdin {
		hub, err := logs.New(p.hub)
		if err != nil {
			return badLogs(err)
		}
		hub.Pipe(p.o.env.In)
		return ended(ctx, hub.Run(ctx))
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
	hub, err := logs.New(p.hub)
	if err != nil {
		return badLogs(err)
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var live []*pods.Live
	defer func() {
		stop()
		for _, l := range live {
			l.Wait()
		}
	}()
	for _, c := range clusters {
		selection, l, err := p.selection(watching, c)
		if err != nil {
			return err
		}
		if l != nil {
			live = append(live, l)
		}
		hub.Follow(selection)
	}
	return ended(ctx, hub.Run(ctx))
}

// ended gives an interrupt the error that Main knows.
func ended(ctx context.Context, err error) error {
	if err == nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// selection finds the pods of one cluster.
func (p *logsPlan) selection(ctx context.Context, c *logsCluster) (logs.Selection, *pods.Live, error) {
	where := p.where
	where.Namespaces = c.namespaces
	choice := p.choice
	choice.OwnedWith = c.owned
	selector, err := pods.NewSelector(ctx, choice, pods.NewOwners(c.client.Dynamic, c.client.Mapper), c.namespaces)
	if err != nil {
		return logs.Selection{}, nil, err
	}
	sel := logs.Selection{
		Cluster:  c.name,
		Opener:   source.API(c.client.Core),
		Select:   selector.Select,
		Existing: func(cs *corev1.ContainerStatus) bool { return pods.MatchState(p.states, cs) },
		From:     p.from,
		Once:     p.once(),
	}
	if p.condition != nil {
		sel.While = p.condition.Match
	}
	var live *pods.Live
	var now []*corev1.Pod
	if sel.Once {
		fixed, err := pods.List(ctx, c.client.Core, where)
		if err != nil {
			return sel, nil, err
		}
		sel.Pods, now = fixed, fixed
	} else {
		live, err = pods.Watch(ctx, c.client.Core, where, p.notices.lost)
		if err != nil {
			return sel, nil, err
		}
		sel.Pods, now = live, live.Pods()
	}
	p.nothing(c, selector, now)
	return sel, live, nil
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
	p.notices.say(fmt.Sprintf("%s in %s of context %s", what, where, c.context))
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
	failures  int
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

// lost is told of a watch that broke; it mends itself.
func (n *notices) lost(err error) {
	n.say(fmt.Sprintf("lost the watch on pods, watching again: %v", err))
}

// failed is told of a line that a template could not show.
func (n *notices) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintln(n.out, err)
}
