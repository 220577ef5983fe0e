package session

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSyncable(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{
		Spec: corev1.PodSpec{
			NodeName:       "node",
			InitContainers: []corev1.Container{{Name: "kdev-seed-1", Command: []string{"/.kdev/agent", "seed", "/app", "/v"}}, {Name: "migrate"}, {Name: "seed"}, {Name: "sidecar", RestartPolicy: &always}},
			Containers:     []corev1.Container{{Name: "web"}},
		},
		Status: corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{
				{Name: "migrate", ContainerID: "1", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}},
				{Name: "seed", ContainerID: "2", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
				{Name: "sidecar", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}},
			},
		},
	}
	if got, want := fmt.Sprint(syncable(pod)), "[{seed  2 true true} {sidecar   true false} {web   false false}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	pod.Status.Phase = corev1.PodSucceeded
	if got := syncable(pod); len(got) > 0 {
		t.Errorf("a pod that is done: %v", got)
	}
	pod.Status.Phase, pod.DeletionTimestamp = corev1.PodRunning, &metav1.Time{}
	if got := syncable(pod); len(got) > 0 {
		t.Errorf("a pod that is on its way out: %v", got)
	}
}
