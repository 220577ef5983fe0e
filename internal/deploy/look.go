package deploy

import (
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// A look fills in the status of one workload.
type look struct {
	d     *Deployer
	live  *kube.Namespace
	s     *WorkloadStatus
	now   time.Time
	again time.Time // when a rule's patience is over
}

func (l *look) deployment(o *appsv1.Deployment, seen bool) {
	s := l.s
	s.Desired, s.Updated, s.ReadyReplicas = replicas(o.Spec.Replicas), int(o.Status.UpdatedReplicas), int(o.Status.ReadyReplicas)
	s.Ready = seen && s.Updated >= s.Desired && int(o.Status.Replicas) <= s.Desired && int(o.Status.AvailableReplicas) >= s.Desired
	if !seen {
		s.Waiting = "the deployment controller"
		return
	}
	hash, rs, older := newestTemplate(l.live, o)
	if older && !s.Ready {
		s.ReadyReplicas = min(s.ReadyReplicas, s.Updated)
		s.Waiting = "the deployment controller"
		return
	}
	s.Template = hash
	current := func(p *corev1.Pod) bool {
		return hash == "" || p.Labels[appsv1.DefaultDeploymentUniqueLabelKey] == hash
	}
	l.pods(o, current)
	s.ReadyReplicas = readyAmong(s.Pods, current) // the status counts old pods as well
	if !s.Ready && s.Waiting == "" && s.ReadyReplicas >= s.Desired {
		s.Waiting = "old pods to go"
	}
	if s.Ready {
		return
	}
	if o.Spec.Paused {
		s.Problem = &problem.Problem{Class: problem.Rollout, Code: "paused", Where: s.Ref.String(), Summary: "its rollout is paused",
			Hint: "take `paused: true` out of the manifest, or kubectl rollout resume deployment/" + s.Name}
		return
	}
	var overdue bool
	for _, c := range o.Status.Conditions {
		switch {
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
			l.creation(c.Message, c.LastTransitionTime.Time)
		case c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded":
			overdue = true
		}
	}
	if rs != nil {
		l.failedCreate(rs)
	}
	if overdue {
		l.overdue(time.Duration(int32Or(o.Spec.ProgressDeadlineSeconds, 600)) * time.Second)
	}
}

func (l *look) statefulSet(o *appsv1.StatefulSet, seen bool) {
	s := l.s
	s.Desired, s.Updated, s.ReadyReplicas = replicas(o.Spec.Replicas), int(o.Status.UpdatedReplicas), int(o.Status.ReadyReplicas)
	current := o.Status.UpdateRevision == "" || o.Status.CurrentRevision == o.Status.UpdateRevision
	byWish := o.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType || partition(o) > 0
	if byWish {
		current = true // pods change when they are deleted, or up to the partition
	}
	s.Ready = seen && current && s.ReadyReplicas >= s.Desired
	if !seen {
		s.Waiting = "the statefulset controller"
		return
	}
	s.Template = o.Status.UpdateRevision
	newest := func(p *corev1.Pod) bool {
		return s.Template == "" || p.Labels[appsv1.ControllerRevisionHashLabelKey] == s.Template
	}
	l.pods(o, newest)
	if !byWish {
		s.ReadyReplicas = readyAmong(s.Pods, newest) // the status counts old pods as well
	}
	l.failedCreate(o)
	l.stalled(o)
	l.deadline()
}

func partition(o *appsv1.StatefulSet) int32 {
	if r := o.Spec.UpdateStrategy.RollingUpdate; r != nil {
		return int32Or(r.Partition, 0)
	}
	return 0
}

// stalled explains an old pod that is broken and keeps an ordered StatefulSet from
// going on to the newest template: the controller waits for it for ever
// (kubernetes#67250).
func (l *look) stalled(o *appsv1.StatefulSet) {
	if l.s.Ready || l.s.Problem != nil || o.Spec.PodManagementPolicy == appsv1.ParallelPodManagement || l.s.Updated > 0 {
		return
	}
	for _, p := range l.s.Pods {
		if podReady(p) || p.DeletionTimestamp != nil || p.Labels[appsv1.ControllerRevisionHashLabelKey] == o.Status.UpdateRevision {
			continue
		}
		e := l.evidence(p)
		if f := e.explain(); f != nil {
			l.s.Problem = e.problem(f)
			l.s.Problem.Summary = "an old pod of it is broken and keeps the new template from rolling out: " + l.s.Problem.Summary
			l.s.Problem.Hint = "kubectl delete pod " + p.Name + " -n " + p.Namespace + ": the controller then makes it from the new template"
			return
		}
	}
}

func (l *look) daemonSet(o *appsv1.DaemonSet, seen bool) {
	s := l.s
	s.Desired, s.Updated, s.ReadyReplicas = int(o.Status.DesiredNumberScheduled), int(o.Status.UpdatedNumberScheduled), int(o.Status.NumberReady)
	s.Ready = seen && s.Updated >= s.Desired && int(o.Status.NumberAvailable) >= s.Desired
	if !seen {
		s.Waiting = "the daemonset controller"
		return
	}
	s.ReadyReplicas = min(s.ReadyReplicas, s.Updated) // which of them are ready the status does not say
	l.pods(o, nil)
	l.failedCreate(o)
	l.deadline()
}

func (l *look) job(o *batchv1.Job) {
	s := l.s
	s.Desired, s.Updated = 1, 1
	l.attempts(o)
	s.Waiting = orElse(attempt(o, s.Pods), "the job to complete")
	if o.Spec.Suspend != nil && *o.Spec.Suspend {
		s.Ready = true // by wish
		return
	}
	for _, c := range o.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			s.Ready, s.ReadyReplicas = true, 1
		case batchv1.JobFailed, batchv1.JobFailureTarget:
			s.Problem = l.jobFailed(o, c)
		}
	}
	l.failedCreate(o)
}

// attempts finds the pods of a Job and what is wrong with those that have not ended. One
// that failed is a past attempt: whether there is another one is up to the Job's
// controller (backoffLimit, podFailurePolicy), which says so by a condition.
func (l *look) attempts(o *batchv1.Job) {
	all := l.live.PodsOf(o.GetUID())
	l.podsAmong(all, nil, func(p *corev1.Pod) bool { return !Ended(p) })
}

// attempt says which attempt of a Job is under way, and how the one before ended; "" while
// it is the first, or where it is not known how many there may be.
func attempt(o *batchv1.Job, pods []*corev1.Pod) string {
	var last *corev1.Pod
	seen := 0
	for _, p := range pods {
		if p.Status.Phase != corev1.PodFailed {
			continue
		}
		if seen++; last == nil || last.CreationTimestamp.Before(&p.CreationTimestamp) {
			last = p
		}
	}
	// What the Job's status counts is behind its pods, and these may have been removed.
	failed := int(o.Status.Failed)
	if u := o.Status.UncountedTerminatedPods; u != nil {
		failed += len(u.Failed)
	}
	failed = max(failed, seen)
	limit := int(int32Or(o.Spec.BackoffLimit, 6)) // batch/v1: "Defaults to 6"
	if failed == 0 || failed > limit || o.Spec.BackoffLimitPerIndex != nil {
		return ""
	}
	text := fmt.Sprintf("attempt %d of %d", failed+1, limit+1)
	if last == nil {
		return text
	}
	for _, r := range runs(last) {
		if t := r.ended(); t != nil && t.ExitCode != 0 {
			return fmt.Sprintf("%s: in the one before its %s ended with exit code %d%s", text, r.word(), t.ExitCode, meaning(t))
		}
	}
	return text
}

// jobFailed says why a Job gave up, by the last of its pods.
func (l *look) jobFailed(o *batchv1.Job, c batchv1.JobCondition) *problem.Problem {
	p := &problem.Problem{Class: problem.Rollout, Code: "job-failed", Where: l.s.Ref.String(), Summary: "the job failed: " + mask(oneLine(c.Message, 160)),
		Hint: "`kdev logs " + o.Name + "` shows what its pods printed; a changed manifest runs it again"}
	switch c.Reason {
	case batchv1.JobReasonBackoffLimitExceeded, batchv1.JobReasonFailedIndexes:
		p.Summary = fmt.Sprintf("the job failed and is not tried again (backoffLimit: %d)", int32Or(o.Spec.BackoffLimit, 6))
	case batchv1.JobReasonDeadlineExceeded:
		p.Code, p.Summary = "job-deadline", "the job ran longer than activeDeadlineSeconds allows"
	}
	for i := len(l.s.Pods) - 1; i >= 0; i-- {
		e := l.evidence(l.s.Pods[i])
		for _, r := range runs(e.pod) {
			t := r.ended()
			if t == nil || t.ExitCode == 0 {
				continue
			}
			f := exitFinding(r, t)
			f.chain = []string{fmt.Sprintf("its %s ended with exit code %d%s", r.word(), t.ExitCode, meaning(t))}
			f.lines = e.printed(r.Name, r.State.Terminated == nil)
			if len(f.lines) == 0 && t.Message != "" {
				f.lines = tailOf(t.Message, tailLines)
			}
			p.Output = e.problem(f).Output
			return p
		}
	}
	return p
}

// pods finds the workload's pods and what is wrong with those that current
// says are of the newest template (nil: all).
func (l *look) pods(o metav1.Object, current func(*corev1.Pod) bool) {
	l.podsAmong(l.live.PodsOf(o.GetUID()), current, nil)
}

// podsAmong is pods of those that all are; explained says of which of the newest template
// it is to be looked what is wrong with them (nil: all).
func (l *look) podsAmong(all []*corev1.Pod, current, explained func(*corev1.Pod) bool) {
	s := l.s
	s.Pods = all
	var newest []*corev1.Pod
	for _, p := range s.Pods {
		if current != nil && !current(p) {
			if p.DeletionTimestamp == nil && podReady(p) {
				s.Old++
			}
			continue
		}
		if s.Since.IsZero() || p.CreationTimestamp.Time.Before(s.Since) {
			s.Since = p.CreationTimestamp.Time
		}
		if p.DeletionTimestamp == nil && (explained == nil || explained(p)) {
			newest = append(newest, p)
		}
	}
	if s.Ready && l.steady(newest) {
		return
	}
	l.explain(newest)
	if s.Problem != nil {
		return
	}
	for _, p := range s.Pods { // an old pod that does not go holds the rollout up too
		if p.DeletionTimestamp != nil {
			l.take(l.evidence(p))
		}
	}
}

// readyAmong counts the pods that are ready, not yet going, and as which says.
func readyAmong(pods []*corev1.Pod, which func(*corev1.Pod) bool) (n int) {
	for _, p := range pods {
		if which(p) && podReady(p) && p.DeletionTimestamp == nil {
			n++
		}
	}
	return n
}

// steady says whether the containers stay up, as far as can be told. Without a readiness
// probe a container that crashes again and again is ready for a moment after each start,
// and the cluster then calls its workload available.
func (l *look) steady(pods []*corev1.Pod) bool {
	for _, p := range pods {
		name, since := restless(p)
		if name == "" {
			continue
		}
		if at := since.Add(steadyAfter); l.now.Before(at) {
			l.s.Ready, l.s.Waiting = false, "container "+name+" to stay up: it crashed and was started again"
			if l.again.IsZero() || at.Before(l.again) {
				l.again = at
			}
			return false
		}
	}
	return true
}

// restless returns the container of a pod that runs again after a crash soon after its
// start, and since when; "" where there is none. One that was told to end is none: so
// kdev starts those anew whose program cannot be started in place.
func restless(p *corev1.Pod) (name string, since time.Time) {
	for _, r := range runs(p) {
		s, t := r.State.Running, r.LastTerminationState.Terminated
		if r.init || s == nil || t == nil || r.spec.ReadinessProbe != nil || t.ExitCode == exitTerminated {
			continue
		}
		if t.FinishedAt.Sub(t.StartedAt.Time) < steadyAfter {
			return r.Name, s.StartedAt.Time
		}
	}
	return "", time.Time{}
}

// exitTerminated is how a program ends that SIGTERM ended.
const exitTerminated = 128 + 15

// explain takes the first cause that a pod shows, else in words what the first
// that is not ready waits for.
func (l *look) explain(pods []*corev1.Pod) {
	for _, p := range pods {
		again, since := restless(p)
		if podReady(p) && (again == "" || !l.now.Before(since.Add(steadyAfter))) {
			continue
		}
		e := l.evidence(p)
		if l.take(e) {
			return
		}
		if text := e.unready(); text != "" && l.s.Waiting == "" {
			l.s.Waiting = text
		}
	}
}

// take makes what the evidence shows the workload's problem.
func (l *look) take(e *evidence) bool {
	f := e.explain()
	if !e.again.IsZero() && (l.again.IsZero() || e.again.Before(l.again)) {
		l.again = e.again
	}
	if f == nil || l.s.Problem != nil {
		return false
	}
	l.s.Problem = e.problem(f)
	return true
}

func (l *look) evidence(p *corev1.Pod) *evidence {
	e := &evidence{workload: l.s.Ref, pod: p, events: l.live.Events(p.UID), now: l.now, hide: l.d.hide,
		tail: func(pod *corev1.Pod, container string, previous bool) []string {
			return l.d.tails.of(l.live, pod, container, previous)
		}}
	if p.Spec.NodeName == "" {
		e.claims = map[string][]*corev1.Event{}
		for _, v := range p.Spec.Volumes {
			if v.PersistentVolumeClaim == nil {
				continue
			}
			if c, ok := l.live.Get("PersistentVolumeClaim", p.Namespace+"/"+v.PersistentVolumeClaim.ClaimName); ok {
				claim := c.(*corev1.PersistentVolumeClaim)
				e.claims[claim.Name] = l.live.Events(claim.UID)
			}
		}
	}
	return e
}

// creation explains why the workload's controller cannot create pods.
func (l *look) creation(message string, since time.Time) {
	e := &evidence{workload: l.s.Ref, pod: &corev1.Pod{}, now: l.now}
	f := e.creation(message, since)
	if !e.again.IsZero() && (l.again.IsZero() || e.again.Before(l.again)) {
		l.again = e.again
	}
	if f == nil || l.s.Problem != nil {
		return
	}
	p := &problem.Problem{Class: problem.Rollout, Code: f.code, Where: l.s.Ref.String(), Summary: f.summary, Hint: f.hint}
	if len(f.chain) > 0 {
		p.Output = mask(strings.Join(f.chain, "\n"))
	}
	l.s.Problem = p
}

// failedCreate looks for the same in the events of a controller that has no
// condition for it.
func (l *look) failedCreate(o metav1.Object) {
	if l.s.Ready || l.s.Problem != nil {
		return
	}
	if message, at := failedCreate(l.live.Events(o.GetUID())); message != "" {
		l.creation(message, at)
	}
}

// deadline bounds the rollout of kinds that have no deadline of their own by the
// default of a Deployment's.
func (l *look) deadline() {
	const limit = 600 * time.Second
	if l.s.Ready || l.s.Problem != nil || l.s.Since.IsZero() {
		return
	}
	if at := l.s.Since.Add(limit); l.now.Before(at) {
		if l.again.IsZero() || at.Before(l.again) {
			l.again = at
		}
		return
	}
	l.overdue(limit)
}

// overdue is the problem of a rollout that used up its time and shows no cause.
func (l *look) overdue(limit time.Duration) {
	if l.s.Problem != nil {
		return
	}
	for _, p := range l.s.Pods {
		e := l.evidence(p)
		if f := e.neverReady(); f != nil && !podReady(p) && p.DeletionTimestamp == nil {
			l.s.Problem = e.problem(f)
			return
		}
	}
	l.s.Problem = &problem.Problem{Class: problem.Rollout, Code: "rollout-deadline", Where: l.s.Ref.String(),
		Summary: "it did not become ready within " + age(limit), Output: l.s.Waiting, Hint: "`kubectl describe` of its pods may say more"}
}

func int32Or(n *int32, otherwise int32) int32 {
	if n == nil {
		return otherwise
	}
	return *n
}
