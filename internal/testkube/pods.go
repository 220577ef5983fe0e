package testkube

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pod makes a running pod with one status per container; change it as the test
// needs before [Server.Put].
func Pod(namespace, name string, containers ...string) *corev1.Pod {
	if len(containers) == 0 {
		containers = []string{"app"}
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + namespace + "-" + name)},
		Spec:       corev1.PodSpec{NodeName: "node-1"},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c, Image: "example/" + c})
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, Running(name, c, 0))
	}
	return p
}

// Running is the status of a container in its run number restarts.
func Running(pod, container string, restarts int32) corev1.ContainerStatus {
	cs := corev1.ContainerStatus{
		Name: container, Ready: true, RestartCount: restarts, ContainerID: containerID(pod, container, restarts),
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now().Truncate(time.Second))}},
	}
	if restarts > 0 {
		cs.LastTerminationState.Terminated = terminated(pod, container, restarts-1, 1)
	}
	return cs
}

// Terminated is the status of a container whose run number restarts ended.
func Terminated(pod, container string, restarts, code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: container, RestartCount: restarts, ContainerID: containerID(pod, container, restarts),
		State: corev1.ContainerState{Terminated: terminated(pod, container, restarts, code)},
	}
}

// Waiting is the status of a container that does not run; restarts above 0 say that
// it ran before.
func Waiting(pod, container string, restarts int32, reason string) corev1.ContainerStatus {
	cs := corev1.ContainerStatus{
		Name: container, RestartCount: restarts,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
	}
	if restarts > 0 {
		cs.LastTerminationState.Terminated = terminated(pod, container, restarts-1, 1)
	}
	return cs
}

func terminated(pod, container string, run, code int32) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error", ContainerID: containerID(pod, container, run),
		FinishedAt: metav1.NewTime(time.Now().Truncate(time.Second))}
}

func containerID(pod, container string, run int32) string {
	return fmt.Sprintf("containerd://%s-%s-%d", pod, container, run)
}
