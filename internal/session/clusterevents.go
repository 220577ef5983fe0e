package session

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/kdev-io/kdev/internal/kube"
)

// mostEvents is how many of a service's events a State has.
const mostEvents = 20

// ClusterEvent is what the cluster has said of a pod or a workload of a service.
type ClusterEvent struct {
	Time    time.Time `json:"time"`   // when it was last so
	Object  string    `json:"object"` // "Pod/web-7d9f6b5c4-x2k9p"
	Warning bool      `json:"warning,omitempty"`
	Reason  string    `json:"reason"` // "FailedScheduling"
	Text    string    `json:"text"`
	Times   int       `json:"times,omitempty"` // where it was more than once
}

// clusterEvents are the newest events of a service's workloads and pods, oldest first.
func (l *loop) clusterEvents(svc *service) []ClusterEvent {
	live := l.s.parts.Live
	var all []ClusterEvent
	for _, pod := range l.pods(svc) {
		all = addEvents(all, live.Events(pod.UID))
	}
	for _, w := range svc.workloads {
		if found, ok := live.Get(w.Kind, w.Name); ok {
			if o, err := meta.Accessor(found); err == nil {
				all = addEvents(all, live.Events(o.GetUID()))
			}
		}
	}
	slices.SortStableFunc(all, func(a, b ClusterEvent) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Object, b.Object))
	})
	return all[max(0, len(all)-mostEvents):]
}

func addEvents(all []ClusterEvent, events []*corev1.Event) []ClusterEvent {
	for _, e := range events {
		times := int(e.Count)
		if e.Series != nil {
			times = int(e.Series.Count)
		}
		if times < 2 {
			times = 0
		}
		all = append(all, ClusterEvent{
			Time: kube.EventTime(e).Time, Object: e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name,
			Warning: e.Type == corev1.EventTypeWarning, Reason: e.Reason, Text: e.Message, Times: times,
		})
	}
	return all
}
