package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// AwaitOptions say how long Await goes on looking.
type AwaitOptions struct {
	// Patience is how long a rollout may show a problem before that is the outcome: a
	// crash before the database is there mends itself.
	Patience time.Duration
	// Confirm is how long everything has to stay ready: without a readiness probe a
	// process counts as ready before it has had time to fail.
	Confirm time.Duration
	// Ignored says of what nothing is to be waited for; may be nil. Changed and Noted hear
	// of it all the same.
	Ignored func(Ref) bool
	// Changed hears every state that differs from the one before; may be nil.
	Changed func([]WorkloadStatus)
	// Noted hears how the other objects are, with every look; may be nil.
	Noted func([]ObjectStatus)
}

// Await returns when every workload among objects is ready, and what else of them has
// something to wait for, or when it is known that it will not be. A deadline of ctx is a timeout, which names what is missing.
//
// Problems: those of a rollout; not-ready.
func (d *Deployer) Await(ctx context.Context, live *kube.Namespace, objects []*Object, o AwaitOptions) error {
	changed, stop := live.Subscribe()
	defer stop()
	var readySince, failingSince time.Time
	var told string
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		all, others := d.Status(live, objects), d.Objects(live, objects)
		if o.Noted != nil {
			o.Noted(others)
		}
		if text := explanations(all, d.now()); o.Changed != nil && text != told {
			told = text
			o.Changed(all)
		}
		if o.Ignored != nil {
			all = slices.DeleteFunc(all, func(s WorkloadStatus) bool { return o.Ignored(s.Ref) })
			others = slices.DeleteFunc(others, func(s ObjectStatus) bool { return o.Ignored(s.Ref) })
		}
		now := time.Now()
		failed := len(problems(all, others)) > 0
		ready := !slices.ContainsFunc(all, func(s WorkloadStatus) bool { return !s.Ready }) &&
			!slices.ContainsFunc(others, func(s ObjectStatus) bool { return !s.Ready })
		readySince, failingSince = trueSince(readySince, ready, now), trueSince(failingSince, failed, now)
		switch {
		case ready && now.Sub(readySince) >= o.Confirm:
			return nil
		case failed && now.Sub(failingSince) >= o.Patience:
			return rolloutFailure(all, others)
		case ready:
			alarm.Reset(o.Confirm - now.Sub(readySince))
		case failed:
			alarm.Reset(o.Patience - now.Sub(failingSince))
		default:
			alarm.Stop()
		}
		select {
		case <-changed:
		case <-alarm.C:
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return ctx.Err()
			}
			if failed {
				return rolloutFailure(all, others)
			}
			return notReady(all, others)
		}
	}
}

// trueSince keeps the time from which on something has been true.
func trueSince(was time.Time, is bool, now time.Time) time.Time {
	switch {
	case !is:
		return time.Time{}
	case was.IsZero():
		return now
	}
	return was
}

// explanations is what of a state a person would see change: without times.
func explanations(all []WorkloadStatus, now time.Time) string {
	var b strings.Builder
	for _, s := range all {
		s.Since = now
		b.WriteString(s.Explanation(now))
	}
	return b.String()
}

// A failing is why one object keeps a rollout from being done.
type failing struct {
	ref     Ref
	problem *problem.Problem
}

// problems are why a rollout is not getting further, those of workloads first.
func problems(all []WorkloadStatus, others []ObjectStatus) []failing {
	var found []failing
	for _, s := range all {
		if s.Problem != nil {
			found = append(found, failing{s.Ref, s.Problem})
		}
	}
	for _, s := range others {
		if !s.Ready && s.Problem != nil {
			found = append(found, failing{s.Ref, s.Problem})
		}
	}
	return found
}

// rolloutFailure is the first problem of a rollout that failed, with how many others there are.
func rolloutFailure(all []WorkloadStatus, others []ObjectStatus) error {
	found := problems(all, others)
	first := *found[0].problem
	var also []string
	for _, f := range found[1:] {
		also = append(also, f.ref.String())
	}
	if len(also) > 0 {
		first.Output = strings.TrimLeft(strings.TrimRight(first.Output, "\n")+"\nnot ready for a cause of its own: "+strings.Join(also, ", "), "\n")
	}
	first.Class = problem.Rollout
	return &first
}

// notReady is the problem of a rollout that is not done in time and shows no cause.
func notReady(all []WorkloadStatus, others []ObjectStatus) error {
	var missing []string
	for _, s := range all {
		if !s.Ready {
			missing = append(missing, fmt.Sprintf("%s waits for %s", s.FullName(), s.Waiting))
		}
	}
	for _, s := range others {
		if !s.Ready {
			missing = append(missing, fmt.Sprintf("%s waits for %s", s.Ref, s.Waiting))
		}
	}
	return &problem.Problem{Class: problem.Timeout, Code: "not-ready", Summary: "the rollout is not done in time", Output: strings.Join(missing, "\n"),
		Hint: "`kdev status --watch` shows how it goes on; --timeout gives it longer"}
}
