//go:build unix

package session

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// TestGroup: two projects are one thing for whoever looks at them and steers them.
func TestGroup(t *testing.T) {
	shop := newSessionStand(t, map[string]string{"k8s.yaml": oneWorkload,
		"kdev.yaml": "name: shop\nmanifests: {yaml: [k8s.yaml]}\nlocal: [{name: docs, serve: exec sleep 300}]\n"})
	billing := newSessionStand(t, map[string]string{"k8s.yaml": oneWorkload,
		"kdev.yaml": "name: billing\nmanifests: {yaml: [k8s.yaml]}\nlocal: [{name: docs, serve: exec sleep 300}, {name: spare, serve: exec sleep 300, start: manual}]\ntasks: {look: {service: nothing, command: date}}\n"})
	g := NewGroup(shop.session, billing.session)
	changed, stop := g.Subscribe()
	defer stop()
	var told []string
	g.OnNotice(func(n Notice) { told = append(told, n.Service) }) // read when both have ended
	until := func(name string, want Phase) {
		t.Helper()
		for {
			if svc, ok := g.State().Service(name); ok && svc.Phase == want {
				return
			}
			<-changed
		}
	}
	until("docs", Ready)
	until("billing/docs", Ready)
	until("billing/spare", Stopped)
	svc, _ := g.State().Service("billing/docs")
	if svc.Project != "billing" || svc.Namespace != "billing" || g.State().Namespace != "shop" {
		t.Errorf("%+v", svc)
	}
	do := func(v Verb, name string) error {
		_, err := g.Do(t.Context(), Command{Verb: v, Service: name})
		return err
	}
	for _, ask := range []struct {
		verb Verb
		name string
	}{{DoTrigger, "billing/spare"}, {DoPause, "billing"}, {DoRestart, "docs"}} {
		if err := do(ask.verb, ask.name); err != nil {
			t.Errorf("%s %s: %v", ask.verb, ask.name, err)
		}
	}
	until("billing/spare", Paused)
	until("billing/docs", Paused)
	until("docs", Ready)
	if all := g.State().Tasks; len(all) != 1 || all[0] != (Task{Name: "billing/look", Service: "billing/nothing", Command: "date"}) {
		t.Errorf("the tasks are %+v", all)
	}
	for name, want := range map[string]string{"look": "task-unknown", "billing/nobody": "task-unknown", "billing/look": "service-unknown"} {
		if _, err := g.Do(t.Context(), Command{Verb: DoTask, Task: name}); problem.As(err) == nil || problem.As(err).Code != want {
			t.Errorf("task %s: %v, want %s", name, err, want)
		}
	}
	if err := do(DoResume, ""); err != nil {
		t.Error(err)
	}
	until("billing/docs", Ready)
	if text, err := g.Do(t.Context(), Command{Verb: DoTrigger}); err != nil || !strings.Contains(text, "\nbilling: ") {
		t.Errorf("what waits in all: %q, %v", text, err)
	}
	if _, err := g.Do(t.Context(), Command{Verb: DoBuild}); problem.As(err) == nil || problem.As(err).Code != "command-refused" {
		t.Errorf("a build of all, where nothing is built: %v", err)
	}
	for _, name := range []string{"nobody", "billing/nobody"} {
		var p *problem.Problem
		if err := do(DoBuild, name); !errors.As(err, &p) || p.Code != "service-unknown" || !slices.Contains([]string{"there is no service " + name}, p.Summary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	shop.stop()
	billing.stop()
	if !slices.Contains(told, "billing/spare") || slices.Contains(told, "spare") {
		t.Errorf("told of %v", told)
	}
}

// TestGroupState: the snapshot of another project becomes part of the first one's, under
// names that tell the two apart.
func TestGroupState(t *testing.T) {
	pod := []Pod{{Name: "db-0"}}
	main := &State{Project: "shop", Namespace: "shop", Ready: true, Services: []Service{{Name: "db", Pods: pod}}}
	other := &State{
		Project: "billing", Namespace: "bills", Deployed: true, URL: "http://api",
		Services: []Service{
			{Name: "db", Pods: pod, Waiting: &Waiting{Reason: ForNeeds, On: []string{"cache"}}},
			{Name: "api", Waiting: &Waiting{Reason: ForFiles, On: []string{"a.txt"}}},
		},
		Objects:  []Object{{Kind: "Service", Name: "api"}},
		Problems: []*problem.Problem{{Summary: "no such kind", Where: "kdev.yaml:1"}, {Summary: "no cluster"}},
	}
	st := *main
	st.include(&Session{name: "billing"}, other)
	if !slices.Equal(st.Names(), []string{"db", "billing/db", "billing/api"}) || st.Ready || !st.Deployed || st.URL != "http://api" {
		t.Errorf("%+v", st)
	}
	if ns := st.Namespaces(); !slices.Equal(ns, []string{"shop", "bills"}) {
		t.Errorf("namespaces %v", ns)
	}
	for _, c := range []struct{ namespace, want string }{{"shop", "db"}, {"bills", "billing/db"}, {"", "db"}, {"else", ""}} {
		if got := st.ServiceOf(c.namespace, "db-0"); got != c.want {
			t.Errorf("pod db-0 of namespace %q belongs to %q, not %q", c.namespace, got, c.want)
		}
	}
	for name, on := range map[string]string{"billing/db": "billing/cache", "billing/api": "a.txt"} {
		if svc, _ := st.Service(name); !slices.Equal(svc.Waiting.On, []string{on}) || svc.Namespace != "bills" {
			t.Errorf("%s waits for %v", name, svc.Waiting.On)
		}
	}
	if o := st.Objects[0].String(); o != "Service/api of billing" {
		t.Errorf("an object is called %s", o)
	}
	if p := st.Problems; p[0].Error() != "billing: kdev.yaml:1: no such kind" || p[1].Error() != "billing: no cluster" {
		t.Errorf("%v", p)
	}
	if other.Services[0].Name != "db" || other.Services[0].Waiting.On[0] != "cache" || other.Problems[0].Where != "kdev.yaml:1" {
		t.Error("the snapshot that was handed out is another one now")
	}
}

// TestGroupTells: who reads the notices of several projects knows of which one each is.
func TestGroupTells(t *testing.T) {
	sessionOf := func(name string) *Session {
		return New(Options{Project: &config.Project{Name: name}}, Parts{Cluster: &cluster.Cluster{}})
	}
	for _, c := range []struct {
		others []*Session
		want   []string
	}{
		{nil, []string{": everything is ready", "web: built"}},
		{[]*Session{sessionOf("billing")}, []string{": everything of shop is ready", "web: built", "billing: everything is ready", "billing/web: built"}},
	} {
		g := NewGroup(sessionOf("shop"), c.others...)
		var told []string
		g.OnNotice(func(n Notice) { told = append(told, n.Service+": "+n.Text) })
		for _, s := range g.Sessions() {
			s.tell(Notice{Code: "ready", Text: "everything is ready"})
			s.tell(Notice{Code: "build-done", Service: "web", Text: "built"})
		}
		if !slices.Equal(told, c.want) {
			t.Errorf("told %q, want %q", told, c.want)
		}
	}
}
