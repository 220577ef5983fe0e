package deploy

import (
	"cmp"
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/problem"
)

const (
	// hookMends is how long a hook that cannot start has to mend itself, as a rollout has.
	hookMends = 20 * time.Second
	// hookLooks is how often its pods are looked at; the Job does not change with them.
	hookLooks = 2 * time.Second
)

// A stuckHook finds out why a hook's pod does not start. One that started and failed is the
// Job's to try again.
type stuckHook struct {
	d         *Deployer
	ref       Ref
	namespace string
	pods      metav1.ListOptions

	since time.Time        // of the problem
	found *problem.Problem // nil while nothing is known to be wrong
}

// look returns the problem once it has lasted.
func (s *stuckHook) look(ctx context.Context) *problem.Problem {
	found := s.explain(ctx)
	if ctx.Err() != nil {
		return nil // what was found before counts
	}
	if found == nil || s.found == nil {
		s.since = time.Now()
	}
	if s.found = found; found != nil && time.Since(s.since) >= hookMends {
		return found
	}
	return nil
}

// explain says what keeps the newest pod from starting. Who may not look is told nothing.
func (s *stuckHook) explain(ctx context.Context) *problem.Problem {
	core := s.d.client.Core.CoreV1()
	list, err := core.Pods(s.namespace).List(ctx, s.pods)
	if err != nil || len(list.Items) == 0 {
		return nil
	}
	pod := slices.MaxFunc(list.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	if pod.DeletionTimestamp != nil || slices.ContainsFunc(runs(&pod), func(r containerRun) bool { return r.ended() != nil && r.ended().ExitCode != 0 }) {
		return nil
	}
	e := &evidence{workload: s.ref, pod: &pod, now: time.Now(), hide: s.d.hide}
	if events, err := core.Events(s.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID)}); err == nil {
		for i := range events.Items {
			e.events = append(e.events, &events.Items[i])
		}
		slices.SortStableFunc(e.events, func(a, b *corev1.Event) int {
			return cmp.Compare(a.LastTimestamp.UnixNano(), b.LastTimestamp.UnixNano())
		})
	}
	return e.problem(e.explain())
}
