//go:build e2e

package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/utils/ptr"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
)

// Probes and hooks signal process 1, where the agent is: they mean the application,
// and it gets what they send. Neither sees a difference after a restart in place.
func TestProbesAndHooksThatSignal(t *testing.T) {
	b := newBench(t, nil)
	sh := func(script string) corev1.ProbeHandler {
		return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", script}}}
	}
	made := b.pod("signals", "debian", func(p *corev1.Pod) {
		p.Spec.TerminationGracePeriodSeconds = ptr.To(int64(30))
		c := &p.Spec.Containers[0]
		c.StartupProbe = &corev1.Probe{ProbeHandler: sh("kill -0 1"), PeriodSeconds: 1}
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: sh("kill -0 1 && test -d /proc/1"), PeriodSeconds: 1}
		c.LivenessProbe = &corev1.Probe{ProbeHandler: sh("kill -HUP 1"), PeriodSeconds: 1}
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo leaving >/proc/1/fd/1; kill -HUP 1"}}}}
	})
	rule := mirror.Hook{Restart: true}
	b.start(nil, rule)
	logs := b.logs(made.Name)
	ready := func() bool {
		pod := b.pods[made.Name]
		return pod != nil && len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].Ready
	}
	b.await("the pod to be ready", ready)
	logs.await(t, `reloaded "image"`)
	b.update(map[string]*engine.File{"/app/data.txt": b.write("data.txt", "edited", 0o644)}, rule)
	b.synced()
	logs.await(t, `started with "edited"`, `reloaded "edited"`)
	b.await("the pod to be ready still", ready)
	b.mu.Lock()
	restarts := b.pods[made.Name].Status.ContainerStatuses[0].RestartCount
	b.mu.Unlock()
	if restarts != 0 {
		t.Errorf("the kubelet restarted the container %d times", restarts)
	}
	if err := client.Core.CoreV1().Pods(namespace).Delete(b.ctx, made.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	logs.await(t, "leaving", `reloaded "edited"`, "told to end")
}

// An entrypoint that must be the first process is that: files are synced before it
// starts and while it runs, and a restart is one of the container.
func TestFirstProcess(t *testing.T) {
	b := newBench(t, nil)
	made := b.pod("first", "busybox", func(p *corev1.Pod) {
		p.Spec.Containers[0].Command = []string{"/.kdev/agent", "run", "--", "/init"}
	})
	rule := mirror.Hook{Paths: []string{"data.txt"}, Restart: true}
	before := b.write("data.txt", "before the start", 0o644)
	b.start(map[string]engine.File{"/app/data.txt": *before}, rule)
	b.poll("the first process", time.Minute, func() bool { return b.startedWith(made.Name) == "before the start" })
	other := map[string]*engine.File{"/app/other.txt": b.write("other.txt", "no rule names it", 0o644)}
	b.update(other, rule)
	b.synced()
	if got := b.get(made.Name, "/app/other.txt"); got != "no rule names it" {
		t.Errorf("beside the first process: %q", got)
	}
	b.update(map[string]*engine.File{"/app/data.txt": b.write("data.txt", "edited", 0o644)}, rule)
	b.poll("the container to be restarted", time.Minute, func() bool { return b.startedWith(made.Name) == "edited" })
	// The kubelet tells of the container a while after it has started it.
	b.await("the new container's status", func() bool { return b.pods[made.Name].Status.ContainerStatuses[0].RestartCount > 0 })
	// What was synced is not sent again, nor what no rule names restarted for.
	since := b.get(made.Name, "/-/since")
	for _, text := range []string{"still none", "none at all"} {
		other["/app/other.txt"] = b.write("other.txt", text, 0o644)
		b.update(other, rule)
		b.synced()
		if got := b.get(made.Name, "/app/other.txt"); got != text {
			t.Errorf("after the restart: %q, want %q", got, text)
		}
	}
	if now := b.get(made.Name, "/-/since"); now != since {
		t.Errorf("the first process is another one: since %s, and before %s", now, since)
	}
}

// An application with a terminal has it in the foreground, keys become signals, and
// a restart in place changes neither.
func TestTerminal(t *testing.T) {
	b := newBench(t, nil)
	made := b.pod("terminal", "busybox", func(p *corev1.Pod) {
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Spec.Containers[0].Stdin, p.Spec.Containers[0].TTY = true, true
	})
	rule := mirror.Hook{Restart: true}
	b.start(nil, rule)
	for _, text := range []string{"image", "edited", "edited again"} {
		if text != "image" {
			b.update(map[string]*engine.File{"/app/data.txt": b.write("data.txt", text, 0o644)}, rule)
			b.synced()
		}
		b.poll("the process with "+text, time.Minute, func() bool { return b.startedWith(made.Name) == text })
		if got := b.get(made.Name, "/-/terminal"); got != "foreground" {
			t.Errorf("with %q the application is in the %s", text, got)
		}
	}
	// Ctrl-C, as somebody who is attached presses it.
	request := client.Core.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(made.Name).SubResource("attach").
		VersionedParams(&corev1.PodAttachOptions{Container: "c", Stdin: true, Stdout: true, TTY: true}, scheme.ParameterCodec)
	attach, err := remotecommand.NewWebSocketExecutor(client.Config, http.MethodGet, request.URL().String())
	if err != nil {
		t.Fatal(err)
	}
	keys, press := io.Pipe()
	ctx, leave := context.WithCancel(b.ctx)
	defer leave()
	attached := make(chan error, 1)
	go func() {
		attached <- attach.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: keys, Stdout: io.Discard, Tty: true})
	}()
	if _, err := press.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	b.await("the end by Ctrl-C", func() bool {
		pod := b.pods[made.Name]
		if pod == nil || len(pod.Status.ContainerStatuses) == 0 {
			return false
		}
		ended := pod.Status.ContainerStatuses[0].State.Terminated
		if ended != nil && ended.ExitCode != 17 {
			t.Errorf("exit code %d, want the application's own", ended.ExitCode)
		}
		return ended != nil
	})
	leave()
	press.Close()
	<-attached // however it ended
}

// startedWith is what the application of a pod found when it started, empty while it
// does not answer.
func (b *bench) startedWith(pod string) string {
	text, err := b.fetch(pod, 8080, "/-/started")
	if err != nil {
		return ""
	}
	return text
}

// said is what a container has logged, as far as it was read.
type said struct {
	b    *bench
	mu   sync.Mutex
	text string
	end  bool
}

// logs follows the log of a pod from its beginning.
func (b *bench) logs(pod string) *said {
	b.t.Helper()
	s := &said{b: b}
	ctx, cancel := context.WithCancel(b.ctx)
	stream, err := client.Core.CoreV1().Pods(b.namespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		cancel()
		b.t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := stream.Read(buf)
			s.mu.Lock()
			s.text += string(buf[:n])
			s.end = err != nil
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	b.t.Cleanup(func() {
		cancel()
		stream.Close()
		work.Wait()
	})
	return s
}

// await waits until the log holds all texts, in their order.
func (s *said) await(t *testing.T, texts ...string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s.mu.Lock()
		text, end := s.text, s.end
		s.mu.Unlock()
		rest, all := text, true
		for _, want := range texts {
			_, after, found := strings.Cut(rest, want)
			rest, all = after, all && found
		}
		if all {
			return
		}
		if end {
			t.Fatalf("the log has ended, and lacks some of %q: %s", texts, text)
		}
		select {
		case <-tick.C:
		case <-s.b.ctx.Done():
			t.Fatalf("the log lacks some of %q: %s", texts, text)
		}
	}
}
