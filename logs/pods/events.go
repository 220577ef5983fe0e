package pods

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// Events calls handle for every event of the namespaces, as it comes or is counted up,
// from one goroutine at a time. What the first list of a namespace holds comes too, and
// first, by EventTime: the API lists by name. It goes on until ctx is done; wait waits
// for that. denied is told, once for each namespace, that
// the user may not see events.
func Events(ctx context.Context, client kubernetes.Interface, namespaces []string, handle func(*corev1.Event), denied func(error)) (wait func()) {
	ctx = klog.NewContext(ctx, logr.Discard())
	var running sync.WaitGroup
	var one sync.Mutex
	for _, namespace := range namespaces {
		informer := cache.NewSharedIndexInformer(
			cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "events", namespace, fields.Everything()), &corev1.Event{}, 0, cache.Indexers{})
		var told sync.Once
		// A handler cannot be refused before the informer runs.
		_ = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			if apierrors.IsForbidden(err) {
				told.Do(func() { denied(err) })
			}
		})
		var first []*corev1.Event // under one, until listed
		listed := false
		give := func(obj any) {
			e, ok := obj.(*corev1.Event)
			if !ok {
				return
			}
			one.Lock()
			defer one.Unlock()
			if !listed {
				first = append(first, e)
				return
			}
			handle(e)
		}
		handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    give,
			UpdateFunc: func(_, now any) { give(now) },
		})
		if err != nil { // only of one that has ended
			denied(err)
			continue
		}
		running.Go(func() { informer.RunWithContext(ctx) })
		running.Go(func() {
			select {
			case <-handler.HasSyncedChecker().Done():
			case <-ctx.Done():
			}
			one.Lock()
			defer one.Unlock()
			listed = true
			slices.SortStableFunc(first, func(a, b *corev1.Event) int { return EventTime(a).Compare(EventTime(b)) })
			for _, e := range first {
				handle(e)
			}
			first = nil
		})
	}
	return running.Wait
}

// EventTime is when an event was last seen: events.k8s.io fills other fields than the
// core recorder does.
func EventTime(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil && !e.Series.LastObservedTime.IsZero():
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

// EventText is an event in one line.
func EventText(e *corev1.Event) string {
	text := fmt.Sprintf("%s %s: %s", e.Type, e.Reason, e.Message)
	count := e.Count
	if e.Series != nil {
		count = max(count, e.Series.Count)
	}
	if count > 1 {
		text += fmt.Sprintf(" (%d times)", count)
	}
	return text
}

// Event says whether an event is about a wanted pod, about something that owns
// wanted pods, or about what a query names.
func (s *Selector) Event(e *corev1.Event, pods []*corev1.Pod) bool {
	about := e.InvolvedObject
	if about.Kind == "Pod" {
		for _, pod := range pods {
			if pod.UID == about.UID {
				return s.Pod(pod)
			}
		}
		// Gone, or not there yet: its name is all there is to go by.
		if matchAny(s.choice.ExcludePods, about.Name) {
			return false
		}
		for _, q := range s.choice.Queries {
			if q.Name != nil && q.Name.MatchString(about.Name) {
				return true
			}
		}
		return len(s.choice.Queries) == 0 && len(s.choice.OwnedWith) == 0
	}
	chain := s.owners.ChainOf(s.ctx, about)
	for i, q := range s.choice.Queries {
		t, ok := s.byKind[i]
		if !ok {
			continue
		}
		for _, o := range chain {
			if o.GroupKind == t.kind && o.Name == q.Object {
				return true
			}
		}
	}
	if len(s.choice.OwnedWith) > 0 {
		want := labels.SelectorFromSet(s.choice.OwnedWith)
		for _, o := range chain {
			if want.Matches(labels.Set(o.Labels)) {
				return true
			}
		}
		return false
	}
	for _, pod := range pods {
		for _, o := range s.owners.Chain(s.ctx, pod) {
			if o.UID == about.UID {
				return s.Pod(pod)
			}
		}
	}
	return len(s.choice.Queries) == 0
}

// ChainOf is [Owners.Chain] for the object that an event is about, which comes first.
func (o *Owners) ChainOf(ctx context.Context, about corev1.ObjectReference) []Owner {
	ref := &metav1.OwnerReference{APIVersion: about.APIVersion, Kind: about.Kind, Name: about.Name, UID: about.UID}
	return o.chain(ctx, about.Namespace, ref)
}
