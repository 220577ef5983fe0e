package session

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/deploy"
)

// Pod is one pod of a service.
type Pod struct {
	Name       string      `json:"name"`
	Owner      string      `json:"owner"`              // the workload: Deployment/web
	Template   string      `json:"template,omitempty"` // hash of the pod template that it was made from
	Old        bool        `json:"old,omitempty"`      // of an older template than the newest
	Node       string      `json:"node,omitempty"`
	IP         string      `json:"ip,omitempty"`
	Ready      bool        `json:"ready"`
	Status     string      `json:"status"` // the word that kubectl would show
	Restarts   int         `json:"restarts"`
	Created    time.Time   `json:"created"`
	Age        Millis      `json:"ageMs"`
	Stages     []PodStage  `json:"stages"`
	Containers []Container `json:"containers"`
}

// PodStage is one step of a pod's start: scheduled, pulled, init (where it has
// init containers), started, ready.
type PodStage struct {
	Name string    `json:"name"`
	Done bool      `json:"done"`
	At   time.Time `json:"at,omitzero"` // when it was done
	// Took is since the stage before it was done; of the first stage that is not,
	// until the snapshot was made. Times of pods that were there before the session
	// are exact to the second, as the API has them; -1 where they are of a later time
	// than the pod's start, as after the restart of a container.
	Took Millis `json:"tookMs"`
}

// Container is one container of a pod, init containers included.
type Container struct {
	Name        string    `json:"name"`
	Image       string    `json:"image"`
	Init        bool      `json:"init,omitempty"`
	State       string    `json:"state"` // waiting, running or terminated
	Reason      string    `json:"reason,omitempty"`
	Ready       bool      `json:"ready"`
	Restarts    int       `json:"restarts"`
	Since       time.Time `json:"since,omitzero"`        // of running and terminated
	Exit        *int      `json:"exit,omitempty"`        // of terminated
	CPU         int64     `json:"cpuMilli,omitempty"`    // what it takes; zero where the cluster does not say
	Memory      int64     `json:"memoryBytes,omitempty"` // its working set
	CPULimit    int64     `json:"cpuLimitMilli,omitempty"`
	MemoryLimit int64     `json:"memoryLimitBytes,omitempty"`
}

// podTimes is when a session saw the stages of a pod that it knows from its
// beginning. The API's own times have no parts of a second.
type podTimes struct {
	born bool // seen before it was scheduled
	at   map[string]time.Time
}

// PodView is the snapshot of one pod at a time. rollout may be nil, when is what
// a session saw of its stages, or nil.
func podView(pod *corev1.Pod, owner string, rollout *deploy.WorkloadStatus, seen *podTimes, now time.Time) Pod {
	v := Pod{
		Name: pod.Name, Owner: owner, Template: podTemplate(pod), Node: pod.Spec.NodeName, IP: pod.Status.PodIP,
		Ready: podReady(pod), Status: podWord(pod), Created: pod.CreationTimestamp.Time, Age: Millis(now.Sub(pod.CreationTimestamp.Time)),
	}
	v.Old = rollout != nil && rollout.Template != "" && v.Template != "" && rollout.Template != v.Template
	v.Stages = podStages(pod, seen, now)
	v.Containers = containerViews(pod)
	for _, c := range v.Containers {
		if !c.Init {
			v.Restarts += c.Restarts
		}
	}
	return v
}

// podTemplate is the hash of the template that a controller made the pod from.
func podTemplate(pod *corev1.Pod) string {
	for _, label := range []string{appsv1.DefaultDeploymentUniqueLabelKey, appsv1.ControllerRevisionHashLabelKey, batchv1.ControllerUidLabel} {
		if hash := pod.Labels[label]; hash != "" {
			return hash
		}
	}
	return ""
}

// see notes the stages that are done now.
func (t *podTimes) see(pod *corev1.Pod, now time.Time) {
	if t.at == nil {
		t.at = map[string]time.Time{}
		t.born = pod.Spec.NodeName == "" || now.Sub(pod.CreationTimestamp.Time) < 1500*time.Millisecond && !started(pod)
		if t.born {
			t.at[""] = now
		}
	}
	for _, s := range stagesDone(pod) {
		if _, ok := t.at[s.Name]; s.Done && !ok {
			t.at[s.Name] = now
		}
	}
}

// podStages says how far a pod's start is.
func podStages(pod *corev1.Pod, seen *podTimes, now time.Time) []PodStage {
	stages := stagesDone(pod)
	last := pod.CreationTimestamp.Time
	exact := seen != nil && seen.born
	if exact {
		last = seen.at[""]
	}
	waiting := false
	for i := range stages {
		s := &stages[i]
		switch {
		case s.Done && exact && !seen.at[s.Name].IsZero():
			s.At = seen.at[s.Name]
		case !s.Done:
			s.At = time.Time{}
			if !waiting {
				s.Took = Millis(max(0, now.Sub(last)))
			}
			waiting = true
			continue
		}
		s.Took = Millis(max(0, s.At.Sub(last)))
		if !exact && !deploy.OfStart(pod, i, time.Duration(s.Took)) {
			s.Took = Millis(deploy.NotTold)
		}
		if s.At.After(last) {
			last = s.At
		}
	}
	return stages
}

// stagesDone reads the stages from the pod's status, with the API's times.
func stagesDone(pod *corev1.Pod) []PodStage {
	condition := func(kind corev1.PodConditionType) (bool, time.Time) {
		for _, c := range pod.Status.Conditions {
			if c.Type == kind {
				return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
			}
		}
		return false, time.Time{}
	}
	var stages []PodStage
	add := func(name string, done bool, at time.Time) {
		stages = append(stages, PodStage{Name: name, Done: done, At: at})
	}

	scheduled, at := condition(corev1.PodScheduled)
	if pod.Spec.NodeName != "" && !scheduled { // bound, and the status not yet written
		scheduled, at = true, pod.CreationTimestamp.Time
	}
	add("scheduled", scheduled, at)

	first := append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
	pulled, at := false, time.Time{}
	for _, st := range first {
		// The image's ID is known from the moment when the container is made.
		if since := runningSince(st); st.ImageID != "" || !since.IsZero() {
			if !pulled || !since.IsZero() && since.Before(at) {
				at = since
			}
			pulled = true
		}
	}
	add("pulled", pulled, at)
	if len(pod.Spec.InitContainers) > 0 {
		done, at := condition(corev1.PodInitialized)
		add("init", done && pulled, at)
	}
	up, at := started(pod), time.Time{}
	for _, st := range pod.Status.ContainerStatuses {
		if since := runningSince(st); since.After(at) {
			at = since
		}
	}
	add("started", up, at)
	ready, at := condition(corev1.PodReady)
	if pod.Status.Phase == corev1.PodSucceeded {
		ready = true // a job's pod: it has done what it was for
	}
	add("ready", ready, at)
	return stages
}

// started says whether every container of the pod runs or has run to its end.
func started(pod *corev1.Pod) bool {
	n := 0
	for _, st := range pod.Status.ContainerStatuses {
		if !runningSince(st).IsZero() {
			n++
		}
	}
	return n == len(pod.Spec.Containers)
}

func runningSince(st corev1.ContainerStatus) time.Time {
	switch {
	case st.State.Running != nil:
		return st.State.Running.StartedAt.Time
	case st.State.Terminated != nil && st.State.Terminated.ExitCode == 0:
		return st.State.Terminated.StartedAt.Time
	}
	return time.Time{}
}

func containerViews(pod *corev1.Pod) []Container {
	var views []Container
	add := func(specs []corev1.Container, statuses []corev1.ContainerStatus, init bool) {
		for i := range specs {
			c := &specs[i]
			v := Container{Name: c.Name, Image: c.Image, Init: init, State: "waiting",
				CPULimit: c.Resources.Limits.Cpu().MilliValue(), MemoryLimit: c.Resources.Limits.Memory().Value()}
			for _, st := range statuses {
				if st.Name == c.Name {
					v.fill(st)
				}
			}
			views = append(views, v)
		}
	}
	add(pod.Spec.InitContainers, pod.Status.InitContainerStatuses, true)
	add(pod.Spec.Containers, pod.Status.ContainerStatuses, false)
	return views
}

func (c *Container) fill(st corev1.ContainerStatus) {
	c.Ready, c.Restarts = st.Ready, int(st.RestartCount)
	switch {
	case st.State.Running != nil:
		c.State, c.Since = "running", st.State.Running.StartedAt.Time
	case st.State.Terminated != nil:
		t := st.State.Terminated
		exit := int(t.ExitCode)
		c.State, c.Reason, c.Since, c.Exit = "terminated", t.Reason, t.FinishedAt.Time, &exit
	case st.State.Waiting != nil:
		c.Reason = st.State.Waiting.Reason
	}
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podWord is the one word that kubectl's STATUS column shows.
func podWord(pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil {
		return "Terminating"
	}
	for _, st := range append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...) {
		switch {
		case st.State.Waiting != nil && st.State.Waiting.Reason != "" && st.State.Waiting.Reason != "PodInitializing":
			return st.State.Waiting.Reason
		case st.State.Terminated != nil && st.State.Terminated.ExitCode != 0:
			return st.State.Terminated.Reason
		}
	}
	return string(pod.Status.Phase)
}

// add puts one workload and its pods into a service's snapshot. owner is its
// "Kind/name"; seen hands out what is known of a pod's stages, or is nil.
func (s *Service) add(st *deploy.WorkloadStatus, seen func(*corev1.Pod) *podTimes, now time.Time) {
	s.Workloads = append(s.Workloads, Rollout{
		Kind: st.Kind, Name: st.Name, Namespace: st.Namespace, Unwatched: st.Unwatched, Ready: st.Ready, Desired: st.Desired, Updated: st.Updated, Current: st.ReadyReplicas,
		Old: st.Old, Template: st.Template, Since: st.Since, Waiting: st.Waiting, Problem: st.Problem,
	})
	s.Desired += st.Desired
	s.Updated += st.Updated
	s.Current += st.ReadyReplicas
	s.Old += st.Old
	pods := st.Pods
	if st.Namespace != "" {
		pods = nil // what is done with a pod of the list is done in the project's namespace, which may have one of its name
	}
	for _, pod := range pods {
		var times *podTimes
		if seen != nil {
			times = seen(pod)
		}
		v := podView(pod, fmt.Sprintf("%s/%s", st.Kind, st.Name), st, times, now)
		s.Restarts += v.Restarts
		s.Pods = append(s.Pods, v)
	}
	if st.Unwatched != "" {
		s.Explanation += st.Explanation(now)
	}
	if st.Ready {
		return
	}
	if s.Waiting == nil && st.Waiting != "" {
		s.Waiting = &Waiting{Reason: ForRollout, On: []string{st.Kind + "/" + st.Name}, Text: st.Waiting}
	}
	if s.Problem == nil {
		s.Problem = st.Problem
	}
	s.Explanation += st.Explanation(now)
}

// ServiceOf is the snapshot of a service of which only the cluster is known:
// `kdev status` where no session runs.
func ServiceOf(name string, statuses []deploy.WorkloadStatus, now time.Time) Service {
	v := Service{Name: name, Kind: Workload, Pods: []Pod{}}
	ready, asleep := true, len(statuses) > 0
	for i := range statuses {
		v.add(&statuses[i], nil, now)
		ready = ready && statuses[i].Ready
		asleep = asleep && statuses[i].Desired == 0 && statuses[i].Unwatched == ""
	}
	switch {
	case v.Problem != nil:
		v.Phase = FailedPhase
	case !ready:
		v.Phase = Progressing
	case asleep:
		v.Phase = Sleeping
	default:
		v.Phase = Ready
	}
	return v
}
