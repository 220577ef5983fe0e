package cli

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/logs"
)

// While the project is up, its session reads the logs. `kdev logs` takes them from
// there, unless it is asked for something that the session does not have: lines from
// before it began, other pods than the project's, what only a pod's object says.

// session finds the session to take lines from. More than one, or none, leaves it to
// the cluster.
func (p *logsPlan) session() (control.About, bool) {
	o := p.o
	switch {
	case len(unique(o.contexts)) > 0, o.kubeconfig != "", o.kube.set(), o.allNamespaces, // another cluster, perhaps
		o.selector != "", o.fieldSelector != "", o.node != "", o.condition != "", !slices.Equal(o.containerStates, []string{"all"}), !o.ephemeral,
		o.output == "json", o.output == "extjson", o.output == "ppextjson", o.template != "", o.templateFile != "", // labels, perhaps
		o.previous, o.prompt, o.events, o.noMask, untilStates[o.until] != nil:
		return control.About{}, false
	}
	for _, q := range p.choice.Queries {
		if q.Name == nil && ownerKinds[q.Kind.Kind] == "" && q.Kind.Word != "local" {
			return control.About{}, false
		}
	}
	root, err := config.Find(o.env.Dir)
	if err != nil {
		return control.About{}, false
	}
	found, err := control.Find(o.env.Getenv, root, "", "")
	if err != nil || len(found) != 1 {
		return control.About{}, false
	}
	about := found[0]
	if ns := unique(o.namespaces); len(ns) > 0 && !slices.Equal(ns, []string{about.Namespace}) {
		return control.About{}, false
	}
	if o.sinceGiven && p.oldest().Before(about.Started) {
		return control.About{}, false
	}
	return about, true
}

// ownerKinds are the kinds by which a State names the owner of a pod.
var ownerKinds = map[string]string{"Pod": "Pod", "Deployment": "Deployment", "StatefulSet": "StatefulSet", "DaemonSet": "DaemonSet", "Job": "Job"}

// oldest is the time of the oldest line that is wanted, as far as --since says.
func (p *logsPlan) oldest() time.Time {
	if !p.o.since.at.IsZero() {
		return p.o.since.at
	}
	if p.o.since.ago > 0 {
		return time.Now().Add(-p.o.since.ago)
	}
	return time.Time{} // --since 0: all that there is
}

// through shows the lines of a session until it ends, or ctx does, or without
// following those that are there. [control.ErrNoLines]: it has none, and nothing was
// shown.
func (p *logsPlan) through(ctx context.Context, about control.About) error {
	remote, err := control.Dial(ctx, p.o.env.Getenv, about)
	if err != nil {
		return err
	}
	defer remote.Close()
	hub, err := logs.New(p.hub)
	if err != nil {
		return badLogs(err)
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	wanted := &carriedChoice{plan: p, remote: remote, sources: map[string]bool{}}
	oldest := time.Time{}
	if p.o.sinceGiven {
		oldest = p.oldest()
	}
	var readErr error
	var work sync.WaitGroup
	work.Go(func() {
		defer stop()
		readErr = remote.LinesOfEach(reading, !p.once(), int(p.o.tail), func(l control.Line) {
			if l.Time.Before(oldest) && !l.Time.IsZero() || !wanted.line(&l) {
				return
			}
			carried(hub, l)
		})
	})
	err = hub.Run(reading)
	stop()
	work.Wait()
	if errors.Is(readErr, control.ErrNoLines) {
		return readErr
	}
	if err == nil && ctx.Err() == nil && !hub.Met() {
		err = readErr
		if err == nil && !p.once() {
			p.notices.say("the session has ended: `kdev logs` without it reads the cluster")
		}
	}
	return p.ended(ctx, hub, err)
}

// A carriedChoice applies the queries to lines of a session.
type carriedChoice struct {
	plan    *logsPlan
	remote  *control.Remote
	sources map[string]bool // by pod and container, or name
}

func (c *carriedChoice) line(l *control.Line) bool {
	key := l.Namespace + "/" + l.Pod + "/" + l.Container + "/" + l.Name
	want, known := c.sources[key]
	if known {
		return want
	}
	if l.Pod == "" {
		want = c.local(l.Name)
	} else {
		want = c.container(l)
	}
	c.sources[key] = want
	return want
}

// local is for work on this machine, which belongs to what the project runs. What
// builds print is the session's.
func (c *carriedChoice) local(name string) bool {
	work, ok := strings.CutPrefix(name, "local/")
	if !ok || c.plan.o.container != "" && c.plan.o.container != ".*" {
		return false
	}
	choice := &c.plan.choice
	if matchesAny(choice.ExcludePods, work) {
		return false
	}
	for _, q := range choice.Queries {
		if q.Name != nil && q.Name.MatchString(work) || q.Name == nil && q.Kind.Word == "local" && q.Object == work {
			return true
		}
	}
	return len(choice.Queries) == 0
}

func (c *carriedChoice) container(l *control.Line) bool {
	choice := &c.plan.choice
	if matchesAny(choice.ExcludePods, l.Pod) || matchesAny(choice.ExcludeContainers, l.Container) ||
		choice.Container != nil && !choice.Container.MatchString(l.Container) {
		return false
	}
	pod, known := podOf(c.remote.State(), l)
	if choice.NoInit && known {
		for _, one := range pod.Containers {
			if one.Name == l.Container && one.Init {
				return false
			}
		}
	}
	for _, q := range choice.Queries {
		switch {
		case q.Name != nil:
			if q.Name.MatchString(l.Pod) {
				return true
			}
		case q.Kind.Kind == "Pod":
			if q.Object == l.Pod {
				return true
			}
		case known && pod.Owner == ownerKinds[q.Kind.Kind]+"/"+q.Object:
			return true
		}
	}
	return len(choice.Queries) == 0
}

func matchesAny(all []*regexp.Regexp, text string) bool {
	return slices.ContainsFunc(all, func(re *regexp.Regexp) bool { return re.MatchString(text) })
}

func podOf(st *session.State, l *control.Line) (*session.Pod, bool) {
	svc, ok := st.Service(st.ServiceOf(l.Namespace, l.Pod))
	if !ok {
		return nil, false
	}
	for i := range svc.Pods {
		if svc.Pods[i].Name == l.Pod {
			return &svc.Pods[i], true
		}
	}
	return nil, false
}
