package deploy

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/kube"
)

// OwnedStatus says how the pods fare that controllers have made of objects of custom kinds
// among refs, whatever stands between them. Nothing tells how many there should be: those
// that are there are, but for those that have ended, which may be tried again by their
// controller. An object without pods is left out.
func (d *Deployer) OwnedStatus(live *kube.Namespace, refs []Ref) []WorkloadStatus {
	var all []WorkloadStatus
	for _, ref := range refs {
		if podSpecs[workloadKey(ref).GroupKind] != nil {
			continue // of these Status tells
		}
		s := WorkloadStatus{Ref: ref}
		var pods []*corev1.Pod
		for _, p := range live.Pods() {
			if owner := live.Owner(p); owner.Kind == ref.Kind && owner.Name == ref.Name && p.Namespace == d.options.Namespace {
				pods = append(pods, p)
			}
		}
		if len(pods) == 0 {
			continue
		}
		l := &look{d: d, live: live, s: &s, now: d.now()}
		for _, p := range pods {
			switch {
			case p.DeletionTimestamp != nil || Ended(p):
			case podReady(p):
				s.ReadyReplicas++
				fallthrough
			default:
				s.Desired++
			}
		}
		s.Updated, s.Ready = s.Desired, s.ReadyReplicas == s.Desired
		l.podsAmong(pods, nil, func(p *corev1.Pod) bool { return !Ended(p) })
		if s.Ready {
			s.Waiting, s.Problem = "", nil
		} else if s.Waiting == "" {
			s.Waiting = fmt.Sprintf("%d of %d pods to be ready", s.Desired-s.ReadyReplicas, s.Desired)
		}
		if !l.again.IsZero() && !s.Ready {
			live.PokeAt(l.again)
		}
		s.Waiting, s.Problem = d.hidden(s.Waiting, s.Problem)
		all = append(all, s)
	}
	return all
}

// Ended says whether a pod runs nothing any more, and never will.
func Ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}
