package session

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/watch"
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

// A file has the mode of --chmod in the image, and a new one gets it too. What a RUN came
// after is not known, but for what it was made from.
func TestHeldWithModes(t *testing.T) {
	dir, index := files(t, map[string]string{"Dockerfile": "FROM scratch\nCOPY lock /app/\nRUN build\nCOPY --chmod=0555 run.sh new.sh plain /bin/\nCOPY plain /app/\n", "lock": "1", "run.sh": "1", "new.sh": "1", "plain": "1"})
	plan, err := dockerfile.Load(dockerfile.Options{Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile")})
	if err != nil {
		t.Fatal(err)
	}
	m := &mapping{plan: plan, dir: dir, sync: config.Sync{Rules: []config.SyncRule{{From: "lock", To: "/app/"}}}}
	sum := strings.Repeat("01", 32)
	h := m.held(&build.Record{Inputs: []build.Input{{Path: "lock", Mode: 0o640, Digest: sum}, {Path: "plain", Mode: 0o640, Digest: sum}, {Path: "run.sh", Mode: 0o640, Digest: sum}}})
	if h.files["/bin/run.sh"].Mode != 0o555 || h.files["/bin/plain"].Mode != 0o555 || h.files["/app/plain"].Mode != 0o640 || !h.files["/app/lock"].Stays() || h.perhaps["/app/lock"].Mode != 0o640 {
		t.Errorf("held %+v, perhaps %+v", h.files, h.perhaps)
	}
	wanted, _, err := wantedFiles(t.Context(), index, m)
	if err != nil {
		t.Fatal(err)
	}
	if wanted["/bin/run.sh"].Mode != 0o555 || wanted["/app/plain"].Mode.Perm() != 0o644 {
		t.Errorf("wanted %+v", wanted)
	}
	s := &Session{parts: Parts{Index: index}, mirror: mirror.New(mirror.Options{Events: func(mirror.Event) {}}), events: make(chan event, 8)}
	f := &feeder{s: s, service: "web", plan: m, local: func(rel string) string { return rel }}
	f.mark("new.sh", m.explain("new.sh"), watch.Batch{Generation: 1})
	pending, batch, _ := f.take()
	if got := pending["new.sh"]; withMode(wanted["/app/plain"], got.Modes, "/bin/new.sh").Mode != 0o555 {
		t.Errorf("a new file gets %+v", got)
	}
	if err := f.update(t.Context(), pending, batch); err != nil {
		t.Fatal(err)
	}
}
