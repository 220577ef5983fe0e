package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/testkube"
)

// A logsRun is a `kdev logs` that runs beside the test.
type logsRun struct {
	t        *testing.T
	out, err *watched
	stop     context.CancelFunc
	done     chan int
}

// startLogs runs `kdev logs` against a fake server; what is in the server then exists
// at its start.
func startLogs(t *testing.T, s *testkube.Server, args ...string) *logsRun {
	t.Helper()
	kubeconfig, err := s.Kubeconfig(t.TempDir(), "fake", "default")
	if err != nil {
		t.Fatal(err)
	}
	return startLogsWith(t, t.TempDir(), append([]string{"--kubeconfig", kubeconfig}, args...)...)
}

func startLogsWith(t *testing.T, dir string, args ...string) *logsRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	r := &logsRun{t: t, out: newWatched(), err: newWatched(), stop: cancel, done: make(chan int, 1)}
	env := map[string]string{"HOME": dir}
	go func() {
		r.done <- Main(ctx, Env{In: strings.NewReader(""), Out: r.out, Err: r.err, Dir: dir, Getenv: func(k string) string { return env[k] }}, append([]string{"logs"}, args...))
	}()
	t.Cleanup(func() { cancel() })
	return r
}

// wait returns what the command left with.
func (r *logsRun) wait() outcome {
	r.t.Helper()
	code := <-r.done
	out, _ := r.out.get()
	errs, _ := r.err.get()
	return outcome{code: code, stdout: out, stderr: errs}
}

// interrupt is Ctrl-C.
func (r *logsRun) interrupt() outcome {
	r.stop()
	return r.wait()
}

// watched is an output that a test waits on.
type watched struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func newWatched() *watched { return &watched{changed: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
	return w.b.Write(p)
}

func (w *watched) get() (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String(), w.changed
}

func (w *watched) await(t *testing.T, want string) {
	t.Helper()
	re := regexp.MustCompile(want)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		text, changed := w.get()
		if re.MatchString(text) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no %q in:\n%s", want, text)
		}
	}
}

// cluster is a fake server with a clock for lines.
type fakeCluster struct {
	*testkube.Server
	t  *testing.T
	at time.Time
}

func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	s := testkube.Start()
	t.Cleanup(s.Close)
	return &fakeCluster{s, t, time.Now().Add(-time.Minute)}
}

func (c *fakeCluster) pod(p *corev1.Pod) {
	c.t.Helper()
	if err := c.Put(p); err != nil {
		c.t.Fatal(err)
	}
}

func (c *fakeCluster) say(pod, container string, lines ...string) {
	for _, line := range lines {
		c.at = c.at.Add(time.Millisecond)
		c.Log("default", pod, container).Print(c.at, line)
	}
}

func TestLogsFollowsNewPodsAndRestarts(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.say("web-1", "web", "old")
	r := startLogs(t, c.Server, ".", "--tail=0")
	r.err.await(t, `\+ web-1 › web`)

	c.say("web-2", "web", "first line of a new pod")
	c.pod(testkube.Pod("default", "web-2", "web"))
	r.out.await(t, "web-2 web first line of a new pod\n")

	c.say("web-1", "web", "before the crash")
	c.Log("default", "web-1", "web").Restart()
	c.say("web-1", "web", "after the crash")
	p := testkube.Pod("default", "web-1", "web")
	p.Status.ContainerStatuses[0] = testkube.Running("web-1", "web", 1)
	c.pod(p)
	r.out.await(t, "web-1 web before the crash\n(.*\n)*web-1 web after the crash\n")

	c.Drop() // the API server restarts
	c.say("web-1", "web", "after the drop")
	c.say("web-3", "web", "new pod after it")
	c.pod(testkube.Pod("default", "web-3", "web"))
	r.out.await(t, "web-1 web after the drop\n")
	r.out.await(t, "web-3 web new pod after it\n")

	c.Log("default", "web-3", "web").End()
	c.Delete("pods", "", "default", "web-3")
	r.err.await(t, `- web-3 › web`)

	o := r.interrupt()
	if o.code != exitInterrupted {
		t.Errorf("exit code %d", o.code)
	}
	if strings.Contains(o.stdout, "old") {
		t.Errorf("--tail=0 shows old lines:\n%s", o.stdout)
	}
	for _, line := range []string{"first line of a new pod", "before the crash", "after the crash", "after the drop", "new pod after it"} {
		if n := strings.Count(o.stdout, line+"\n"); n != 1 {
			t.Errorf("%q came %d times:\n%s", line, n, o.stdout)
		}
	}
}

func TestLogsReadsMoreContainersThanRequests(t *testing.T) {
	c := newFakeCluster(t)
	for i := range 5 {
		name := fmt.Sprintf("web-%d", i)
		c.pod(testkube.Pod("default", name, "web"))
		c.say(name, "web", "hello from "+name)
	}
	r := startLogs(t, c.Server, ".", "--max-log-requests=2")
	for i := range 5 {
		r.out.await(t, fmt.Sprintf("hello from web-%d\n", i))
	}
	c.say("web-3", "web", "again")
	r.out.await(t, "web-3 web again\n")
	if o := r.interrupt(); !strings.Contains(o.stderr, "read in turn") {
		t.Errorf("stderr:\n%s", o.stderr)
	}
}

// More containers than streams that an API server allows on one connection: all of them
// are followed at the same time.
func TestLogsFollowsMoreContainersThanOneConnectionCarries(t *testing.T) {
	c := newFakeCluster(t)
	const n = 230
	name := func(i int) string { return fmt.Sprintf("web-%d", i) }
	for i := range n {
		c.pod(testkube.Pod("default", name(i), "web"))
		c.say(name(i), "web", "first of "+name(i))
	}
	r := startLogs(t, c.Server, ".", "--max-log-requests=1000")
	for i := range n {
		r.out.await(t, "first of "+name(i)+"\n")
	}
	open := 0
	for i := range n {
		open += c.Log("default", name(i), "web").Open()
	}
	if open != n {
		t.Errorf("%d of %d streams are open", open, n)
	}
	for i := range n {
		c.say(name(i), "web", "second of "+name(i))
	}
	for i := range n {
		r.out.await(t, "second of "+name(i)+"\n")
	}
	if o := r.interrupt(); strings.Contains(o.stderr, "retry") {
		t.Errorf("stderr:\n%s", o.stderr)
	}
}

// Who may read pods and logs only, neither nodes nor events nor owners.
func TestLogsWithFewRights(t *testing.T) {
	c := newFakeCluster(t)
	for _, verb := range []string{"get", "list", "watch"} {
		for _, resource := range []string{"nodes", "events", "secrets", "replicasets", "deployments", "namespaces", "services"} {
			c.Deny(verb, resource)
		}
	}
	p := testkube.Pod("default", "web-5d9c7bd6f8-x2x4j", "web")
	p.Labels = map[string]string{"pod-template-hash": "5d9c7bd6f8"}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9c7bd6f8", UID: "u", Controller: new(true)}}
	c.pod(p)
	c.say(p.Name, "web", "ready")
	for _, args := range [][]string{{"."}, {"rs/web-5d9c7bd6f8"}, {"deploy/web"}, {".", "--events"}} {
		if o := startLogs(t, c.Server, append(args, "--until", "ready", "--for=30s")...).wait(); o.code != 0 || !strings.HasSuffix(o.stdout, "web ready\n") {
			t.Errorf("%v: %d\n%s\n%s", args, o.code, o.stdout, o.stderr)
		}
	}
}

// A container whose last run crashed is shown with that run, unless only new lines are
// wanted.
func TestLogsShowsTheRunBeforeACrash(t *testing.T) {
	c := newFakeCluster(t)
	crashed := testkube.Pod("default", "web-1", "web")
	crashed.Status.ContainerStatuses[0] = testkube.Running("web-1", "web", 1)
	c.pod(crashed)
	c.say("web-1", "web", "the reason")
	c.Log("default", "web-1", "web").Restart()
	c.say("web-1", "web", "runs again")
	o := startLogs(t, c.Server, ".", "--until=runs again").wait()
	if o.code != 0 || o.stdout != "web-1 web the reason\nweb-1 web runs again\n" {
		t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
	r := startLogs(t, c.Server, ".", "--tail=0")
	r.err.await(t, `\+ web-1 › web`)
	c.say("web-1", "web", "new")
	r.out.await(t, "new\n")
	if o := r.interrupt(); o.stdout != "web-1 web new\n" {
		t.Errorf("--tail=0:\n%s", o.stdout)
	}
	ended := testkube.Pod("default", "web-1", "web")
	ended.Status.ContainerStatuses[0] = testkube.Running("web-1", "web", 1)
	ended.Status.ContainerStatuses[0].LastTerminationState.Terminated.ExitCode = 0
	c.pod(ended)
	if o := startLogs(t, c.Server, ".", "--until=new").wait(); strings.Contains(o.stdout, "the reason") {
		t.Errorf("a run that ended well is shown:\n%s", o.stdout)
	}
}

func TestLogsCondition(t *testing.T) {
	c := newFakeCluster(t)
	p := testkube.Pod("default", "web-1", "web")
	p.Status.Conditions[0].Status = corev1.ConditionFalse
	c.pod(p)
	c.say("web-1", "web", "not ready yet")
	r := startLogs(t, c.Server, ".", "--condition=ready=false", "--tail=0")
	r.err.await(t, `\+ web-1 › web`)
	c.say("web-1", "web", "still not ready")
	r.out.await(t, "still not ready\n")
	c.pod(testkube.Pod("default", "web-1", "web"))
	r.err.await(t, `- web-1 › web`)
	if o := r.interrupt(); strings.Contains(o.stdout, "not ready yet") {
		t.Errorf("stdout:\n%s", o.stdout)
	}
}

func TestLogsContainerStateIsOfTheStart(t *testing.T) {
	c := newFakeCluster(t)
	crashed := testkube.Pod("default", "web-1", "web")
	crashed.Status.ContainerStatuses[0] = testkube.Waiting("web-1", "web", 1, "CrashLoopBackOff")
	c.pod(crashed)
	c.pod(testkube.Pod("default", "web-2", "web"))
	c.say("web-1", "web", "crashed")
	c.say("web-2", "web", "runs")
	r := startLogs(t, c.Server, ".", "--container-state=running")
	r.out.await(t, "web-2 web runs\n")
	c.Log("default", "web-1", "web").Restart()
	c.say("web-1", "web", "second run")
	up := testkube.Pod("default", "web-1", "web")
	up.Status.ContainerStatuses[0] = testkube.Running("web-1", "web", 2)
	c.pod(up)
	r.out.await(t, "web-1 web second run\n")
	r.interrupt()
}

func TestLogsUntil(t *testing.T) {
	t.Run("a line", func(t *testing.T) {
		c := newFakeCluster(t)
		c.pod(testkube.Pod("default", "web-1", "web"))
		c.say("web-1", "web", "starting", "listening on :8080", "more")
		if o := startLogs(t, c.Server, ".", "--until", "listening on :[0-9]+", "-o", "raw").wait(); o.code != 0 || o.stdout != "starting\nlistening on :8080\n" {
			t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
		}
	})
	t.Run("a line that never comes", func(t *testing.T) {
		c := newFakeCluster(t)
		c.pod(testkube.Pod("default", "web-1", "web"))
		c.say("web-1", "web", "starting")
		if o := startLogs(t, c.Server, ".", "--until", "nothing", "--for", "300ms").wait(); o.code != 4 || !strings.Contains(o.stderr, "was not reached within 300ms") {
			t.Errorf("%d\n%s", o.code, o.stderr)
		}
		c.Log("default", "web-1", "web").End()
		if o := startLogs(t, c.Server, ".", "--until", "nothing", "--no-follow").wait(); o.code != 1 {
			t.Errorf("%d\n%s", o.code, o.stderr)
		}
	})
	t.Run("ready", func(t *testing.T) {
		c := newFakeCluster(t)
		p := testkube.Pod("default", "web-1", "web")
		p.Status.Conditions[0].Status = corev1.ConditionFalse
		c.pod(p)
		c.say("web-1", "web", "starting")
		r := startLogs(t, c.Server, ".", "--until=ready")
		r.out.await(t, "starting\n")
		c.say("web-1", "web", "started")
		c.pod(testkube.Pod("default", "web-1", "web"))
		if o := r.wait(); o.code != 0 || !strings.Contains(o.stdout, "started\n") {
			t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
		}
	})
	for _, failed := range []bool{false, true} {
		t.Run(fmt.Sprintf("done, failed %v", failed), func(t *testing.T) {
			c := newFakeCluster(t)
			c.pod(testkube.Pod("default", "job-1", "job"))
			c.say("job-1", "job", "working")
			r := startLogs(t, c.Server, "job", "--until=done")
			r.out.await(t, "working\n")
			c.say("job-1", "job", "last line")
			c.Log("default", "job-1", "job").End()
			p := testkube.Pod("default", "job-1", "job")
			p.Status.Phase, p.Status.ContainerStatuses[0] = corev1.PodSucceeded, testkube.Terminated("job-1", "job", 0, 0)
			code := 0
			if failed {
				p.Status.Phase, p.Status.ContainerStatuses[0] = corev1.PodFailed, testkube.Terminated("job-1", "job", 0, 3)
				code = 1
			}
			c.pod(p)
			if o := r.wait(); o.code != code || !strings.Contains(o.stdout, "last line\n") {
				t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
			}
		})
	}
	for _, until := range []string{"done", "ready"} {
		t.Run(until+" at the start, with a log that opens late", func(t *testing.T) {
			c := newFakeCluster(t)
			p := testkube.Pod("default", "job-1", "job")
			if until == "done" {
				p.Status.Phase, p.Status.ContainerStatuses[0] = corev1.PodSucceeded, testkube.Terminated("job-1", "job", 0, 0)
			}
			c.pod(p)
			c.say("job-1", "job", "all that it said")
			if until == "done" {
				c.Log("default", "job-1", "job").End()
			}
			c.Log("default", "job-1", "job").Faults(func(int) testkube.Fault {
				<-time.After(time.Second) // a busy kubelet
				return testkube.Fault{}
			})
			if o := startLogs(t, c.Server, "job", "--until", until).wait(); o.code != 0 || !strings.Contains(o.stdout, "all that it said\n") {
				t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
			}
		})
	}
	t.Run("failed", func(t *testing.T) {
		c := newFakeCluster(t)
		c.pod(testkube.Pod("default", "web-1", "web"))
		c.say("web-1", "web", "working")
		r := startLogs(t, c.Server, ".", "--until=failed")
		r.out.await(t, "working\n")
		p := testkube.Pod("default", "web-1", "web")
		p.Status.ContainerStatuses[0] = testkube.Terminated("web-1", "web", 0, 137)
		c.Log("default", "web-1", "web").End()
		c.pod(p)
		if o := r.wait(); o.code != 0 {
			t.Errorf("%d\n%s", o.code, o.stderr)
		}
	})
}

func TestLogsFor(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	if o := startLogs(t, c.Server, ".", "--for=200ms").wait(); o.code != 0 {
		t.Errorf("%d\n%s", o.code, o.stderr)
	}
}

// Times that no line and no end can have are refused before a cluster is asked.
func TestLogsRefusesImpossibleTimes(t *testing.T) {
	soon := time.Now().Add(time.Hour).Format(time.RFC3339)
	for args, want := range map[string]string{
		"--for=0":         "--for takes a time above zero, such as 30s, not 0s",
		"--for=-1s":       "--for takes a time above zero, such as 30s, not -1s",
		"--since=-5m":     `"-5m" lies in the future`,
		"--since=" + soon: `"` + soon + `" lies in the future`,
	} {
		if o := startLogsWith(t, t.TempDir(), ".", args).wait(); o.code != 2 || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: %d\n%s", args, o.code, o.stderr)
		}
	}
	c := newFakeCluster(t)
	if o := startLogs(t, c.Server, ".", "--no-follow", "--since="+time.Now().Add(-time.Hour).Format(time.RFC3339)).wait(); o.code != 0 {
		t.Errorf("%+v", o)
	}
}

func TestLogsLevelsRecordsAndContext(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.say("web-1", "web",
		"2026-11-21 03:49:17,123 INFO app - one",
		"2026-11-21 03:49:17,124 DEBUG app - two",
		"2026-11-21 03:49:17,125 ERROR app - failed",
		"Traceback (most recent call last):",
		`  File "a.py", line 7, in f`,
		"KeyError: 'x'",
		`{"level":"warn","msg":"slow"}`,
		"no level here",
		"2026-11-21 03:49:17,126 INFO app - last")
	c.Log("default", "web-1", "web").End()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"level error", []string{"--level=error", "-o", "raw"}, "2026-11-21 03:49:17,125 ERROR app - failed\nTraceback (most recent call last):\n  File \"a.py\", line 7, in f\nKeyError: 'x'\n"},
		{"level warn", []string{"--level=warn", "-o", "raw", "-e", "ERROR"}, "{\"level\":\"warn\",\"msg\":\"slow\"}\n"},
		{"level info takes what does not say", []string{"--level=info", "-o", "raw", "-e", "ERROR"}, "2026-11-21 03:49:17,123 INFO app - one\n{\"level\":\"warn\",\"msg\":\"slow\"}\nno level here\n2026-11-21 03:49:17,126 INFO app - last\n"},
		{"records", []string{"--records", "-i", "KeyError", "-o", "raw"}, "2026-11-21 03:49:17,125 ERROR app - failed\nTraceback (most recent call last):\n  File \"a.py\", line 7, in f\nKeyError: 'x'\n"},
		{"no records", []string{"-i", "KeyError", "-o", "raw"}, "KeyError: 'x'\n"},
		{"before", []string{"--before=1", "-i", "slow", "-o", "raw"}, "KeyError: 'x'\n{\"level\":\"warn\",\"msg\":\"slow\"}\n"},
		{"after", []string{"--after=1", "-i", "slow", "-o", "raw"}, "{\"level\":\"warn\",\"msg\":\"slow\"}\nno level here\n"},
		{"around", []string{"--around=1", "-i", "two", "-o", "raw"}, "2026-11-21 03:49:17,123 INFO app - one\n2026-11-21 03:49:17,124 DEBUG app - two\n2026-11-21 03:49:17,125 ERROR app - failed\n"},
		{"excluded is no context", []string{"--around=2", "-i", "failed", "-e", "two", "-e", "Traceback", "-o", "raw"}, "2026-11-21 03:49:17,123 INFO app - one\n2026-11-21 03:49:17,125 ERROR app - failed\n  File \"a.py\", line 7, in f\nKeyError: 'x'\n"},
		{"around of neighbours", []string{"--around=1", "-i", "two", "-i", "failed", "-o", "raw"}, "2026-11-21 03:49:17,123 INFO app - one\n2026-11-21 03:49:17,124 DEBUG app - two\n2026-11-21 03:49:17,125 ERROR app - failed\nTraceback (most recent call last):\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if o := startLogs(t, c.Server, append([]string{".", "--no-follow"}, tt.args...)...).wait(); o.code != 0 || o.stdout != tt.want {
				t.Errorf("%d\ngot:\n%s\nwant:\n%s\n%s", o.code, o.stdout, tt.want, o.stderr)
			}
		})
	}
	t.Run("jsonl", func(t *testing.T) {
		o := startLogs(t, c.Server, ".", "--no-follow", "-o", "jsonl", "--level=error").wait()
		if !strings.Contains(o.stdout, `"level":"error","message":"2026-11-21 03:49:17,125 ERROR app - failed\nTraceback (most recent call last):\n  File \"a.py\", line 7, in f\nKeyError: 'x'"}`+"\n") || strings.Count(o.stdout, "\n") != 1 {
			t.Errorf("%s", o.stdout)
		}
	})
	t.Run("logfmt", func(t *testing.T) {
		o := startLogs(t, c.Server, ".", "--no-follow", "-o", "logfmt", "--level=warn", "-i", "slow").wait()
		if !strings.Contains(o.stdout, `level=warn namespace=default pod=web-1 container=web msg="{\"level\":\"warn\",\"msg\":\"slow\"}"`+"\n") {
			t.Errorf("%s", o.stdout)
		}
	})
	t.Run("bad level", func(t *testing.T) {
		if o := startLogs(t, c.Server, ".", "--level=loud").wait(); o.code != 2 {
			t.Errorf("%d %s", o.code, o.stderr)
		}
	})
}

func TestLogsEvents(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.pod(testkube.Pod("default", "db-1", "db"))
	event := func(name, kind, about, uid, reason, text string) *corev1.Event {
		return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Type: "Warning", Reason: reason, Message: text,
			InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: "default", Name: about, UID: "uid-default-" + "x"}, LastTimestamp: metav1.Now()}
	}
	for _, e := range []*corev1.Event{event("e1", "Pod", "web-1", "", "BackOff", "restarting"), event("e2", "Pod", "db-1", "", "Unhealthy", "probe")} {
		if err := c.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	o := startLogs(t, c.Server, "web", "--events", "--until", "BackOff").wait()
	if o.code != 0 || o.stdout != "web-1 event Warning BackOff: restarting\n" {
		t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
	// What there was before comes in the order in which it happened, not by name.
	for i, name := range []string{"f3", "f1", "f2"} {
		e := event(name, "Pod", "web-1", "", "Pulled", fmt.Sprint("step ", i))
		e.LastTimestamp = metav1.NewTime(time.Now().Add(time.Duration(i-10) * time.Minute))
		if err := c.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	o = startLogs(t, c.Server, "web", "--events", "--until", "BackOff").wait()
	if want := "web-1 event Warning Pulled: step 0\nweb-1 event Warning Pulled: step 1\nweb-1 event Warning Pulled: step 2\nweb-1 event Warning BackOff: restarting\n"; o.stdout != want {
		t.Errorf("%s\nwant\n%s", o.stdout, want)
	}
	c.Deny("list", "events")
	c.Deny("watch", "events")
	c.say("web-1", "web", "line")
	o = startLogs(t, c.Server, "web", "--events", "--for", "2s").wait()
	if !strings.Contains(o.stdout, "web-1 web line\n") || !strings.Contains(o.stderr, "events are not shown") {
		t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
}

func TestLogsMerge(t *testing.T) {
	c := newFakeCluster(t)
	for i := range 3 {
		c.pod(testkube.Pod("default", fmt.Sprintf("web-%d", i), "web"))
	}
	var want []string
	for i := range 300 {
		line := fmt.Sprintf("line %d", i)
		c.say(fmt.Sprintf("web-%d", i*7%3), "web", line)
		want = append(want, line)
	}
	for _, args := range [][]string{{"--no-follow"}, {"--until", "line 299"}} {
		if args[0] == "--no-follow" {
			for i := range 3 {
				c.Log("default", fmt.Sprintf("web-%d", i), "web").End()
			}
		}
		o := startLogs(t, c.Server, append([]string{".", "--merge", "-o", "raw"}, args...)...).wait()
		if o.stdout != strings.Join(want, "\n")+"\n" {
			t.Errorf("%v: not in order:\n%s", args, o.stdout)
		}
	}
}

// What is held back of a container, the last line of a record or context, has its place
// by its time all the same.
func TestLogsMergeOfRecordsAndContext(t *testing.T) {
	c := newFakeCluster(t)
	for i := range 3 {
		c.pod(testkube.Pod("default", fmt.Sprintf("web-%d", i), "web"))
	}
	for i := range 60 {
		c.say(fmt.Sprintf("web-%d", min(i%7, 2)), "web", fmt.Sprintf("line %02d", i)) // one of them writes most
	}
	for i := range 3 {
		c.Log("default", fmt.Sprintf("web-%d", i), "web").End()
	}
	number := regexp.MustCompile(`line \d\d`)
	for _, args := range [][]string{{"-o", "jsonl"}, {"-o", "raw", "-i", "line .[05]", "--before", "2"}, {"-o", "raw", "--records"}} {
		o := startLogs(t, c.Server, append([]string{".", "--merge", "--no-follow"}, args...)...).wait()
		got := number.FindAllString(o.stdout, -1)
		if len(got) < 12 || !slices.IsSorted(got) {
			t.Errorf("%v: %v", args, got)
		}
	}
}

func TestLogsSave(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.say("web-1", "web", "one", "\x1b[32mtwo\x1b[0m")
	c.Log("default", "web-1", "web").End()
	file := filepath.Join(t.TempDir(), "saved.txt")
	o := startLogs(t, c.Server, ".", "--no-follow", "--color=always", "--save", file).wait()
	b, err := os.ReadFile(file)
	if err != nil || string(b) != "web-1 web one\nweb-1 web two\n" || !strings.Contains(o.stdout, "\x1b[") {
		t.Errorf("%q %v\n%q", b, err, o.stdout)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// A file that cannot be written to any more does not end what is shown.
func TestLogsSaveOnAFullDisk(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.say("web-1", "web", "one")
	r := startLogs(t, c.Server, ".", "--save", "/dev/full")
	r.out.await(t, "web-1 web one\n")
	r.err.await(t, "no space left on device: the lines go on without being saved\n")
	c.say("web-1", "web", "two")
	r.out.await(t, "web-1 web two\n")
	o := r.interrupt()
	if o.code != 1 || strings.Count(o.stderr, "lines are missing in the file") != 1 {
		t.Errorf("%d\n%s", o.code, o.stderr)
	}
}

// A line of more than 1 MiB is cut in every output, with a mark: difference 10.
func TestLogsCutsALongLine(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	long := strings.Repeat("x", 1<<20+1<<10)
	c.say("web-1", "web", long, "next")
	c.Log("default", "web-1", "web").End()
	cut := strings.Repeat("x", 1<<20) + " … [cut by kdev: the line is longer than 1 MiB]"
	file := filepath.Join(t.TempDir(), "saved.txt")
	for _, output := range []string{"raw", "default", "json", "jsonl"} {
		o := startLogs(t, c.Server, ".", "--no-follow", "-o", output, "--save", file).wait()
		b, err := os.ReadFile(file)
		if err != nil || o.code != 0 || string(b) != o.stdout || !strings.Contains(o.stdout, cut) || !strings.Contains(o.stdout, "next") {
			t.Errorf("%s: %d, %d bytes, saved %d %v\n%s", output, o.code, len(o.stdout), len(b), err, o.stderr)
		}
	}
	var out bytes.Buffer
	env := Env{In: strings.NewReader(long + "\nnext\n"), Out: &out, Err: io.Discard, Dir: t.TempDir(), Getenv: func(string) string { return "" }}
	if code := Main(t.Context(), env, []string{"logs", "--stdin", "-o", "raw"}); code != 0 || out.String() != cut+"\nnext\n" {
		t.Errorf("--stdin: %d, %d bytes", code, out.Len())
	}
}

func TestLogsPrevious(t *testing.T) {
	c := newFakeCluster(t)
	p := testkube.Pod("default", "web-1", "web")
	p.Status.ContainerStatuses[0] = testkube.Running("web-1", "web", 1)
	c.pod(p)
	c.say("web-1", "web", "first run")
	c.Log("default", "web-1", "web").Restart()
	c.say("web-1", "web", "second run")
	if o := startLogs(t, c.Server, ".", "--previous").wait(); o.code != 0 || o.stdout != "web-1 web first run\n" {
		t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
}

func TestLogsRefusals(t *testing.T) {
	t.Run("pods", func(t *testing.T) {
		c := newFakeCluster(t)
		c.Deny("list", "pods")
		c.Deny("watch", "pods")
		for _, args := range [][]string{{"."}, {".", "--no-follow"}} {
			o := startLogs(t, c.Server, args...).wait()
			if o.code != 1 || !strings.Contains(o.stderr, "may not list and watch pods") || !strings.Contains(o.stderr, "hint: ") {
				t.Errorf("%d\n%s", o.code, o.stderr)
			}
		}
	})
	t.Run("logs", func(t *testing.T) {
		c := newFakeCluster(t)
		c.Deny("get", "pods/log")
		c.pod(testkube.Pod("default", "web-1", "web"))
		r := startLogs(t, c.Server, ".")
		r.err.await(t, `failed to tail web-1 › web: .*forbidden`)
		r.interrupt()
		if o := startLogs(t, c.Server, ".", "--no-follow").wait(); o.code != 1 || !strings.Contains(o.stderr, "forbidden") {
			t.Errorf("%d\n%s", o.code, o.stderr)
		}
	})
	t.Run("owners", func(t *testing.T) {
		c := newFakeCluster(t)
		p := testkube.Pod("default", "db-0", "db")
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "u", Controller: new(true)}}
		c.pod(p)
		c.say("db-0", "db", "ready")
		c.Deny("get", "statefulsets")
		if o := startLogs(t, c.Server, "sts/db", "--until", "ready").wait(); o.code != 0 || o.stdout != "db-0 db ready\n" {
			t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
		}
	})
	t.Run("server", func(t *testing.T) {
		c := newFakeCluster(t)
		c.Down()
		o := startLogs(t, c.Server, ".").wait()
		if o.code != 1 || !strings.Contains(o.stderr, "does not answer") {
			t.Errorf("%d\n%s", o.code, o.stderr)
		}
	})
}

func TestLogsSaysWhyNothingIsShown(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	r := startLogs(t, c.Server, "wbe")
	r.err.await(t, `none of 1 pods is meant in namespace default of context fake`)
	r.interrupt()
}

// A query that names nothing is told although another one does.
func TestLogsSaysWhichQueryMatchesNothing(t *testing.T) {
	c := newFakeCluster(t)
	for _, name := range []string{"web-1", "cron-1"} {
		c.pod(testkube.Pod("default", name, "web"))
		c.Log("default", name, "web").End()
	}
	for args, want := range map[string]string{
		"cron nopenope":             "no pod matches nopenope\n",
		"nopenope cron pod/x web":   "no pod matches nopenope\nno pod matches pod/x\n",
		"cron web -t":               "",
		"cron -t short":             "no pod matches short: the format of times is set with -t=short\n",
		"-t delta":                  "no pod matches delta: the format of times is set with -t=delta\n",
		"cron short":                "no pod matches short\n",
		"short":                     "",
		"cron nope --exclude-pod c": "no pod matches nope\n",
	} {
		o := startLogs(t, c.Server, append([]string{"--no-follow"}, strings.Fields(args)...)...).wait()
		got := ""
		for line := range strings.Lines(o.stderr) {
			if strings.HasPrefix(line, "no pod matches") {
				got += line
			}
		}
		if o.code != 0 || got != want {
			t.Errorf("%s: %d %q, want %q\n%s", args, o.code, got, want, o.stderr)
		}
	}
}

func TestLogsOfSeveralContexts(t *testing.T) {
	a, b := newFakeCluster(t), newFakeCluster(t)
	a.pod(testkube.Pod("default", "web-1", "web"))
	b.pod(testkube.Pod("default", "web-1", "web"))
	a.say("web-1", "web", "from a")
	b.say("web-1", "web", "from b")
	r := startLogsWith(t, twoContexts(t, a.Server, b.Server), ".", "--context=a", "--context=b")
	r.out.await(t, "a web-1 web from a\n")
	r.out.await(t, "b web-1 web from b\n")
	r.interrupt()
}

func TestLogsOfAServiceThatMayNotBeRead(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.Deny("get", "services")
	if o := startLogs(t, c.Server, "svc/web", "--no-follow").wait(); o.code != 1 || !strings.Contains(o.stderr, "this user may not read svc/web") {
		t.Errorf("%d\n%s", o.code, o.stderr)
	}
}
