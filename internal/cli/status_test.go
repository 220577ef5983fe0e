package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	st := &session.State{
		Project: "shop", Namespace: "shop", Context: "kind-kdev", Started: now.Add(-time.Minute), Session: true, Deployed: true,
		Services: []session.Service{
			{Name: "web", Phase: session.Ready, Image: "localhost:5001/shop/web:1@sha256:0123456789abcdef", Current: 1, Desired: 1, URLs: []string{"http://localhost:8080"},
				Change: &session.Change{Action: session.ActSync, Outcome: session.Served, Saved: at(-20), Serving: at(-8)}},
			{Name: "api", Phase: session.Paused, Current: 1, Desired: 1, Image: "api", Held: []string{"api/main.go"},
				Waiting: &session.Waiting{Reason: session.ForTrigger, Text: "`kdev trigger api`"}},
			{Name: "db", Phase: session.FailedPhase, Desired: 1, Image: "postgres:15", Restarts: 3,
				Problem: &problem.Problem{Code: "crash", Summary: "it exits"}, Explanation: "Deployment/db: 0/1 ready, failing\n  it exits [crash]\n"},
			{Name: "job", Phase: session.FailedPhase, Problem: &problem.Problem{Code: "build-failed", Summary: "go build failed", Output: "x", Hint: "mend it"}},
		},
	}
	const want = `shop in kind-kdev, namespace shop: kdev up runs for 1m00s
SERVICE   STATE    READY   RESTARTS   IMAGE          CHANGE   URL
web       ready    1/1     0          0123456789ab   12 ms    http://localhost:8080
api       paused   1/1     0          api            -
db        failed   0/1     3          postgres:15    -
job       failed   0/0     0                         -

api waits for ` + "`kdev trigger api`" + `

api: saved and waiting: api/main.go

Deployment/db: 0/1 ready, failing
  it exits [crash]

job: go build failed
  | x
hint: mend it
`
	var b strings.Builder
	if err := writeStatus(&b, st, now); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// The status of an environment says first where it is, also where nothing of it is there.
func TestEnvironmentStatusText(t *testing.T) {
	doc := &statusDocument{Project: "shop", Environment: "staging", Namespace: "shop-staging", Context: "eu-west"}
	const head = "shop, environment staging: context eu-west, namespace shop-staging\n"
	for _, c := range []struct {
		services []statusService
		want     string
	}{
		{nil, head + "nothing of this project runs there\n"},
		{[]statusService{{Name: "web", State: "absent", Desired: 1, Waiting: "its creation"}}, head +
			"SERVICE  STATE   READY  RESTARTS  AGE  START\nweb      absent  0/1    0              waits for its creation\n"},
	} {
		doc.Services = c.services
		var b strings.Builder
		if err := doc.text(&b, false); err != nil || b.String() != c.want {
			t.Errorf("%v, got\n%s\nwant\n%s", err, b.String(), c.want)
		}
	}
}

func TestExecTarget(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	pod := func(name string, ready, old bool, age time.Duration) session.Pod {
		return session.Pod{Name: name, Ready: ready, Old: old, Status: "Running", Created: now.Add(-age), Containers: []session.Container{
			{Name: "setup", Image: "web", Init: true}, {Name: "proxy", Image: "envoy"}, {Name: "web", Image: "web"},
		}}
	}
	going := pod("going", true, false, 0)
	going.Status = "Terminating"
	st := &session.State{Services: []session.Service{
		{Name: "web", Image: "web", Pods: []session.Pod{pod("starting", false, false, time.Second), pod("old", true, true, time.Minute), pod("new", true, false, time.Hour), going}},
		{Name: "none", Pods: []session.Pod{}},
	}}
	for _, c := range []struct {
		name, service, wantPod, container, pod, want, code string
	}{
		{name: "ready and of the newest template", service: "web", wantPod: "new", want: "web"},
		{name: "a container by name", service: "web", container: "proxy", wantPod: "new", want: "proxy"},
		{name: "a pod by name", service: "web", pod: "old", wantPod: "old", want: "web"},
		{name: "a pod that goes, by name", service: "web", pod: "going", wantPod: "going", want: "web"},
		{name: "no such pod", service: "web", pod: "x", code: "pod-unknown"},
		{name: "no such container", service: "web", container: "setup", code: "container-unknown"},
		{name: "no pod", service: "none", code: "pod-unknown"},
		{name: "no such service", service: "x", code: "service-unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &execOptions{pod: c.pod, container: c.container}
			gotPod, got, err := o.target(st, c.service)
			if c.code != "" {
				if p := problem.As(err); p == nil || p.Code != c.code || p.Hint == "" {
					t.Errorf("got %v, want %s", err, c.code)
				}
				return
			}
			if err != nil || gotPod != c.wantPod || got != c.want {
				t.Errorf("got %s/%s, %v; want %s/%s", gotPod, got, err, c.wantPod, c.want)
			}
		})
	}
}
