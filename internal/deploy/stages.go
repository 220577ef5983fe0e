package deploy

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A Stage is one step of a pod's start: scheduled, pulled, init (where it has init
// containers), started, ready.
type Stage struct {
	Name string
	Done bool
	At   time.Time     // when it was done, exact to the second, as the API has it
	Took time.Duration // since the stage before was done; of the first that is not, until now; NotTold where the API no longer says it
}

// NotTold is written as -1 in milliseconds.
const NotTold = -time.Millisecond

// longestStart is how long a stage of a pod's start takes at most, as a Deployment's
// progressDeadlineSeconds has it by default.
const longestStart = 10 * time.Minute

// OfStart says whether what the API tells of a stage that is done, the i-th, is of the
// pod's start. It keeps the last time only: where a container runs for the second time,
// or the pod has lost its readiness and found it again, that is a later one.
func OfStart(pod *corev1.Pod, i int, took time.Duration) bool {
	if i == 0 {
		return true
	}
	again := func(st corev1.ContainerStatus) bool { return st.RestartCount > 0 }
	return took <= longestStart && !slices.ContainsFunc(pod.Status.InitContainerStatuses, again) && !slices.ContainsFunc(pod.Status.ContainerStatuses, again)
}

// Stages says how far a pod's start is, in the order of the steps.
func Stages(pod *corev1.Pod, now time.Time) []Stage {
	condition := func(t corev1.PodConditionType) (bool, time.Time) {
		for _, c := range pod.Status.Conditions {
			if c.Type == t && c.Status == corev1.ConditionTrue {
				return true, c.LastTransitionTime.Time
			}
		}
		return false, time.Time{}
	}
	var stages []Stage
	add := func(name string, done bool, at time.Time) {
		stages = append(stages, Stage{Name: name, Done: done, At: at})
	}

	done, at := condition(corev1.PodScheduled)
	add("scheduled", done, at)
	// The first container that was ever started had its image: the API has no time
	// for the pull itself. What comes after it then begins at once.
	pulled, at := firstStart(pod)
	add("pulled", pulled, at)
	if len(pod.Spec.InitContainers) > 0 {
		done, at = condition(corev1.PodInitialized)
		add("init", done, at)
	}
	done, at = allStarted(pod)
	add("started", done, at)
	done, at = condition(corev1.PodReady)
	add("ready", done, at)

	last, waiting := pod.CreationTimestamp.Time, false
	for i := range stages {
		s := &stages[i]
		switch {
		case waiting:
			s.Done, s.At = false, time.Time{}
		case !s.Done:
			waiting, s.Took = true, max(0, now.Sub(last))
		default:
			s.Took = max(0, s.At.Sub(last))
			if !OfStart(pod, i, s.Took) {
				s.Took = NotTold
			}
			if s.At.After(last) {
				last = s.At
			}
		}
	}
	return stages
}

// firstStart is when the first container of a pod started, init containers included.
func firstStart(pod *corev1.Pod) (bool, time.Time) {
	var first time.Time
	for _, r := range runs(pod) {
		if at := startOf(r); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return !first.IsZero(), first
}

// allStarted is when the last of a pod's containers started.
func allStarted(pod *corev1.Pod) (bool, time.Time) {
	var last time.Time
	for _, r := range runs(pod) {
		if r.init {
			continue
		}
		at := startOf(r)
		if at.IsZero() {
			return false, time.Time{}
		}
		if at.After(last) {
			last = at
		}
	}
	return !last.IsZero(), last
}

// startOf is when a container's run of now, or its last one, started.
func startOf(r containerRun) time.Time {
	switch {
	case r.State.Running != nil:
		return r.State.Running.StartedAt.Time
	case r.State.Terminated != nil:
		return r.State.Terminated.StartedAt.Time
	case r.LastTerminationState.Terminated != nil:
		return r.LastTerminationState.Terminated.StartedAt.Time
	}
	return time.Time{}
}
