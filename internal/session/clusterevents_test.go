package session

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEventsOfTheCluster(t *testing.T) {
	at := time.Date(2026, 1, 2, 9, 30, 0, 0, time.UTC)
	pod := corev1.ObjectReference{Kind: "Pod", Name: "web-1"}
	got := addEvents(nil, []*corev1.Event{
		{InvolvedObject: pod, Type: "Normal", Reason: "Pulled", Message: "it was there", Count: 1, LastTimestamp: metav1.NewTime(at)},
		{InvolvedObject: pod, Type: "Warning", Reason: "Unhealthy", Message: "probe failed", Count: 7, LastTimestamp: metav1.NewTime(at)},
		{InvolvedObject: pod, Type: "Warning", Reason: "BackOff", Message: "again", Series: &corev1.EventSeries{Count: 3, LastObservedTime: metav1.NewMicroTime(at)}},
	})
	want := []ClusterEvent{
		{Time: at, Object: "Pod/web-1", Reason: "Pulled", Text: "it was there"},
		{Time: at, Object: "Pod/web-1", Warning: true, Reason: "Unhealthy", Text: "probe failed", Times: 7},
		{Time: at, Object: "Pod/web-1", Warning: true, Reason: "BackOff", Text: "again", Times: 3},
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("event %d of %+v, want %+v", i, got, want[i])
		}
	}
}
