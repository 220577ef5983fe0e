package deploy

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// A WorkloadStatus says how far one workload's rollout is.
type WorkloadStatus struct {
	Ref
	Ready                           bool
	Desired, Updated, ReadyReplicas int
	Waiting                         string           // what it waits for, in words; "" when ready
	Problem                         *problem.Problem // why it is not getting further, as soon as that is known
	Pods                            []*corev1.Pod    // all of them, old ones too
}

// Status reads from the informers how the workloads among objects fare. A
// workload counts as seen only in the generation that Apply made, so the state
// from before a change is never taken for its result.
func (d *Deployer) Status(live *kube.Namespace, objects []*Object) []WorkloadStatus {
	var all []WorkloadStatus
	for _, o := range objects {
		if !IsWorkload(o) {
			continue
		}
		all = append(all, d.status(live, RefOf(o)))
	}
	return all
}

func (d *Deployer) status(live *kube.Namespace, ref Ref) WorkloadStatus {
	s := WorkloadStatus{Ref: ref}
	made, known := d.made(ref)
	found, ok := live.Get(ref.Kind, d.options.Namespace+"/"+ref.Name)
	if known && made.uid == "" {
		s.Ready, s.Desired, s.Updated, s.ReadyReplicas = true, 1, 1, 1 // a job that ran and is gone
		return s
	}
	if !ok || known && found.(metav1.Object).GetUID() != made.uid {
		s.Waiting = "to be created"
		return s
	}
	switch o := found.(type) {
	case *appsv1.Deployment:
		s.deployment(o, seen(o, made, o.Status.ObservedGeneration))
		s.pods(live, o, newestTemplate(live, o))
	case *appsv1.StatefulSet:
		s.statefulSet(o, seen(o, made, o.Status.ObservedGeneration))
		s.pods(live, o, func(p *corev1.Pod) bool {
			return o.Status.UpdateRevision == "" || p.Labels[appsv1.ControllerRevisionHashLabelKey] == o.Status.UpdateRevision
		})
	case *appsv1.DaemonSet:
		s.Desired, s.Updated, s.ReadyReplicas = int(o.Status.DesiredNumberScheduled), int(o.Status.UpdatedNumberScheduled), int(o.Status.NumberReady)
		s.Ready = seen(o, made, o.Status.ObservedGeneration) && s.Updated >= s.Desired && int(o.Status.NumberAvailable) >= s.Desired
		s.pods(live, o, nil)
	case *batchv1.Job:
		s.job(o)
		s.pods(live, o, nil)
	case *batchv1.CronJob:
		s.Ready = true // there is nothing to wait for until its time comes
	case *corev1.Pod:
		s.Desired, s.Updated = 1, 1
		s.Pods = []*corev1.Pod{o}
		s.Ready = podReady(o) || o.Status.Phase == corev1.PodSucceeded
		s.explain(live, s.Pods)
	default:
		s.Ready = true
	}
	if s.Ready {
		s.ReadyReplicas = max(s.ReadyReplicas, min(s.Desired, s.Updated))
		s.Waiting, s.Problem = "", nil
	} else if s.Waiting == "" {
		s.Waiting = fmt.Sprintf("%d of %d pods to be ready", s.Desired-min(s.ReadyReplicas, s.Updated), s.Desired)
	}
	return s
}

func (d *Deployer) made(ref Ref) (version, bool) {
	d.applied.mu.Lock()
	defer d.applied.mu.Unlock()
	v, ok := d.applied.made[ref]
	return v, ok
}

// seen says whether the controller has looked at the newest generation that we know of.
func seen(o metav1.Object, made version, observed int64) bool {
	return observed >= o.GetGeneration() && observed >= made.generation
}

func (s *WorkloadStatus) deployment(o *appsv1.Deployment, seen bool) {
	s.Desired, s.Updated, s.ReadyReplicas = replicas(o.Spec.Replicas), int(o.Status.UpdatedReplicas), int(o.Status.ReadyReplicas)
	s.Ready = seen && s.Updated >= s.Desired && int(o.Status.Replicas) <= s.Desired && int(o.Status.AvailableReplicas) >= s.Desired
	switch {
	case !seen:
		s.Waiting = "the deployment controller"
	case s.Updated >= s.Desired && int(o.Status.AvailableReplicas) >= s.Desired:
		s.Waiting = "old pods to go"
	}
	for _, c := range o.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			s.Problem = creationProblem(s.Ref, c.Message)
		}
	}
}

func (s *WorkloadStatus) statefulSet(o *appsv1.StatefulSet, seen bool) {
	s.Desired, s.Updated, s.ReadyReplicas = replicas(o.Spec.Replicas), int(o.Status.UpdatedReplicas), int(o.Status.ReadyReplicas)
	current := o.Status.UpdateRevision == "" || o.Status.CurrentRevision == o.Status.UpdateRevision
	if o.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		current = true // by wish: pods change when they are deleted
	}
	s.Ready = seen && current && s.ReadyReplicas >= s.Desired
}

func (s *WorkloadStatus) job(o *batchv1.Job) {
	s.Desired, s.Updated = 1, 1
	for _, c := range o.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			s.Ready, s.ReadyReplicas = true, 1
		case batchv1.JobFailed:
			s.Problem = &problem.Problem{Class: problem.Rollout, Code: "job-failed", Where: s.Ref.String(), Summary: "the job failed: " + c.Message,
				Hint: "`kdev logs " + s.Name + "` shows what its pods printed"}
		}
	}
	if s.Waiting == "" && !s.Ready {
		s.Waiting = "the job to complete"
	}
}

func replicas(n *int32) int {
	if n == nil {
		return 1 // the API's default
	}
	return int(*n)
}

// pods finds the workload's pods and what is wrong with those that current
// says are of the newest template (nil: all).
func (s *WorkloadStatus) pods(live *kube.Namespace, o metav1.Object, current func(*corev1.Pod) bool) {
	s.Pods = live.PodsOf(o.GetUID())
	var newest []*corev1.Pod
	for _, p := range s.Pods {
		if p.DeletionTimestamp == nil && (current == nil || current(p)) {
			newest = append(newest, p)
		}
	}
	if !s.Ready {
		s.explain(live, newest)
	}
}

// explain takes the first cause that a pod shows.
func (s *WorkloadStatus) explain(live *kube.Namespace, pods []*corev1.Pod) {
	for _, p := range pods {
		if found := Explain(p, live.Events(p.UID)); found != nil {
			s.Problem = found
			return
		}
	}
}

// newestTemplate tells the pods of a Deployment's newest ReplicaSet.
func newestTemplate(live *kube.Namespace, o *appsv1.Deployment) func(*corev1.Pod) bool {
	revision := o.Annotations["deployment.kubernetes.io/revision"]
	hash := ""
	for _, rs := range live.ReplicaSets() {
		if metav1.IsControlledBy(rs, o) && rs.Annotations["deployment.kubernetes.io/revision"] == revision {
			hash = rs.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		}
	}
	return func(p *corev1.Pod) bool {
		return hash == "" || p.Labels[appsv1.DefaultDeploymentUniqueLabelKey] == hash
	}
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
