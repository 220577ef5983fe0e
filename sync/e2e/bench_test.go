//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/sync/transport"
)

// A bench is a mirror, its local tree, and pods that it is told about as the
// session would tell it.
type bench struct {
	t     testing.TB
	ctx   context.Context
	local string
	// namespace of the pods; set before the first one is made.
	namespace string
	m         *mirror.Mirror
	image     map[string]engine.File

	mu     sync.Mutex
	events []mirror.Event
	more   chan struct{}
	pods   map[string]*corev1.Pod
	behind []string // local files without a place in the container that changed since the image was made
	gen    uint64
	check  func(mirror.Event) // of each event, while its container goes no further; set before the first one
}

func newBench(t testing.TB, d transport.Dialer) *bench { return newBenchIn(t, d, namespace) }

func newBenchIn(t testing.TB, d transport.Dialer, namespace string) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	if d == nil {
		d = transport.Exec(client.Config)
	}
	b := &bench{t: t, ctx: ctx, namespace: namespace, local: t.TempDir(), more: make(chan struct{}), pods: map[string]*corev1.Pod{}}
	b.image = map[string]engine.File{"/app/data.txt": {Mode: 0o644, Size: 6, Digest: sha256.Sum256([]byte("image\n"))}}
	b.m = mirror.New(mirror.Options{
		Dial:   d,
		Open:   func(local string) (*os.File, error) { return os.Open(filepath.Join(b.local, local)) },
		Events: b.event,
	})
	run, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { b.m.Run(run) })
	work.Go(func() { b.follow(run) })
	t.Cleanup(func() {
		stop()
		work.Wait()
		cancel()
	})
	return b
}

func (b *bench) event(e mirror.Event) {
	if b.check != nil {
		b.check(e)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	close(b.more)
	b.more = make(chan struct{})
}

// follow tells the mirror about the pods with the bench's label. Whatever ends a
// watch may have hidden something, so each begins with a list.
func (b *bench) follow(ctx context.Context) {
	pods := client.Core.CoreV1().Pods(b.namespace)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		opts := metav1.ListOptions{LabelSelector: "bench=" + b.label()}
		list, err := pods.List(ctx, opts)
		if err == nil {
			b.seen(func() {
				clear(b.pods)
				for i := range list.Items {
					b.pods[list.Items[i].Name] = &list.Items[i]
				}
			})
			opts.ResourceVersion = list.ResourceVersion
			var w watch.Interface
			if w, err = pods.Watch(ctx, opts); err == nil {
				b.watched(w)
			}
		}
		if err != nil {
			select {
			case <-again.C:
			case <-ctx.Done():
			}
		}
	}
}

func (b *bench) watched(w watch.Interface) {
	for e := range w.ResultChan() {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		b.seen(func() {
			if e.Type == watch.Deleted {
				delete(b.pods, pod.Name)
			} else {
				b.pods[pod.Name] = pod
			}
		})
	}
}

// seen changes what is known of the pods, and tells it.
func (b *bench) seen(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	b.tellPods()
	close(b.more)
	b.more = make(chan struct{})
}

func (b *bench) tellPods() {
	var list []mirror.Container
	for _, pod := range b.pods {
		if pod.Spec.NodeName == "" || pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		ids := map[string]string{}
		for _, st := range pod.Status.ContainerStatuses {
			ids[st.Name] = st.ContainerID
		}
		for _, c := range pod.Spec.Containers {
			list = append(list, mirror.Container{
				Service: "web", Namespace: pod.Namespace, Pod: pod.Name, PodUID: string(pod.UID), Name: c.Name, ID: ids[c.Name], HasAgent: true,
				Image: b.image, Behind: b.behind, MayHold: pod.Spec.RestartPolicy == corev1.RestartPolicyAlways,
			})
		}
	}
	b.m.SetContainers("web", list)
}

func (b *bench) label() string { return fmt.Sprintf("%x", sha256.Sum256([]byte(b.local)))[:12] }

// await waits until ok, which is asked again after each event.
func (b *bench) await(what string, ok func() bool) {
	b.t.Helper()
	for {
		b.mu.Lock()
		done, more := ok(), b.more
		b.mu.Unlock()
		if done {
			return
		}
		select {
		case <-more:
		case <-b.ctx.Done():
			b.t.Fatalf("waiting for %s: %v; events: %+v", what, b.ctx.Err(), b.events)
		}
	}
}

// poll asks again until ok, and returns how long that took.
func (b *bench) poll(what string, most time.Duration, ok func() bool) time.Duration {
	b.t.Helper()
	began := time.Now()
	limit := time.NewTimer(most)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			b.mu.Lock()
			defer b.mu.Unlock()
			b.t.Fatalf("waiting for %s; status %+v; events %+v", what, b.m.Status(), b.events[max(0, len(b.events)-30):])
		}
	}
	return time.Since(began)
}

func (b *bench) awaitEvent(what string, is func(mirror.Event) bool) (found mirror.Event) {
	b.t.Helper()
	b.await(what, func() bool {
		for _, e := range b.events {
			if is(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// pod makes a pod of one container and waits until it runs, unless change says
// otherwise.
func (b *bench) pod(name, base string, change func(*corev1.Pod)) *corev1.Pod {
	b.t.Helper()
	zero := int64(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Namespace: b.namespace, Labels: map[string]string{"bench": b.label()}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &zero,
			Containers: []corev1.Container{{
				Name: "c", Image: image(base), ImagePullPolicy: corev1.PullNever,
				Env: []corev1.EnvVar{{Name: "KDEV_BENCH_POD", Value: b.label() + name}},
			}},
		},
	}
	if change != nil {
		change(pod)
	}
	pod, err := client.Core.CoreV1().Pods(b.namespace).Create(b.ctx, pod, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		err := client.Core.CoreV1().Pods(b.namespace).Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
		if err != nil {
			b.t.Log(err)
		}
	})
	return pod
}

func (b *bench) write(name, content string, perm fs.FileMode) *engine.File {
	b.t.Helper()
	full := filepath.Join(b.local, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), perm); err != nil {
		b.t.Fatal(err)
	}
	return &engine.File{Mode: perm, Size: int64(len(content)), Digest: sha256.Sum256([]byte(content)), MTime: time.Now().UnixNano(), Local: name}
}

// start sets the desired tree and waits until the pods have it.
func (b *bench) start(files map[string]engine.File, hooks ...mirror.Hook) {
	b.t.Helper()
	if files == nil {
		files = map[string]engine.File{}
	}
	if _, ok := files["/app/data.txt"]; !ok {
		files["/app/data.txt"] = *b.write("data.txt", "image\n", 0o644)
	}
	b.gen++
	b.m.SetDesired("web", b.gen, files, hooks)
	b.awaitEvent("the first batch", func(e mirror.Event) bool { return e.Kind == mirror.Synced && e.Generation >= b.gen })
	b.synced()
}

func (b *bench) update(changed map[string]*engine.File, hooks ...mirror.Hook) {
	b.t.Helper()
	b.gen++
	b.m.Update("web", b.gen, changed, hooks)
}

func (b *bench) synced() {
	b.t.Helper()
	if err := b.m.WaitSynced(b.ctx, "web", b.gen); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.t.Fatalf("generation %d: %v; events %+v", b.gen, err, b.events)
	}
}

// get reads a file of a pod over HTTP, as soon as its process answers.
func (b *bench) get(pod, path string) string { return b.getFrom(pod, 8080, path) }

func (b *bench) getFrom(pod string, port int, path string) string {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		content, err := b.fetch(pod, port, path)
		if err == nil {
			return content
		}
		// A process that has started does not listen yet, which a forwarded port
		// tells only once it is read from.
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			b.t.Fatalf("%s of %s: %v", path, pod, err)
		}
	}
}

// fetch is one try of getFrom.
func (b *bench) fetch(pod string, port int, path string) (string, error) {
	conn, err := client.DialPod(b.ctx, b.namespace, pod, port)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	req, err := http.NewRequest(http.MethodGet, "http://pod"+path, nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return answer.Status, nil
	}
	return string(all), nil
}
