package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/pods"
	"github.com/kdev-io/kdev/logs/store"
)

// While the project is up, its session reads the logs. `kdev logs` takes them from there
// where the session has all that is asked for. It lacks lines from before it began, other
// pods than the project's, and what only a pod's object says; where one of these may be
// meant the cluster is read as without a session, and only the lines of what runs on this
// machine come from it.

// standing finds the session of the project around; not where there are several.
func (o *logsOptions) standing() (control.About, bool) {
	root, err := config.Find(o.env.Dir)
	if err != nil {
		return control.About{}, false
	}
	found, err := control.Find(o.env.Getenv, root, "", "")
	if err != nil || len(found) != 1 {
		return control.About{}, false
	}
	return found[0], true
}

// session finds the session whose lines may be meant. More than one, or none, leaves it
// to the cluster.
func (p *logsPlan) session() (control.About, bool) {
	o := p.o
	switch {
	case o.kubeconfig != "", o.kube.set(), o.allNamespaces, o.environment != "", // another cluster, perhaps
		o.selector != "", o.fieldSelector != "", o.node != "", o.condition != "", !slices.Equal(o.containerStates, []string{"all"}), !o.ephemeral,
		o.output == "json", o.output == "extjson", o.output == "ppextjson", o.template != "", o.templateFile != "", // labels, perhaps
		o.previous, o.prompt, o.events, o.noMask, untilStates[o.until] != nil:
		return control.About{}, false
	}
	about, ok := o.standing()
	if contexts := unique(o.contexts); !ok || len(contexts) > 0 && !slices.Equal(contexts, []string{about.Context}) {
		return control.About{}, false
	}
	if ns := unique(o.namespaces); len(ns) > 0 && !slices.Equal(ns, []string{about.Namespace}) {
		return control.About{}, false
	}
	return about, true
}

// has says whether a session holds every line that is asked for. A regular expression
// may mean a pod that is not the session's, and a name that the session does not know is
// the API server's to refuse. Of work on this machine there is nothing but the session's.
func (p *logsPlan) has(remote *control.Remote) bool {
	queries := p.choice.Queries
	local := len(queries) > 0
	for _, q := range queries {
		switch {
		case isLocal(q):
		case q.Name != nil || !ownsOne(remote.State(), q):
			return false
		default:
			local = false
		}
	}
	if local || p.o.tail == 0 || !p.oldest().Before(remote.About.Started) {
		return true
	}
	// One who follows is not shown twice what the session follows anyway.
	return !p.once() && madeSince(remote.State(), remote.About.Started)
}

// madeSince says whether every pod of a session was made after it began, so that it has
// their lines from the first one on. The API's times are exact to the second.
func madeSince(st *session.State, began time.Time) bool {
	for i := range st.Services {
		if slices.ContainsFunc(st.Services[i].Pods, func(pod session.Pod) bool { return pod.Created.Before(began) }) {
			return false
		}
	}
	return st.Deployed
}

// ownsOne says whether a session has a pod that KIND/NAME names.
func ownsOne(st *session.State, q pods.Query) bool {
	for i := range st.Services {
		for j := range st.Services[i].Pods {
			pod := &st.Services[i].Pods[j]
			switch {
			case q.Kind.Kind == "Pod" && pod.Name == q.Object:
				return true
			case ownerKinds[q.Kind.Kind] != "" && pod.Owner == ownerKinds[q.Kind.Kind]+"/"+q.Object:
				return true
			}
		}
	}
	return false
}

func isLocal(q pods.Query) bool { return q.Name == nil && q.Kind.Word == "local" }

// strayLocal is the problem of a query local/NAME that names nothing of the session.
func (p *logsPlan) strayLocal(st *session.State) error {
	for _, q := range p.choice.Queries {
		if !isLocal(q) {
			continue
		}
		if svc, ok := st.Service(q.Object); !ok || svc.Local == nil {
			return &problem.Problem{Code: "logs-not-found", Summary: fmt.Sprintf("there is no %s", q),
				Hint: "kdev status lists what runs on this machine"}
		}
	}
	return nil
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
func (p *logsPlan) through(ctx context.Context, remote *control.Remote) error {
	hub, err := logs.New(p.hub)
	if err != nil {
		return badLogs(err)
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	wanted := &carriedChoice{plan: p, remote: remote, sources: map[string]bool{}}
	oldest := p.oldest()
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

// locals hands over the wanted lines of what runs on this machine. A session without
// lines has none of these either.
func (p *logsPlan) locals(ctx context.Context, f func(control.Line)) error {
	wanted, oldest := &carriedChoice{plan: p, remote: p.remote, sources: map[string]bool{}}, p.oldest()
	err := p.remote.LocalLines(ctx, !p.once(), int(p.o.tail), func(l control.Line) {
		if (l.Time.IsZero() || !l.Time.Before(oldest)) && wanted.line(&l) {
			f(l)
		}
	})
	if errors.Is(err, control.ErrNoLines) {
		return nil
	}
	return err
}

// feedLocals adds the lines of what runs on this machine that are there, for who does
// not follow. Its place is before hub runs.
func (p *logsPlan) feedLocals(ctx context.Context, hub *logs.Hub) {
	hub.Feed(func(add func(*store.Source, store.Line, []byte) error) error {
		var failed error
		err := p.locals(ctx, func(l control.Line) {
			if failed == nil {
				failed = add(&store.Source{Kind: store.Local, Name: l.Name}, store.Line{Time: l.Time.UnixNano()}, []byte(l.Text))
			}
		})
		return errors.Join(err, failed)
	})
}

// showsLocal says whether a query, or any where it is "", means something that runs on
// this machine.
func (p *logsPlan) showsLocal(query string) bool {
	if p.remote == nil {
		return false
	}
	wanted := &carriedChoice{plan: p, remote: p.remote, only: query}
	for _, svc := range p.remote.State().Services {
		if svc.Local != nil && wanted.local("local/"+svc.Name) {
			return true
		}
	}
	return false
}

// sessionPods are live pods that are looked at again when the session knows more of
// them: whether one is of the project may be known after the pod.
type sessionPods struct {
	live   logs.Pods
	remote *control.Remote
}

// Pods are those that live.
func (p sessionPods) Pods() []*corev1.Pod { return p.live.Pods() }

// Subscribe joins the signals of both.
func (p sessionPods) Subscribe() (<-chan struct{}, func()) {
	live, stopLive := p.live.Subscribe()
	known, stopKnown := p.remote.Subscribe()
	either, done := make(chan struct{}, 1), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-live:
			case <-known:
			case <-done:
				return
			}
			select {
			case either <- struct{}{}:
			default: // the last one was not looked at yet
			}
		}
	})
	return either, func() {
		close(done)
		work.Wait()
		stopLive()
		stopKnown()
	}
}

// A carriedChoice applies the queries to lines of a session.
type carriedChoice struct {
	plan    *logsPlan
	remote  *control.Remote
	only    string          // the one query that counts, of work on this machine; "" is all
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
		if c.only != "" && q.String() != c.only {
			continue
		}
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
