package deploy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// A WorkloadStatus says how far one workload's rollout is.
type WorkloadStatus struct {
	Ref
	Namespace                       string // where it is another than the project's
	Ready                           bool
	Unwatched                       string           // why nobody can say whether it is ready; then it counts as ready, and proves nothing
	Absent                          bool             // it is not in the cluster
	Desired, Updated, ReadyReplicas int              // wanted; of the newest template; of those, ready
	Waiting                         string           // what it waits for, in words; "" when ready
	Problem                         *problem.Problem // why it is not getting further, as soon as that is known
	Pods                            []*corev1.Pod    // all of them, old ones too
	Old                             int              // how many of Pods are of an older template, not yet going, and ready: they still serve
	Template                        string           // hash of the newest template, "" where there is none
	Since                           time.Time        // when the newest template's first pod was made; zero when there is none
}

// Status reads from the informers how the workloads among objects fare. A
// workload counts as seen only in the generation that Apply made, so the state
// from before a change is never taken for its result. It answers at once; lines
// of logs, and rules that have patience, make live signal a change later.
func (d *Deployer) Status(live *kube.Namespace, objects []*Object) []WorkloadStatus {
	var all []WorkloadStatus
	for _, o := range objects {
		switch {
		case !IsWorkload(o):
		default:
			s := d.statusOf(live, o)
			s.Waiting, s.Problem = d.hidden(s.Waiting, s.Problem)
			if s.Absent {
				s.Desired = Wanted(o)
			}
			if s.Absent && o.Hook != nil {
				s = WorkloadStatus{Ref: s.Ref, Ready: true} // not its turn, or it ran and was deleted: Apply waits for hooks
			}
			all = append(all, s)
		}
	}
	return all
}

// statusOf is the status of one workload, in whatever namespace.
func (d *Deployer) statusOf(live *kube.Namespace, o *Object) WorkloadStatus {
	if !d.elsewhere(o) {
		return d.status(live, RefOf(o))
	}
	s := WorkloadStatus{Ref: RefOf(o), Namespace: o.GetNamespace()}
	there, err := live.Beside(d.client, s.Namespace)
	switch {
	case err != nil:
		s.Ready, s.Unwatched = true, "this user may not read pods of namespace "+s.Namespace
	case there == nil:
		s.Waiting = "a first look at namespace " + s.Namespace
	case slices.Contains(there.Denied(), pluralOf(s.Kind)):
		s.Ready, s.Unwatched = true, "this user may not read "+pluralOf(s.Kind)+" of namespace "+s.Namespace
	default:
		s = d.statusIn(there, s)
		if s.Problem != nil {
			p := *s.Problem
			p.Where += " in namespace " + s.Namespace
			s.Problem = &p
		}
	}
	return s
}

// FullName is "Kind/name", with the namespace where it is another than the project's.
func (s *WorkloadStatus) FullName() string {
	if s.Namespace == "" {
		return s.Ref.String()
	}
	return s.Ref.String() + " in namespace " + s.Namespace
}

// Unwatched are the workloads of which nobody can say whether they are ready, and why: that
// everything else is ready does not prove that what is old may go.
func Unwatched(all []WorkloadStatus) (which []string) {
	for _, s := range all {
		if s.Unwatched != "" {
			which = append(which, s.FullName()+" is not watched: "+s.Unwatched)
		}
	}
	return which
}

// hidden takes known values out of the words of controllers and of the API server: a
// condition may quote what was wrong with an object.
func (d *Deployer) hidden(text string, p *problem.Problem) (string, *problem.Problem) {
	if d.hide == nil {
		return text, p
	}
	if p != nil {
		p = p.Hide(d.hide)
	}
	return d.hide(text), p
}

// elsewhere says whether an object is of another namespace than the project's: of these
// the workloads alone are watched.
func (d *Deployer) elsewhere(o *Object) bool {
	return o.GetNamespace() != "" && o.GetNamespace() != d.options.Namespace
}

// status is that of a workload of the project's namespace.
func (d *Deployer) status(live *kube.Namespace, ref Ref) WorkloadStatus {
	return d.statusIn(live, WorkloadStatus{Ref: ref})
}

// statusIn fills in s from the namespace that it is of.
func (d *Deployer) statusIn(live *kube.Namespace, s WorkloadStatus) WorkloadStatus {
	ref, key := s.Ref, workloadKey(s.Ref)
	key.namespace = s.Namespace
	made, known := d.made(key)
	found, ok := live.Get(ref.Kind, orElse(s.Namespace, d.options.Namespace)+"/"+ref.Name)
	if known && made.uid == "" {
		s.Ready, s.Desired, s.Updated, s.ReadyReplicas = true, 1, 1, 1 // a job that ran and is gone
		return s
	}
	switch {
	case ref.Kind == "ReplicationController":
		s.Ready = true // of a time before Deployments: nobody watches it
		return s
	case slices.Contains(live.Denied(), pluralOf(ref.Kind)):
		s.Waiting = "a look at it: this user may not read " + pluralOf(ref.Kind)
		return s
	}
	if !ok || known && found.(metav1.Object).GetUID() != made.uid {
		s.Absent, s.Waiting = true, "its creation"
		return s
	}
	l := &look{d: d, live: live, s: &s, now: d.now()}
	switch o := found.(type) {
	case *appsv1.Deployment:
		l.deployment(o, seen(o, made, o.Status.ObservedGeneration))
	case *appsv1.StatefulSet:
		l.statefulSet(o, seen(o, made, o.Status.ObservedGeneration))
	case *appsv1.DaemonSet:
		l.daemonSet(o, seen(o, made, o.Status.ObservedGeneration))
	case *appsv1.ReplicaSet:
		s.Desired, s.Updated, s.ReadyReplicas = replicas(o.Spec.Replicas), int(o.Status.Replicas), int(o.Status.ReadyReplicas)
		s.Ready = seen(o, made, o.Status.ObservedGeneration) && int(o.Status.AvailableReplicas) >= s.Desired
		l.pods(o, nil)
	case *batchv1.Job:
		l.job(o)
	case *batchv1.CronJob:
		s.Ready = true // there is nothing to wait for until its time comes
	case *corev1.Pod:
		s.Desired, s.Updated = 1, 1
		s.Pods, s.Since = []*corev1.Pod{o}, o.CreationTimestamp.Time
		s.Ready = podReady(o) || o.Status.Phase == corev1.PodSucceeded
		l.explain(s.Pods)
	default:
		s.Ready = true
	}
	if s.Ready {
		s.ReadyReplicas = max(s.ReadyReplicas, min(s.Desired, s.Updated))
		s.Waiting, s.Problem = "", nil
	} else if s.Waiting == "" {
		s.Waiting = fmt.Sprintf("%d of %d pods to be ready", s.Desired-min(s.ReadyReplicas, s.Updated), s.Desired)
	}
	if !l.again.IsZero() && !s.Ready {
		live.PokeAt(l.again)
	}
	return s
}

// IsOld says whether a pod was made from an older template than the newest.
func (s *WorkloadStatus) IsOld(pod *corev1.Pod) bool {
	for _, label := range []string{appsv1.DefaultDeploymentUniqueLabelKey, appsv1.ControllerRevisionHashLabelKey} {
		if hash := pod.Labels[label]; hash != "" && s.Template != "" {
			return hash != s.Template
		}
	}
	return false
}

// pluralOf is how RBAC calls a kind that informers keep.
func pluralOf(kind string) string { return strings.ToLower(kind) + "s" }

func (d *Deployer) now() time.Time {
	if d.options.Now != nil {
		return d.options.Now()
	}
	return time.Now()
}

// seen says whether the controller has looked at the newest generation that we know of.
func seen(o metav1.Object, made version, observed int64) bool {
	return observed >= o.GetGeneration() && observed >= made.generation
}

func replicas(n *int32) int {
	if n == nil {
		return 1 // the API's default
	}
	return int(*n)
}

// Wanted is how many pods a manifest wants, 0 where that is up to the nodes.
func Wanted(o *Object) int {
	switch o.GetKind() {
	case "Deployment", "StatefulSet", "ReplicaSet":
		n, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "replicas")
		switch n := n.(type) {
		case int:
			return n
		case int64:
			return int(n)
		case float64:
			return int(n)
		}
		return 1 // the API's default
	case "Job", "Pod":
		return 1
	}
	return 0
}

// newestTemplate finds the hash of a Deployment's newest ReplicaSet, "" when
// there is none yet. Then older says whether there are those of earlier templates: what is
// known of the ReplicaSets is a moment behind what is known of the Deployment.
func newestTemplate(live *kube.Namespace, o *appsv1.Deployment) (hash string, rs *appsv1.ReplicaSet, older bool) {
	const revision = "deployment.kubernetes.io/revision"
	for _, rs := range live.ReplicaSets() {
		if !metav1.IsControlledBy(rs, o) {
			continue
		}
		if rs.Annotations[revision] == o.Annotations[revision] {
			return rs.Labels[appsv1.DefaultDeploymentUniqueLabelKey], rs, false
		}
		older = true
	}
	return "", nil, older
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
