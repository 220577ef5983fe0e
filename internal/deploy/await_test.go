package deploy

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

func TestAwait(t *testing.T) {
	ready := corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}
	}
	for _, tc := range []struct {
		name  string
		first corev1.PodStatus
		then  *corev1.PodStatus // after the first was told
		code  string            // of the problem; "" is ready
		class problem.Class

		ignored bool
	}{
		{"ready at once", ready, nil, "", 0, false},
		{"ready later", corev1.PodStatus{Phase: corev1.PodPending}, &ready, "", 0, false},
		{"a problem that mends itself", waiting("InvalidImageName", "bad"), &ready, "", 0, false},
		{"a problem that stays", waiting("InvalidImageName", "bad"), nil, "image-name", problem.Rollout, false},
		{"a problem that nobody waits for", waiting("InvalidImageName", "bad"), nil, "", 0, true},
		{"nothing happens", corev1.PodStatus{Phase: corev1.PodPending}, nil, "not-ready", problem.Timeout, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u", CreationTimestamp: metav1.Now()}, Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "web", Image: "web"}}}, Status: tc.first}
			core := fake.NewSimpleClientset(pod)
			watched, stop := context.WithCancel(t.Context())
			live, err := kube.Watch(watched, &kube.Client{Core: core}, "shop")
			if err != nil {
				t.Fatal(err)
			}
			defer live.Wait()
			defer stop()
			d := New(nil, Options{Namespace: "shop"})
			defer d.Close()
			// Long enough for the change where there is one, short where time has to pass.
			o := AwaitOptions{Patience: 50 * time.Millisecond, Changed: func([]WorkloadStatus) {}}
			if tc.ignored {
				o.Ignored = func(ref Ref) bool { return ref == Ref{"Pod", "web"} }
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if tc.then != nil {
				o.Patience = time.Minute
				o.Changed = func([]WorkloadStatus) {
					changed := pod.DeepCopy()
					changed.Status = *tc.then
					if _, err := core.CoreV1().Pods("shop").UpdateStatus(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
						t.Error(err)
					}
				}
			} else if tc.code == "not-ready" {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
			}
			err = d.Await(ctx, live, parse(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"), o)
			p := problem.As(err)
			if tc.code == "" && err != nil || tc.code != "" && (p == nil || p.Code != tc.code || p.Class != tc.class) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestReleases(t *testing.T) {
	r := &releases{}
	r.read(map[string]string{"releases": "damaged"})
	now := time.Unix(1, 0)
	if !r.add(map[string]string{"web": "a"}, now) || r.add(map[string]string{"web": "a"}, now) || !r.add(map[string]string{"web": "b"}, now) {
		t.Error("what is news is not told from what is known")
	}
	again := &releases{}
	again.read(r.into(nil))
	if p, ok := Previous(again.made["web"], "b"); !ok || p.Ref != "a" {
		t.Errorf("before b: %v", p)
	}
	if p, ok := Previous(again.made["web"], "broken"); !ok || p.Ref != "b" {
		t.Errorf("instead of one that never was ready: %v", p)
	}
	if _, ok := Previous(again.made["other"], "x"); ok {
		t.Error("an image of nothing")
	}
	for i := range 30 {
		r.add(map[string]string{"web": string(rune('a' + i))}, now)
	}
	if n := len(r.made["web"]); n != keptReleases {
		t.Errorf("%d are kept", n)
	}
}

func TestStages(t *testing.T) {
	at := func(s int) metav1.Time { return metav1.Unix(int64(s), 0) }
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(10)},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "init"}}, Containers: []corev1.Container{{Name: "web"}}},
		Status: corev1.PodStatus{
			Conditions:            []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: at(11)}, {Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: at(18)}},
			InitContainerStatuses: []corev1.ContainerStatus{{Name: "init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: at(15), FinishedAt: at(18)}}}},
			ContainerStatuses:     []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(19)}}}},
		}}
	want := []Stage{{"scheduled", true, at(11).Time, time.Second}, {"pulled", true, at(15).Time, 4 * time.Second}, {"init", true, at(18).Time, 3 * time.Second}, {"started", true, at(19).Time, time.Second}, {"ready", false, time.Time{}, 5 * time.Second}}
	got := Stages(pod, time.Unix(24, 0))
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if !got[i].At.Equal(want[i].At) || got[i].Name != want[i].Name || got[i].Done != want[i].Done || got[i].Took != want[i].Took {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	// It was ready, then not (its node was away), and now it is again.
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: at(7200)})
	if got := Stages(pod, time.Unix(7300, 0)); got[3].Took != time.Second || !got[4].Done || got[4].Took != NotTold {
		t.Errorf("of a pod that became ready once more: %+v", got[3:])
	}
}
