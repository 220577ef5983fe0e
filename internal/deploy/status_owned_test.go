package deploy

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/internal/kube"
)

// The pods of a custom object are looked at through whatever its controller made between,
// and explained; what has ended is its controller's to judge.
func TestStatusOfWhatACustomObjectOwns(t *testing.T) {
	owned := func(name, uid, kind, owner, ownerUID string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(uid), OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: owner, UID: types.UID(ownerUID), Controller: new(true)}}}
	}
	pod := func(meta metav1.ObjectMeta, phase corev1.PodPhase, ready bool, state corev1.ContainerState) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "ship", Image: "ship"}}},
			Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: "ship", Ready: ready, RestartCount: 3, State: state,
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 7}}}}}}
		if ready {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		return p
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 7}}
	crashes := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	client := &kube.Client{Core: fake.NewSimpleClientset(
		&appsv1.Deployment{ObjectMeta: owned("fleet-north", "d", "Fleet", "north", "f")},
		&appsv1.ReplicaSet{ObjectMeta: owned("fleet-north-1", "r", "Deployment", "fleet-north", "d")},
		pod(owned("north-a", "a", "ReplicaSet", "fleet-north-1", "r"), corev1.PodRunning, true, running),
		pod(owned("north-b", "b", "ReplicaSet", "fleet-north-1", "r"), corev1.PodRunning, false, crashes),
		pod(owned("south-a", "c", "Fleet", "south", "s"), corev1.PodRunning, true, running),
		pod(owned("south-b", "e", "Fleet", "south", "s"), corev1.PodFailed, false, ended),
	)}
	ctx, cancel := context.WithCancel(t.Context())
	live, err := kube.Watch(ctx, client, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	d := New(client, Options{Namespace: "shop"})
	defer d.Close()
	d.tails.fetch = func(context.Context, *corev1.Pod, string, bool) []string { return nil }
	all := d.OwnedStatus(live, []Ref{{"Fleet", "north"}, {"Fleet", "south"}, {"Fleet", "empty"}, {"Deployment", "fleet-north"}})
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	if got := all[0].Explanation(time.Time{}); !strings.HasPrefix(got, "Fleet/north: 1/2 ready, failing\n  Fleet/north container ship: it crashes with exit code 7 [crash]\n  │ pod north-b") {
		t.Errorf("%s", got)
	}
	if s := all[1]; !s.Ready || s.Desired != 1 || len(s.Pods) != 2 || s.Problem != nil {
		t.Errorf("%+v", s)
	}
}
