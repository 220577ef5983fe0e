//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
)

func (b *bench) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = nil
}

// last is the newest event of a kind.
func (b *bench) awaitKind(k mirror.Kind, pod string) mirror.Event {
	b.t.Helper()
	return b.awaitEvent(k.String(), func(e mirror.Event) bool { return e.Kind == k && (pod == "" || e.Pod == pod) })
}

// awaitBegin waits until a container is current and its application runs, which it does
// already where a busy machine was too late for the gate.
func (b *bench) awaitBegin() {
	b.t.Helper()
	if b.awaitKind(mirror.Connected, "").Unsynced {
		b.awaitKind(mirror.Synced, "")
	} else {
		b.awaitKind(mirror.Started, "")
	}
}

// A container whose application ends is started again by the kubelet, with the
// root of its image. The application never sees what the image holds.
func TestContainerThatRestarts(t *testing.T) {
	for name, how := range map[string]string{"exit": "/-/exit", "out of memory": "/-/eat"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			pod := b.pod("restart", "scratch", func(p *corev1.Pod) {
				p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("48Mi")}
			})
			b.start(map[string]engine.File{"/app/data.txt": *b.write("data.txt", "edited", 0o644), "/app/more.txt": *b.write("more.txt", "more", 0o644)})
			b.awaitBegin()
			b.forget()
			b.poke(pod.Name, how)
			e := b.awaitKind(mirror.Synced, "")
			if e.Files != 2 {
				t.Errorf("%d files were sent again, want 2", e.Files)
			}
			c := b.awaitKind(mirror.Connected, "")
			if !c.Unsynced {
				b.awaitKind(mirror.Started, "")
				if got := b.get(pod.Name, "/-/started"); got != "edited" {
					t.Errorf("started with %q", got)
				}
			}
			if got := b.get(pod.Name, "/app/more.txt"); got != "more" {
				t.Errorf("more.txt holds %q", got)
			}
		})
	}
}

// poke asks for something that gets no answer: only once the pod gives answers,
// since one that listens not yet and one that just ended look alike from here.
func (b *bench) poke(pod, path string) {
	b.t.Helper()
	b.get(pod, "/-/started")
	conn, err := client.DialPod(b.ctx, namespace, pod, 8080)
	if err != nil {
		b.t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	conn.Read(make([]byte, 1)) // until it is done
	conn.Close()
}

// Replicas come and go; each is current soon after it runs, and gets later saves.
func TestReplicas(t *testing.T) {
	b := newBench(t, nil)
	sets := client.Core.AppsV1().ReplicaSets(namespace)
	labels := map[string]string{"bench": b.label()}
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "replicas-", Namespace: namespace},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: ptr.To(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: ptr.To(int64(0)),
				Containers:                    []corev1.Container{{Name: "c", Image: image("busybox"), ImagePullPolicy: corev1.PullNever}},
			}},
		},
	}
	set, err := sets.Create(b.ctx, set, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		policy := metav1.DeletePropagationForeground
		if err := sets.Delete(context.Background(), set.Name, metav1.DeleteOptions{PropagationPolicy: &policy}); err != nil {
			t.Error(err)
		}
	})
	b.start(map[string]engine.File{"/app/data.txt": *b.write("data.txt", "one", 0o644)})
	for round, replicas := range []int32{4, 2, 3} {
		scale, err := sets.GetScale(b.ctx, set.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		scale.Spec.Replicas = replicas
		scale.ResourceVersion = "" // the controller writes its status all the time
		if _, err := sets.UpdateScale(b.ctx, set.Name, scale, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint("round ", round)
		b.update(map[string]*engine.File{"/app/data.txt": b.write("data.txt", text, 0o644)})
		var pods []string
		b.await("the replicas", func() bool {
			pods = nil
			for name, pod := range b.pods {
				if pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
					pods = append(pods, name)
				}
			}
			return len(pods) == int(replicas)
		})
		b.synced()
		for _, pod := range pods {
			if got := b.get(pod, "/app/data.txt"); got != text {
				t.Errorf("%s holds %q, want %q", pod, got, text)
			}
		}
		if replicas == 4 { // the one that is replaced must not be missed either
			if err := client.Core.CoreV1().Pods(namespace).Delete(b.ctx, pods[0], metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A pod that is replaced runs the commands whose files differ from its image's, those
// without a place in it included, before its application starts; and no others.
func TestReplacedPodRunsCommands(t *testing.T) {
	b := newBench(t, nil)
	run := func(script string) []string { return []string{"sh", "-c", script} }
	rules := []mirror.Hook{
		{Paths: []string{"data.txt"}, Run: run("cp /app/data.txt /installed")},
		{Paths: []string{"schema.sql"}, Run: run("echo migrated >/migrated"), Match: func(_, local string) bool { return local == "db/schema.sql" }},
		{Paths: []string{"same.txt", "db/other.sql"}, Run: run("echo ran >/never")},
	}
	b.image["/app/same.txt"] = *b.write("same.txt", "same", 0o644)
	check := func(pod, installed, migrated string) {
		t.Helper()
		b.poll("the commands in "+pod, time.Minute, func() bool {
			a, err := b.fetch(pod, 8080, "/installed")
			m, merr := b.fetch(pod, 8080, "/migrated")
			return err == nil && merr == nil && a == installed && m == migrated
		})
		if got := b.get(pod, "/never"); !strings.HasPrefix(got, "404") {
			t.Errorf("%s ran what nothing asked for: %q", pod, got)
		}
	}
	first := b.pod("commands", "debian", nil)
	b.start(map[string]engine.File{"/app/same.txt": b.image["/app/same.txt"]}, rules...)
	check(first.Name, "404 Not Found", "404 Not Found")
	b.gen++
	b.m.Update("web", b.gen, map[string]*engine.File{"/app/data.txt": b.write("data.txt", "edited", 0o644)}, rules, "db/schema.sql")
	b.seen(func() { b.behind = []string{"db/schema.sql"} })
	b.synced()
	check(first.Name, "edited", "migrated\n")
	second := b.pod("commands", "debian", nil)
	check(second.Name, "edited", "migrated\n")
}

// A restart that a sync asks for keeps the pod; one that fails is held until the
// next save, and counts as failed.
func TestRestartAndHold(t *testing.T) {
	b := newBench(t, nil)
	pod := b.pod("hold", "distroless", nil)
	rule := mirror.Hook{Paths: []string{"data.txt"}, Restart: true}
	b.start(nil, rule)
	b.awaitBegin()
	for i := range 3 {
		b.forget()
		text := fmt.Sprint("version ", i)
		b.update(map[string]*engine.File{"/app/data.txt": b.write("data.txt", text, 0o644)}, rule)
		b.awaitKind(mirror.Started, "")
		if got := b.get(pod.Name, "/-/started"); got != text {
			t.Errorf("started with %q, want %q", got, text)
		}
	}
	b.forget()
	b.update(map[string]*engine.File{"/app/data.txt": b.write("data.txt", "fail now", 0o644)}, rule)
	held := b.awaitKind(mirror.Held, "")
	if held.Problem == nil || held.Problem.Code != "sync-held" || !strings.Contains(held.Problem.Summary, "exit code 3") {
		t.Errorf("problem %+v", held.Problem)
	}
	b.forget()
	b.update(map[string]*engine.File{"/app/data.txt": b.write("data.txt", "cured", 0o644)}, rule)
	b.awaitKind(mirror.Started, "")
	if got := b.get(pod.Name, "/-/started"); got != "cured" {
		t.Errorf("started with %q", got)
	}
	now, err := client.Core.CoreV1().Pods(namespace).Get(b.ctx, pod.Name, metav1.GetOptions{})
	if err != nil || now.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the container was restarted: %+v, %v", now.Status.ContainerStatuses, err)
	}
}

// A full disk changes nothing, is named, and is over when there is room.
func TestFullDisk(t *testing.T) {
	b := newBench(t, nil)
	pod := b.pod("full", "busybox", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "small", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: ptr.To(resource.MustParse("1Mi"))}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "small", MountPath: "/app"}}
	})
	b.start(nil)
	b.forget()
	b.update(map[string]*engine.File{
		"/app/big":      b.write("big", strings.Repeat("x", 3<<20), 0o644),
		"/app/data.txt": b.write("data.txt", "with big", 0o644),
	})
	failed := b.awaitKind(mirror.Failed, "")
	if failed.Problem.Code != "sync-no-space" {
		t.Errorf("problem %+v", failed.Problem)
	}
	if got := b.get(pod.Name, "/app/data.txt"); got != "image\n" {
		t.Errorf("half of the batch is there: data.txt holds %q", got)
	}
	b.update(map[string]*engine.File{"/app/big": b.write("big", "small now", 0o644)})
	b.synced()
	for path, want := range map[string]string{"/app/data.txt": "with big", "/app/big": "small now"} {
		if got := b.get(pod.Name, path); got != want {
			t.Errorf("%s holds %q", path, got)
		}
	}
}

// After a cut, or a network that swallowed everything for a while, the next
// difference goes out soon and is no more than what changed.
func TestCutNetwork(t *testing.T) {
	p, dialer := newProxy(t)
	b := newBench(t, dialer)
	pod := b.pod("cut", "scratch", nil)
	files := map[string]engine.File{}
	for i := range 100 {
		files[fmt.Sprintf("/app/f%d", i)] = *b.write(fmt.Sprint("f", i), strings.Repeat("x", 4000)+fmt.Sprint(i), 0o644)
	}
	b.start(files)
	for round, fault := range []struct {
		name        string
		begin, back func()
	}{
		{"cut", p.Cut, func() {}},
		{"swallowed", p.Sink, p.Rise},
	} {
		b.forget()
		fault.begin()
		b.awaitKind(mirror.Lost, "")
		text := fmt.Sprint("after ", round)
		b.update(map[string]*engine.File{"/app/f7": b.write("f7", text, 0o644)})
		fault.back()
		back := time.Now()
		b.synced()
		t.Logf("%s: current %s after the way back", fault.name, time.Since(back).Round(time.Millisecond))
		e := b.awaitKind(mirror.Synced, "")
		if e.Files != 1 || e.Bytes > 1000 {
			t.Errorf("%s: %d files, %d bytes, want the changed file alone", fault.name, e.Files, e.Bytes)
		}
		if got := b.get(pod.Name, "/app/f7"); got != text {
			t.Errorf("%s: f7 holds %q", fault.name, got)
		}
	}
}

// What was deleted here is deleted in a volume too: where it came out of the image, as
// `volume: true` fills one, and where it was synced before the container began anew.
func TestDeletedUnderAVolume(t *testing.T) {
	b := newBench(t, nil)
	seeded := func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "app", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		p.Spec.InitContainers = []corev1.Container{{
			Name: "seed", Image: image("scratch"), ImagePullPolicy: corev1.PullNever, Command: []string{"/.kdev/agent", "seed", "/app", "/seed"},
			VolumeMounts: []corev1.VolumeMount{{Name: "app", MountPath: "/seed"}},
		}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "app", MountPath: "/app"}}
	}
	pod := b.pod("seeded", "scratch", seeded)
	b.start(map[string]engine.File{"/app/data.txt": *b.write("data.txt", "image\n", 0o644), "/app/more.txt": *b.write("more.txt", "more", 0o644)})
	b.awaitBegin()
	b.forget()
	b.poke(pod.Name, "/-/exit")
	b.update(map[string]*engine.File{"/app/data.txt": nil, "/app/more.txt": nil, "/app/last.txt": b.write("last.txt", "last", 0o644)})
	b.synced()
	second := b.pod("seeded", "scratch", seeded)
	b.awaitKind(mirror.Synced, second.Name)
	for _, name := range []string{pod.Name, second.Name} {
		if got := b.get(name, "/app/last.txt"); got != "last" {
			t.Errorf("%s: last.txt holds %q", name, got)
		}
		for _, gone := range []string{"/app/data.txt", "/app/more.txt"} {
			if got := b.get(name, gone); !strings.HasPrefix(got, "404") {
				t.Errorf("%s: %s is still there: %q", name, gone, got)
			}
		}
	}
}
