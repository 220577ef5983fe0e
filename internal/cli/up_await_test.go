package cli

import (
	"context"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/sync/mirror"
)

// What `--until ready` gives up for, and at once or after a while.
func TestHopeless(t *testing.T) {
	crash := &problem.Problem{Code: "crash", Summary: "it crashes"}
	away := &problem.Problem{Code: mirror.NoConnection, Summary: "the agent is not reached; trying again"}
	failed := func(p *problem.Problem, stuck bool) session.Service {
		return session.Service{Phase: session.FailedPhase, Problem: p, Stuck: stuck}
	}
	for _, c := range []struct {
		name     string
		services []session.Service
		want     *problem.Problem
		final    bool
	}{
		{"all is well", []session.Service{{Phase: session.Ready}}, nil, false},
		{"a rollout that fails", []session.Service{{Phase: session.Ready}, failed(crash, false)}, crash, false},
		{"a build that failed", []session.Service{failed(crash, true)}, crash, true},
		{"while another one builds", []session.Service{failed(crash, true), {Phase: session.Building}}, nil, false},
		{"an agent that is tried again", []session.Service{failed(away, false)}, nil, false},
		{"and a rollout that fails", []session.Service{failed(away, false), failed(crash, false)}, crash, false},
	} {
		p, final := hopeless(&session.State{Services: c.services})
		if p != c.want || final != c.final {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, p, final, c.want, c.final)
		}
	}
}

// The timeout counts from the start of the command: a cluster that takes too long to come
// ends it, and what was opened in time lasts.
func TestTimeoutCountsFromTheStart(t *testing.T) {
	late := &upOptions{until: "ready", timeout: time.Minute, began: time.Now().Add(-time.Hour)}
	ctx, opened := late.opening(t.Context())
	<-ctx.Done()
	if p := problem.As(opened()); p == nil || p.Class != problem.Timeout || p.Code != "not-ready" {
		t.Errorf("%v", p)
	}
	for _, o := range []*upOptions{{until: "ready", timeout: time.Hour, began: time.Now()}, {timeout: time.Nanosecond}} {
		whole, cancel := context.WithCancel(t.Context())
		ctx, opened := o.opening(whole)
		if err := opened(); err != nil || ctx.Err() != nil {
			t.Errorf("%v, %v", err, ctx.Err())
		}
		cancel()
		<-ctx.Done()
	}
}
