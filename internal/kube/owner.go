package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

const (
	ownerIndex    = "owner"    // controller's UID -> objects
	involvedIndex = "involved" // UID of the object that an event is about -> events
	serviceIndex  = "service"  // namespace/name of the Service -> its EndpointSlices
)

// A Ref names one object of the watched namespace.
type Ref struct {
	Kind string
	Name string
	UID  types.UID
}

func (r Ref) String() string { return r.Kind + "/" + r.Name }

// Owner is the top of the pod's chain of controllers: the Deployment over the
// ReplicaSet, the CronJob over the Job, a custom controller's object as far as
// owner references lead; for a bare pod the pod itself.
func (n *Namespace) Owner(pod *corev1.Pod) Ref {
	return n.OwnerOf("Pod", pod)
}

// OwnerOf is [Namespace.Owner] for any object.
func (n *Namespace) OwnerOf(kind string, obj metav1.Object) Ref {
	ref := Ref{Kind: kind, Name: obj.GetName(), UID: obj.GetUID()}
	// Chains are two long; the bound guards against references in a circle.
	for range 8 {
		owner := metav1.GetControllerOf(obj)
		if owner == nil {
			return ref
		}
		ref = Ref{Kind: owner.Kind, Name: owner.Name, UID: owner.UID}
		key := owner.Name
		if ns := obj.GetNamespace(); ns != "" {
			key = ns + "/" + owner.Name
		}
		next, ok := n.Get(owner.Kind, key)
		if !ok {
			return ref // of a kind that is not watched, or already gone
		}
		accessor, err := meta.Accessor(next)
		if err != nil || accessor.GetUID() != owner.UID {
			return ref // a namesake that came after the owner was deleted
		}
		obj = accessor
	}
	return ref
}

// PodsOf returns the pods whose controller, directly or through the chain, has
// this UID, sorted by name.
func (n *Namespace) PodsOf(uid types.UID) []*corev1.Pod {
	found := controlled(n.pods, uid)
	for _, between := range []cache.SharedIndexInformer{n.replicaSets, n.jobs} {
		for _, o := range controlled(between, uid) {
			if accessor, err := meta.Accessor(o); err == nil {
				found = append(found, controlled(n.pods, accessor.GetUID())...)
			}
		}
	}
	return sorted[*corev1.Pod](found)
}

// Events returns the events about the object with this UID, oldest first.
func (n *Namespace) Events(uid types.UID) []*corev1.Event {
	objs, _ := n.events.GetIndexer().ByIndex(involvedIndex, string(uid))
	out := sorted[*corev1.Event](objs)
	slices.SortStableFunc(out, func(a, b *corev1.Event) int { return EventTime(a).Compare(EventTime(b).Time) })
	return out
}

// AllEvents returns every event of the namespace, oldest first.
func (n *Namespace) AllEvents() []*corev1.Event {
	out := list[*corev1.Event](n.events)
	slices.SortStableFunc(out, func(a, b *corev1.Event) int { return EventTime(a).Compare(EventTime(b).Time) })
	return out
}

// EventTime is when the event was last seen: events.k8s.io fills other fields
// than the core recorder does.
func EventTime(e *corev1.Event) metav1.Time {
	switch {
	case e.Series != nil && !e.Series.LastObservedTime.IsZero():
		return metav1.NewTime(e.Series.LastObservedTime.Time)
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp
	case !e.EventTime.IsZero():
		return metav1.NewTime(e.EventTime.Time)
	default:
		return e.CreationTimestamp
	}
}

// EndpointsOf returns the EndpointSlices of a Service.
func (n *Namespace) EndpointsOf(service *corev1.Service) []*discoveryv1.EndpointSlice {
	objs, _ := n.endpointSlices.GetIndexer().ByIndex(serviceIndex, service.Namespace+"/"+service.Name)
	return sorted[*discoveryv1.EndpointSlice](objs)
}

func controlled(informer cache.SharedIndexInformer, uid types.UID) []any {
	objs, _ := informer.GetIndexer().ByIndex(ownerIndex, string(uid))
	return objs
}

func indexByOwner(obj any) ([]string, error) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if owner := metav1.GetControllerOf(accessor); owner != nil {
		return []string{string(owner.UID)}, nil
	}
	return nil, nil
}

func indexByInvolved(obj any) ([]string, error) {
	if e, ok := obj.(*corev1.Event); ok && e.InvolvedObject.UID != "" {
		return []string{string(e.InvolvedObject.UID)}, nil
	}
	return nil, nil
}

func indexByService(obj any) ([]string, error) {
	if s, ok := obj.(*discoveryv1.EndpointSlice); ok {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
			return []string{s.Namespace + "/" + name}, nil
		}
	}
	return nil, nil
}
