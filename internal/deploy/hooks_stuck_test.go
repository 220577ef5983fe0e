package deploy

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/problem"
)

// A hook that cannot start is explained as a workload is; one that only takes long is late.
func TestAHookThatCannotStart(t *testing.T) {
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	for _, tc := range []struct {
		name  string
		state corev1.ContainerState
		code  string
		exit  int
	}{
		{"no image", waiting("ImagePullBackOff", `Back-off pulling image "nope:1": ErrImagePull: nope:1: not found`), "image-not-found", 3},
		{"it runs", corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}, "hook-job", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, s := stubbed(t, t.TempDir())
			d.options.HookTimeout = 200 * time.Millisecond
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "migrate", Namespace: "shop"}}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "migrate-x", Namespace: "shop", UID: "p", Labels: map[string]string{batchv1.JobNameLabel: "migrate"}},
				Spec:   corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "migrate", Image: "nope:1"}}},
				Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: "migrate", Image: "nope:1", State: tc.state}}}}
			if err := s.core.Tracker().Add(job); err != nil {
				t.Fatal(err)
			}
			if err := s.core.Tracker().Add(pod); err != nil {
				t.Fatal(err)
			}
			hooks := hooked(parse(t, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, annotations: {helm.sh/hook: pre-install}}\n"))
			_, err := d.Apply(t.Context(), hooks)
			p := problem.As(err)
			if p == nil || p.Code != tc.code || p.ExitCode() != tc.exit || !strings.HasPrefix(p.Where, "Job/migrate") {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}
