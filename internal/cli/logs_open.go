package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/pods"
	"github.com/kdev-io/kdev/logs/source"
)

// An opening is the work of opening clusters, beside each other.
type opening struct {
	plan    *logsPlan
	hub     *logs.Hub
	work    sync.WaitGroup
	places  []place
	of      []*chosen // those that are open, once all are
	missing error     // why others are not
	once    sync.Once
}

// A place is what became of one cluster.
type place struct {
	sel   logs.Selection
	one   *chosen
	waits []func()
	err   error
}

func (p *logsPlan) open(ctx context.Context, hub *logs.Hub, clusters []*logsCluster) *opening {
	o := &opening{plan: p, hub: hub, places: make([]place, len(clusters))}
	for i, c := range clusters {
		there := hub.Expect()
		o.work.Go(func() {
			defer there()
			at := &o.places[i]
			unmasked := p.hideSecrets(ctx, at, c)
			var wait func()
			if at.sel, at.one, wait, at.err = p.selection(ctx, c); wait != nil {
				at.waits = append(at.waits, wait)
			}
			switch {
			case at.err == nil && !p.once():
				hub.Follow(at.sel)
			case at.err != nil && len(clusters) > 1 && !errors.Is(ctx.Err(), context.Canceled):
				p.notices.warn("not read: " + at.err.Error())
			}
			if at.err == nil && unmasked != nil && ctx.Err() == nil {
				p.notices.say(unmasked.Error())
			}
			if at.err == nil && p.o.events {
				at.waits = append(at.waits, p.events(ctx, hub, at.one))
			}
		})
	}
	return o
}

// hideSecrets masks the values of the Secrets beside the pods of a cluster, until ctx is
// done, where a project is around. With --no-mask they are known all the same: what is kept
// on disk is masked. Its error says why they are not.
func (p *logsPlan) hideSecrets(ctx context.Context, at *place, c *logsCluster) error {
	if !p.around || p.o.noMask && p.project == nil {
		return nil
	}
	wait, err := p.hidden.ofCluster(ctx, c.client, c.namespaces)
	at.waits = append(at.waits, wait)
	return err
}

// wait returns when each cluster is open or is known not to answer.
func (o *opening) wait() {
	o.once.Do(func() {
		o.work.Wait()
		var errs []error
		for i := range o.places {
			at := &o.places[i]
			if at.err != nil {
				errs = append(errs, at.err)
				continue
			}
			o.of = append(o.of, at.one)
			if o.plan.once() {
				o.hub.Follow(at.sel)
			}
		}
		if len(errs) == 0 {
			o.plan.tellMissed(o.of)
		}
		if len(errs) > 0 && len(o.of) > 0 {
			o.missing = &problem.Problem{Code: "logs-incomplete", Summary: fmt.Sprintf("%d of %d clusters could not be read", len(errs), len(o.places)),
				Hint: "the messages above say why"}
			return
		}
		o.missing = errors.Join(errs...)
	})
}

// close waits for what watches the clusters that were opened.
func (o *opening) close() {
	o.wait()
	for i := range o.places {
		for _, wait := range o.places[i].waits {
			wait()
		}
	}
}

// selection finds the pods of one cluster. wait, where there is one, returns when
// watching them has ended.
func (p *logsPlan) selection(ctx context.Context, c *logsCluster) (_ logs.Selection, _ *chosen, wait func(), _ error) {
	where := p.where
	where.Namespaces = c.namespaces
	choice := p.choice
	choice.OwnedWith, choice.Owned = c.owned, c.also
	if p.remote != nil {
		choice.Queries = slices.DeleteFunc(slices.Clone(choice.Queries), isLocal)
	}
	selector, err := pods.NewSelector(ctx, choice, pods.NewOwners(c.client.Dynamic, c.client.Mapper), c.namespaces)
	if err != nil {
		return logs.Selection{}, nil, nil, err
	}
	sel := logs.Selection{
		Cluster:  c.name,
		Opener:   source.API(c.streams()),
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
		if c.also != nil {
			sel.Pods = sessionPods{live, p.remote}
		}
	}
	// Now, since the selector is the hub's once it follows.
	missed := selector.Unmatched(sel.Pods.Pods())
	p.nothing(c, selector, sel.Pods.Pods())
	if p.o.previous && ranBefore(selector, sel.Pods.Pods()) {
		// Of several, those that have no run before are not asked for one.
		existing := sel.Existing
		sel.Existing = func(cs *corev1.ContainerStatus) bool { return before(cs) && existing(cs) }
	}
	return sel, &chosen{c, selector, sel.Pods, missed}, wait, nil
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

// before says whether a container ran before its present run, or its last one.
func before(cs *corev1.ContainerStatus) bool {
	return cs.RestartCount > 0 || cs.LastTerminationState.Terminated != nil
}

// ranBefore says whether that is so of any container that is wanted.
func ranBefore(selector *pods.Selector, now []*corev1.Pod) bool {
	for _, pod := range now {
		if !selector.Pod(pod) {
			continue
		}
		for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
			if slices.ContainsFunc(list, func(cs corev1.ContainerStatus) bool { return before(&cs) }) {
				return true
			}
		}
	}
	return false
}

// nothing says why nothing is shown, when no container is wanted yet, and what keeps the
// pods that are wanted from having a log.
func (p *logsPlan) nothing(c *logsCluster, selector *pods.Selector, now []*corev1.Pod) {
	wanted, containers := 0, false
	for _, pod := range now {
		if !selector.Pod(pod) {
			continue
		}
		wanted++
		logs.EachContainer(pod, func(cs *corev1.ContainerStatus, kind logs.ContainerType) {
			containers = containers || selector.Select(pod, cs.Name, kind)
		})
		if why := withoutLog(pod); why != "" {
			p.notices.say(fmt.Sprintf("%s has no log yet: %s", pod.Name, term.AppendSafe(nil, []byte(why), false)))
			containers = true
		}
	}
	if containers || p.showsLocal("") {
		return
	}
	where := "any namespace"
	if len(c.namespaces) > 0 && c.namespaces[0] != "" {
		where = "namespace " + fmt.Sprint(c.namespaces)
		if len(c.namespaces) == 1 {
			where = "namespace " + c.namespaces[0]
		}
	}
	what := "there is no pod"
	switch {
	case wanted > 0:
		what = fmt.Sprintf("no container of %d pods is meant", wanted)
	case len(now) > 0:
		what = fmt.Sprintf("none of %d pods is meant", len(now))
	}
	of := ""
	if c.context != "" { // as with --server or --as
		of = " of context " + c.context
	}
	p.notices.say(fmt.Sprintf("%s in %s%s", what, where, of))
}

// tellMissed tells of queries that name nothing anywhere while others do; that nothing is
// meant at all was said. A format behind `-t ` is such a query, as in stern: the flag takes
// it behind `=` only.
func (p *logsPlan) tellMissed(of []*chosen) {
	missed := of[0].missed
	for _, c := range of[1:] {
		missed = slices.DeleteFunc(slices.Clone(missed), func(q string) bool { return !slices.Contains(c.missed, q) })
	}
	for _, q := range missed {
		format := p.o.timestamps == "default" && slices.Contains(logsChoices["timestamps"], q)
		switch {
		case p.showsLocal(q):
		case format:
			p.notices.say(fmt.Sprintf("no pod matches %s: the format of times is set with -t=%s", q, q))
		case len(missed) < len(p.choice.Queries):
			p.notices.say("no pod matches " + q)
		}
	}
}

// withoutLog says what a pod waits for of which no container has started; "" for others.
func withoutLog(pod *corev1.Pod) string {
	if pod.Status.Phase != corev1.PodPending {
		return ""
	}
	why := ""
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			why = strings.TrimSuffix(c.Reason+": "+c.Message, ": ")
		}
	}
	started := false
	logs.EachContainer(pod, func(cs *corev1.ContainerStatus, _ logs.ContainerType) {
		started = started || cs.ContainerID != ""
		if w := cs.State.Waiting; w != nil && why == "" && w.Reason != "PodInitializing" {
			why = strings.TrimSuffix(cs.Name+" waits, "+w.Reason+": "+w.Message, ": ")
		}
	})
	switch {
	case started:
		return ""
	case why == "":
		return "it is not scheduled yet"
	}
	return why
}
