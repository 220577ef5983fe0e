//go:build unix

package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/sync/mirror"
)

// A buildFunc is a Builder.
type buildFunc func(context.Context, build.Spec) (*build.Result, error)

func (f buildFunc) Build(ctx context.Context, spec build.Spec, _ build.Progress) (*build.Result, error) {
	return f(ctx, spec)
}

// TestASaveMendsAFailedBuild: what a COPY lacked, or what only the network had, is there
// with the next save, although such a file is one that is synced where an image runs.
func TestASaveMendsAFailedBuild(t *testing.T) {
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	builds := make(chan struct{}, 10)
	s := newSessionStand(t, map[string]string{
		"kdev.yaml":      "name: shop\nmanifests: {yaml: [k8s.yaml]}\nservices: {db: {build: web}}\n",
		"k8s.yaml":       oneWorkload,
		"web/Dockerfile": "FROM scratch\nCOPY main.txt conf.txt /\n",
		"web/main.txt":   "main",
	}, func(p *Parts) {
		p.Store = store
		p.Builder = buildFunc(func(context.Context, build.Spec) (*build.Result, error) {
			builds <- struct{}{}
			return nil, errors.New("conf.txt is not there")
		})
	})
	wait := func(what string) {
		t.Helper()
		select {
		case <-builds:
		case <-time.After(time.Minute):
			t.Fatal(what + " did not build")
		}
		s.is("db", FailedPhase)
	}
	wait("the start")
	s.write("web/conf.txt", "conf")
	wait("the missing file")
	s.write("web/main.txt", "another")
	wait("a save of another file")
}

// TestAConfigurationSavedDuringAReload: the one that is saved while the loop before ends
// counts as well.
func TestAConfigurationSavedDuringAReload(t *testing.T) {
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const first = "name: shop\nmanifests: {yaml: [k8s.yaml]}\nservices: {db: {build: web}}\n"
	cancelled, goOn := make(chan struct{}, 10), make(chan struct{})
	s := newSessionStand(t, map[string]string{
		"kdev.yaml": first, "k8s.yaml": oneWorkload, "web/Dockerfile": "FROM scratch\nCOPY main.txt /\n", "web/main.txt": "main",
	}, func(p *Parts) {
		p.Store = store
		p.Builder = buildFunc(func(ctx context.Context, _ build.Spec) (*build.Result, error) {
			<-ctx.Done()
			cancelled <- struct{}{}
			<-goOn
			return nil, ctx.Err()
		})
	})
	s.is("db", Building)
	s.write("kdev.yaml", first+"local: [{name: one, serve: exec sleep 300}]\n")
	<-cancelled // the loop ends, and waits for its build
	s.write("kdev.yaml", first+"local: [{name: two, serve: exec sleep 300}]\n")
	close(goOn)
	s.is("two", Ready)
	if _, there := s.session.State().Service("one"); there {
		t.Error("what was taken out again is there")
	}
}

// TestABatchForNobody: where no container runs, no batch is on its way.
func TestABatchForNobody(t *testing.T) {
	key := containerKey{"web-1", "web"}
	svc := &service{ahead: map[string]bool{}, sync: map[containerKey]*Sync{key: {}}}
	l := &loop{s: &Session{}, byName: map[string]*service{"web": svc}}
	started := syncStarted{"web", batchTimes{generation: 1, paths: []string{"a"}}}
	started.apply(l)
	if svc.lastBatch == nil {
		t.Error("a container gets it, and nobody waits for that")
	}
	delete(svc.sync, key)
	started.apply(l)
	if svc.lastBatch != nil {
		t.Error("waits for a container, and there is none")
	}
}

// TestWhatIsThereStaysReady: manifests that cannot be used keep back what was never
// applied, and nothing else.
func TestWhatIsThereStaysReady(t *testing.T) {
	ref := deploy.Ref{Kind: "Deployment", Name: "web"}
	l := &loop{s: &Session{}, byName: map[string]*service{}, present: map[deploy.Ref]bool{ref: true}, objects: []*deploy.Object{}, rendered: &problem.Problem{Code: "manifest-invalid"}}
	for _, admitted := range []bool{true, false} {
		svc := &service{admitted: admitted, workloads: []deploy.Ref{ref}}
		svc.Name = "web"
		v := Service{Workloads: []Rollout{{Kind: "Deployment", Name: "web", Ready: true}}, Desired: 1}
		l.judge(svc, &v, true)
		if want := map[bool]Phase{true: Ready, false: Pending}[admitted]; v.Phase != want {
			t.Errorf("applied before: %v; it is %s, want %s", admitted, v.Phase, want)
		}
	}
}

// TestThere: of kinds that nobody watches, or that no cluster knows, is there what the API
// server has taken.
func TestThere(t *testing.T) {
	web, gone, custom, unknown := deploy.Ref{Kind: "Deployment", Name: "web"}, deploy.Ref{Kind: "Deployment", Name: "gone"},
		deploy.Ref{Kind: "Rollout", Name: "web"}, deploy.Ref{Kind: "Deploymint", Name: "web"}
	l := &loop{present: map[deploy.Ref]bool{web: true, gone: false}, took: map[deploy.Ref]bool{gone: true, custom: true}}
	for _, c := range []struct {
		admitted bool
		refs     []deploy.Ref
		want     bool
	}{
		{true, nil, true}, {false, nil, false},
		{true, []deploy.Ref{web}, true}, {false, []deploy.Ref{web}, false},
		{true, []deploy.Ref{web, gone}, false},
		{true, []deploy.Ref{web, custom}, true},
		{true, []deploy.Ref{web, unknown}, false},
	} {
		if got := l.there(&service{admitted: c.admitted, workloads: c.refs}); got != c.want {
			t.Errorf("admitted %v, %v: %v", c.admitted, c.refs, got)
		}
	}
}

// TestAServiceThatIsNowhere: a name of kdev.yaml that is neither a folder nor anything in
// the manifests has not come up.
func TestAServiceThatIsNowhere(t *testing.T) {
	s := newSessionStand(t, map[string]string{
		"kdev.yaml": "name: shop\nmanifests: {yaml: [k8s.yaml]}\nservices:\n  db: {image: db}\n  bd: {needs: [db]}\n", "k8s.yaml": oneWorkload,
	})
	svc := s.is("bd", FailedPhase)
	if p := svc.Problem; p.Code != "service-nowhere" || p.Where != "kdev.yaml:5" || p.Hint != "did you mean db?" {
		t.Errorf("%+v", p)
	}
}

// TestAJobDoesNotGoBack: what was rolled back is what serves.
func TestAJobDoesNotGoBack(t *testing.T) {
	svc := &service{back: true}
	if svc.leaves(deploy.Ref{Kind: "Deployment", Name: "web"}) || !svc.leaves(deploy.Ref{Kind: "Job", Name: "migrate"}) {
		t.Error("the Deployment goes back to the image of before, and the Job stays")
	}
	if svc.back = false; svc.leaves(deploy.Ref{Kind: "Job", Name: "migrate"}) {
		t.Error("a Job of a service that was not rolled back is left as it is")
	}
}

// TestTheFirstRestartIsTold: an application that ran before kdev came is started again by
// the first save that restarts it.
func TestTheFirstRestartIsTold(t *testing.T) {
	for starts, want := range map[uint64]bool{0: false, 1: true} {
		st := &Sync{}
		l := &loop{s: &Session{}, byName: map[string]*service{"web": {sync: map[containerKey]*Sync{{"web-1", "web"}: st}}}}
		syncHappened{mirror.Event{Kind: mirror.Connected, Service: "web", Pod: "web-1", Container: "web", Starts: starts}}.apply(l)
		if st.started != want {
			t.Errorf("after %d starts the next one is another: %v", starts, st.started)
		}
	}
}
