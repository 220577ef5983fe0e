package logs

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a fake cluster with a hub that reads it through informers.
type world struct {
	t      *testing.T
	server *testkube.Server
	pods   *kube.Namespace
	client *kube.Client
	out    *buffer
	hub    *Hub
	clock  time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: testkube.Start(), out: newBuffer(), clock: time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)}
	t.Cleanup(w.server.Close)
	client, err := kube.ForConfig(w.server.Config())
	if err != nil {
		t.Fatal(err)
	}
	w.client = client
	t.Cleanup(client.Close)
	return w
}

// watch starts the informers; what is put before exists when the hub starts.
func (w *world) watch(ctx context.Context) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	n, err := kube.Watch(ctx, w.client, "default")
	if err != nil {
		w.t.Fatal(err)
	}
	w.pods = n
	w.t.Cleanup(func() { cancel(); n.Wait() })
}

func (w *world) put(pod *corev1.Pod) {
	w.t.Helper()
	if err := w.server.Put(pod); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) print(pod, container string, lines ...string) {
	for _, line := range lines {
		w.clock = w.clock.Add(time.Millisecond)
		w.server.Log("default", pod, container).Print(w.clock, line)
	}
}

// run starts a hub; the function it returns stops it and gives Run's error.
func (w *world) run(opts Options, sel Selection) (stop func() error) {
	w.t.Helper()
	opts.Out = w.out
	hub, err := New(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.hub = hub
	sel.Opener, sel.Pods = source.API(w.client.Core), w.pods
	hub.Follow(sel)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- hub.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// A buffer is an output that a test waits on.
type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func newBuffer() *buffer { return &buffer{changed: make(chan struct{})} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	return b.b.Write(p)
}

func (b *buffer) get() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String(), b.changed
}

// await waits until the output matches.
func (b *buffer) await(t *testing.T, want string) string {
	t.Helper()
	re := regexp.MustCompile(want)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		text, changed := b.get()
		if re.MatchString(text) {
			return text
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no %q in:\n%s", want, text)
		}
	}
}

func TestFollowsPodsAsTheyComeAndGo(t *testing.T) {
	w := newWorld(t)
	w.put(testkube.Pod("default", "web-1", "web"))
	w.print("web-1", "web", "first of web-1")
	w.watch(t.Context())
	stop := w.run(Options{Format: format.Options{Output: "prefix"}}, Selection{})
	w.out.await(t, "web-1 › web │ first of web-1\n")

	// A new pod, from its first line.
	w.print("web-2", "web", "one", "two")
	w.put(testkube.Pod("default", "web-2", "web"))
	w.out.await(t, "web-2 › web │ one\nweb-2 › web │ two\n")

	// A restart: what the first run wrote last, then the second run.
	log := w.server.Log("default", "web-1", "web")
	w.print("web-1", "web", "last words")
	log.Restart()
	w.print("web-1", "web", "again")
	pod := testkube.Pod("default", "web-1", "web")
	pod.Status.ContainerStatuses[0] = testkube.Running("web-1", "web", 1)
	w.put(pod)
	w.out.await(t, "last words\n(.*\n)*web-1 › web │ again\n")

	// A pod that goes.
	w.print("web-2", "web", "bye")
	w.server.Log("default", "web-2", "web").End()
	w.server.Delete("pods", "", "default", "web-2")
	w.out.await(t, "web-2 › web │ bye\n")

	// Lines of kdev's own.
	w.hub.Source("build/web").WriteLine("step 1")
	fmt.Fprintf(w.hub.Source("sync/web"), "half ")
	fmt.Fprintf(w.hub.Source("sync/web"), "line\n")
	w.hub.Source("").WriteLine("ready")
	w.out.await(t, "build/web │ step 1\nsync/web │ half line\nready\n")

	if err := stop(); err != nil {
		t.Error(err)
	}
	text, _ := w.out.get()
	for _, line := range []string{"first of web-1", "one", "two", "last words", "again", "bye"} {
		if n := strings.Count(text, "│ "+line+"\n"); n != 1 {
			t.Errorf("%q came %d times:\n%s", line, n, text)
		}
	}
}

// What ran already when the selection began is read from where the selection says, also
// when it is chosen later; what starts later is read from its first line.
func TestWhatIsChosenLaterRanBefore(t *testing.T) {
	w := newWorld(t)
	chosen := func(name string, yes bool) *corev1.Pod {
		pod := testkube.Pod("default", name, "web")
		pod.Labels = map[string]string{"chosen": fmt.Sprint(yes)}
		return pod
	}
	w.put(chosen("before", false))
	w.print("before", "web", "too old")
	w.put(chosen("mark", true))
	w.print("mark", "web", "too old")
	w.watch(t.Context())
	since := w.clock.Add(time.Millisecond)
	w.clock = since
	w.print("mark", "web", "it has begun")
	w.print("before", "web", "new")
	stop := w.run(Options{Format: format.Options{Output: "prefix"}}, Selection{
		Select: func(pod *corev1.Pod, _ string, _ ContainerType) bool { return pod.Labels["chosen"] == "true" },
		From:   source.Options{Follow: true, Since: since},
	})
	w.out.await(t, "mark › web │ it has begun\n")
	w.put(chosen("before", true))
	w.print("later", "web", "first")
	w.put(chosen("later", true))
	w.out.await(t, "before › web │ new\n")
	text := w.out.await(t, "later › web │ first\n")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(text, "too old") {
		t.Error(text)
	}
}

// The mark of a container that has ended stands behind its last line, which may have no newline.
func TestEndIsToldBehindTheLastLine(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"web-1", "web-2"} {
		pod := testkube.Pod("default", name, "web")
		w.put(pod)
		log := w.server.Log("default", pod.Name, "web")
		log.Append(testkube.Entry{Time: time.Now(), Text: "half", Unended: true})
		log.End()
	}
	w.watch(t.Context())
	told := func(n Notice) {
		if n.Kind == source.Ended {
			fmt.Fprintf(w.out, "end of %s\n", n.Source.Pod)
		}
	}
	stop := w.run(Options{Format: format.Options{Output: "prefix"}, Notice: told}, Selection{Once: true})
	w.out.await(t, "end of web-1")
	text := w.out.await(t, "(?s)end of web-1.*end of web-2|end of web-2.*end of web-1")
	for _, pod := range []string{"web-1", "web-2"} {
		if strings.Index(text, pod+" › web │ half\n") > strings.Index(text, "end of "+pod) {
			t.Errorf("%s ended before its line:\n%s", pod, text)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestEnds(t *testing.T) {
	var e ends
	var told []int
	tell := func(n int) func() { return func() { told = append(told, n) } }
	if e.later(5, tell(1)) {
		t.Error("nobody writes")
	}
	e.begin()
	for _, n := range []int{3, 5, 9} {
		if !e.later(uint64(n), tell(n)) {
			t.Errorf("%d is not written yet", n)
		}
	}
	if e.wrote(5, time.Hour); told != nil {
		t.Errorf("%v are told before lines that are held", told)
	}
	e.wrote(5, 0)
	if !e.waiting() || !slices.Equal(told, []int{3, 5}) {
		t.Errorf("%v", told)
	}
	if e.later(5, tell(1)) {
		t.Error("line 4 is written")
	}
	e.end()
	if e.waiting() || !slices.Equal(told, []int{3, 5, 9}) {
		t.Errorf("%v", told)
	}
}
