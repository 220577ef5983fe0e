//go:build unix

package session

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/transport"
)

const localProject = `
name: shop
manifests: {yaml: [k8s.yaml]}
services:
  cache: {image: redis}
local:
  - {name: gen, run: "echo reading; cat in", on: [in], before: deploy}
  - {name: late, serve: "echo up; exec sleep 300", needs: [gen], ready: {log: up}}
  - {name: far, serve: exec sleep 300, needs: [db]}
  - {name: spare, serve: exec sleep 300, start: manual}
`

const oneWorkload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: db}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: db}]}
`

// A sessionStand is a session before an API server that runs nothing.
type sessionStand struct {
	t       *testing.T
	dir     string
	session *Session
	changed <-chan struct{}
	stop    func()
}

func newSessionStand(t *testing.T, files map[string]string, change ...func(*Parts)) *sessionStand {
	t.Helper()
	st := &sessionStand{t: t, dir: t.TempDir()}
	for name, text := range files {
		st.write(name, text)
	}
	load := func() (*config.Project, error) {
		return config.Load(st.dir, config.LoadOptions{Env: map[string]string{}})
	}
	p, err := load()
	if err != nil {
		t.Fatal(err)
	}
	server := testkube.Start()
	t.Cleanup(server.Close)
	file, err := server.Kubeconfig(t.TempDir(), "fake", p.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	kc, err := kube.New(file, "fake")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kc.Close)
	ctx, cancel := context.WithCancel(t.Context())
	live, err := kube.Watch(ctx, kc, p.Namespace)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(live.Wait)
	index, err := tree.Open(p.Root)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { index.Close() })
	deployer := deploy.New(kc, deploy.Options{Project: p.Name, Namespace: p.Namespace, Root: p.Root})
	t.Cleanup(deployer.Close)
	parts := Parts{
		Cluster: &cluster.Cluster{Context: "fake"}, Kube: kc, Live: live, Deployer: deployer, Index: index, Dial: transport.Exec(kc.Config), Platform: "linux/amd64",
		Provide: func(context.Context, []string, func(string)) error { return nil },
	}
	for _, c := range change {
		c(&parts)
	}
	st.session = New(Options{Project: p, NoPorts: true, Reload: load}, parts)
	var unsubscribe func()
	st.changed, unsubscribe = st.session.Subscribe()
	var work sync.WaitGroup
	work.Go(func() {
		if err := st.session.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	st.stop = func() { cancel(); work.Wait() }
	t.Cleanup(func() { st.stop(); unsubscribe() })
	return st
}

// TestMistakesAreShown: what is wrong with a saved kdev.yaml is part of the State, with
// its lines, while the one before goes on, until it is mended.
func TestMistakesAreShown(t *testing.T) {
	const good = "name: shop\nmanifests: {yaml: [k8s.yaml]}\nlocal: [{name: docs, serve: exec sleep 300}]\n"
	s := newSessionStand(t, map[string]string{"k8s.yaml": oneWorkload, "kdev.yaml": good})
	docs := s.is("docs", Ready)
	s.write("kdev.yaml", good+"nonsense: 1\nwach: {}\n")
	var wrong []*problem.Problem
	mistakes := func(n int) func(*Service) bool {
		return func(*Service) bool {
			wrong = slices.DeleteFunc(slices.Clone(s.session.State().Problems), func(p *problem.Problem) bool { return p.Code != "config-unknown-key" })
			return len(wrong) == n
		}
	}
	s.until("docs", "shown with two mistakes", mistakes(2))
	if wrong[0].Where != "kdev.yaml:4" || wrong[1].Where != "kdev.yaml:5" {
		t.Errorf("%v", wrong)
	}
	if again := s.is("docs", Ready); again.Local.PID != docs.Local.PID {
		t.Error("a mistake ended what ran")
	}
	s.write("kdev.yaml", good)
	s.until("docs", "without mistakes", mistakes(0))
}

func (s *sessionStand) write(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, filepath.Dir(name)), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a service to be so.
func (s *sessionStand) until(name, what string, ok func(*Service) bool) *Service {
	s.t.Helper()
	for {
		svc, there := s.session.State().Service(name)
		if there && ok(svc) {
			return svc
		}
		select {
		case <-s.changed:
		case <-time.After(time.Minute):
			s.t.Fatalf("%s is not %s: %+v, waits for %v", name, what, svc, svc.Waiting)
		}
	}
}

func (s *sessionStand) is(name string, want Phase) *Service {
	s.t.Helper()
	return s.until(name, string(want), func(svc *Service) bool { return svc.Phase == want })
}

func (s *sessionStand) do(v Verb, name string) {
	s.t.Helper()
	if _, err := s.session.Do(s.t.Context(), Command{Verb: v, Service: name}); err != nil {
		s.t.Fatalf("%s %s: %v", v, name, err)
	}
}

// TestLocalWork: what waits for what, a failure that heals, what a person may ask
// for, and that nothing is left.
func TestLocalWork(t *testing.T) {
	s := newSessionStand(t, map[string]string{"kdev.yaml": localProject, "k8s.yaml": oneWorkload})
	gen := s.is("gen", FailedPhase)
	if p := gen.Problem; p == nil || p.Code != "generator-failed" || p.Output == "" || !gen.Stuck || *gen.Local.Exit != 1 || gen.Local.Role != Generator {
		t.Errorf("failed as %+v, %+v", gen.Problem, gen.Local)
	}
	waits := func(name string, r Reason, on string) {
		t.Helper()
		svc, ok := s.session.State().Service(name)
		if !ok || svc.Waiting == nil || svc.Waiting.Reason != r || on != "" && !slices.Equal(svc.Waiting.On, []string{on}) {
			db, _ := s.session.State().Service("db")
			t.Errorf("%s waits for %+v; db is %s, %+v", name, svc.Waiting, db.Phase, db.Workloads)
		}
	}
	waits("late", ForNeeds, "gen")
	waits("far", ForNeeds, "db")
	waits("spare", ForStart, "")
	waits("cache", ForGenerator, "gen")
	if _, rendered := s.session.State().Service("db"); rendered {
		t.Error("rendered before the generator succeeded")
	}

	s.write("in", "one\n")
	s.is("gen", Ready)
	late := s.is("late", Ready)
	if late.Local.PID == 0 || late.Local.Role != Server || late.Kind != Process {
		t.Errorf("%+v", late.Local)
	}
	s.until("db", "rendered", func(*Service) bool { return true })
	waits("far", ForNeeds, "db")

	s.do(DoTrigger, "spare")
	spare := s.is("spare", Ready)
	s.do(DoRestart, "spare")
	s.until("spare", "another process", func(svc *Service) bool {
		return svc.Phase == Ready && svc.Local.PID != spare.Local.PID && svc.Local.Runs == 2
	})
	if syscall.Kill(spare.Local.PID, 0) == nil {
		t.Error("the process before is still there")
	}

	s.do(DoPause, "gen")
	s.write("in", "two\n")
	s.until("gen", "holding a path", func(svc *Service) bool { return svc.Phase == Paused && slices.Equal(svc.Held, []string{"in"}) })
	runs := gen.Local.Runs
	s.do(DoResume, "gen")
	s.until("gen", "run again", func(svc *Service) bool { return svc.Phase == Ready && svc.Local.Runs > runs && len(svc.Held) == 0 })

	s.write("kdev.yaml", localProject+"  - {name: more, serve: exec sleep 300}\n")
	s.is("more", Ready)
	if again := s.is("late", Ready); again.Local.PID != late.Local.PID {
		t.Error("a saved kdev.yaml restarted a process that it does not change")
	}
	s.stop()
	for _, name := range []string{"late", "spare", "more"} {
		svc, _ := s.session.State().Service(name)
		if syscall.Kill(svc.Local.PID, 0) == nil {
			t.Errorf("%s is left", name)
		}
	}
}

// TestLocalNameIsTaken: one name for two things could not be told.
func TestLocalNameIsTaken(t *testing.T) {
	s := newSessionStand(t, map[string]string{"k8s.yaml": oneWorkload,
		"kdev.yaml": "name: shop\nmanifests: {yaml: [k8s.yaml]}\nlocal: [{name: db, serve: exec sleep 300}]\n"})
	s.until("db", "refused", func(*Service) bool {
		ps := s.session.State().Problems
		return len(ps) == 1 && ps[0].Code == "local-name" && ps[0].Where == "kdev.yaml:3"
	})
}
