package cli

import (
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

func TestForwarded(t *testing.T) {
	st := &session.State{Services: []session.Service{
		{Name: "shop", Workloads: []session.Rollout{{Kind: "Deployment", Name: "web"}}, Pods: []session.Pod{{Name: "web-1"}, {Name: "web-2"}}},
		{Name: "db", Workloads: []session.Rollout{{Kind: "StatefulSet", Name: "db"}}, Pods: []session.Pod{{Name: "db-0"}}},
	}}
	for what, want := range map[string][2]string{
		"shop": {"shop", ""}, "svc/shop": {"shop", ""}, "deploy/web": {"shop", ""}, "Deployment/web": {"shop", ""}, "deployments/web": {"shop", ""},
		"sts/db": {"db", ""}, "web-2": {"shop", "web-2"}, "pod/db-0": {"db", "db-0"}, "po/db-0": {"db", "db-0"},
	} {
		service, pod, err := forwarded(st, what)
		if err != nil || service != want[0] || pod != want[1] {
			t.Errorf("%s: %s, %s, %v", what, service, pod, err)
		}
	}
	for what, want := range map[string]string{"web": "service-unknown", "svc/web": "service-unknown", "deploy/db": "forward-unknown", "pod/web-3": "forward-unknown"} {
		_, _, err := forwarded(st, what)
		if p := problem.As(err); p == nil || p.Code != want || p.Hint == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
