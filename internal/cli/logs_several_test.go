package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/store"
)

// twoContexts writes the kubeconfigs of two servers and names them to kdev.
func twoContexts(t *testing.T, a, b *testkube.Server) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ka, err := a.Kubeconfig(dir, "a", "default")
	if err != nil {
		t.Fatal(err)
	}
	kb, err := b.Kubeconfig(dir, "b", "default")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", ka+string(filepath.ListSeparator)+kb)
	return dir
}

var bothOrders = [][]string{{"--context=a", "--context=b"}, {"--context=b", "--context=a"}}

// A cluster that does not answer takes nothing from the others.
func TestLogsOfSeveralContextsOfWhichOneIsDead(t *testing.T) {
	a, dead := newFakeCluster(t), newFakeCluster(t)
	a.pod(testkube.Pod("default", "web-1", "web"))
	a.say("web-1", "web", "from a")
	dir := twoContexts(t, a.Server, dead.Server)
	dead.Close()
	for _, order := range bothOrders {
		r := startLogsWith(t, dir, append([]string{"."}, order...)...)
		r.out.await(t, "a web-1 web from a\n")
		r.err.await(t, "not read: context b: ")
		if o := r.interrupt(); o.code != 130 {
			t.Errorf("%v: %d\n%s", order, o.code, o.stderr)
		}
	}
	for _, args := range [][]string{nil, {"--no-follow"}} {
		if o := startLogsWith(t, dir, append([]string{".", "--context=b"}, args...)...).wait(); o.code != 1 || !strings.Contains(o.stderr, "does not answer") {
			t.Errorf("%v: %d\n%s", args, o.code, o.stderr)
		}
	}
	if o := startLogsWith(t, dir, ".", "--context=a", "--context=b", "--for=5s").wait(); o.code != 1 || !strings.Contains(o.stderr, "1 of 2 clusters could not be read") {
		t.Errorf("--for: %d\n%s", o.code, o.stderr)
	}
	// Pods that are ready where they could be asked are not all that were asked for.
	if o := startLogsWith(t, dir, ".", "--context=a", "--context=b", "--until=ready").wait(); o.code != 1 || !strings.Contains(o.stdout, "from a") {
		t.Errorf("--until: %d\n%s", o.code, o.stderr)
	}
	// Inside a project the values of Secrets are asked for first.
	inside := secretProject(t)
	r := startLogsWith(t, inside, ".", "--context=b", "--context=a")
	r.out.await(t, "a web-1 web from a\n")
	r.err.await(t, "not read: context b: ")
	r.interrupt()
	a.Log("default", "web-1", "web").End()
	for _, order := range bothOrders {
		o := startLogsWith(t, dir, append([]string{".", "--no-follow"}, order...)...).wait()
		if o.code != 1 || o.stdout != "a web-1 web from a\n" || strings.Count(o.stderr, "context b") != 1 {
			t.Errorf("%v: %d\n%s\n%s", order, o.code, o.stdout, o.stderr)
		}
	}
	a.Close()
	if o := startLogsWith(t, dir, ".", "--context=a", "--context=b").wait(); o.code != 1 || !strings.Contains(o.stderr, "context a") || !strings.Contains(o.stderr, "context b") {
		t.Errorf("both: %d\n%s", o.code, o.stderr)
	}
}

// One that takes the connection and says nothing keeps nobody waiting.
func TestLogsOfSeveralContextsOfWhichOneIsMute(t *testing.T) {
	a := newFakeCluster(t)
	a.pod(testkube.Pod("default", "web-1", "web"))
	a.say("web-1", "web", "from a")
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	dir := twoContexts(t, a.Server, a.Server)
	kb := filepath.Join(t.TempDir(), "mute")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"mute","cluster":{"server":"https://%s"}}],"contexts":[{"name":"mute","context":{"cluster":"mute","namespace":"default"}}]}`, mute.Addr())
	if err := os.WriteFile(kb, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", os.Getenv("KUBECONFIG")+string(filepath.ListSeparator)+kb)
	for _, order := range [][]string{{"--context=a", "--context=mute"}, {"--context=mute", "--context=a"}} {
		r := startLogsWith(t, dir, append([]string{"."}, order...)...)
		r.out.await(t, "a web-1 web from a\n")
		if text, _ := r.err.get(); strings.Contains(text, "mute") {
			t.Errorf("%v: only after the other one was given up:\n%s", order, text)
		}
		r.interrupt()
	}
}

// Lines of several clusters are merged while they come.
func TestLogsMergeOfSeveralContexts(t *testing.T) {
	a, b := newFakeCluster(t), newFakeCluster(t)
	for name, c := range map[string]*fakeCluster{"a": a, "b": b} {
		c.pod(testkube.Pod("default", "web-1", "web"))
		c.say("web-1", "web", "from "+name)
	}
	r := startLogsWith(t, twoContexts(t, a.Server, b.Server), ".", "--context=a", "--context=b", "--merge")
	r.out.await(t, "a web-1 web from a\n")
	r.out.await(t, "b web-1 web from b\n")
	a.say("web-1", "web", "again")
	r.out.await(t, "a web-1 web again\n")
	r.interrupt()
}

func TestLogsPastOfNothing(t *testing.T) {
	dir := secretProject(t)
	if o := startLogsWith(t, dir, "--past").wait(); o.code != 0 || !strings.Contains(o.stderr, "no lines of project") {
		t.Errorf("%d\n%s", o.code, o.stderr)
	}
}

// --past selects by what was kept of each pod, and says so where that is not enough.
func TestLogsPastSelects(t *testing.T) {
	dir := secretProject(t)
	env := Env{Dir: dir, In: strings.NewReader(""), Getenv: func(k string) string { return map[string]string{"HOME": dir}[k] }}
	project, err := (&projectFlags{}).load(env)
	if err != nil {
		t.Fatal(err)
	}
	hub, err := logs.New(logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []store.Source{
		{Pod: "webui-5d9-x2", Container: "web", Node: "n1", Workload: "shop/ReplicaSet/webui", Labels: map[string]string{"app": "webui", "pod-template-hash": "5d9"}},
		{Pod: "alone-x2", Container: "web", Node: "n2", Workload: "shop/ReplicaSet/alone"},
		{Pod: "report-29000000-a", Container: "job", Node: "n2", Workload: "shop/Job/report-29000000"},
		{Kind: store.Local, Name: "local/docs"},
	} {
		if src.Kind != store.Local {
			src.Namespace = "shop"
		}
		text := cmp.Or(src.Pod, src.Name)
		app := hub.Store().Appender(hub.Store().AddSource(src))
		n := copy(app.Free(len(text)), text)
		app.Grow(n)
		app.Add(store.Line{Time: time.Now().UnixNano()}, 0, n)
		app.Consume(n)
		app.CommitNow()
		app.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what the store holds is kept all the same
	if err := keepLines(ctx, env, project, hub.Store(), &secrets{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"", "webui-5d9-x2,alone-x2,report-29000000-a,local/docs"},
		{"webui", "webui-5d9-x2"},
		{"deploy/webui", "webui-5d9-x2"},
		{"rs/webui-5d9", "webui-5d9-x2"},
		{"rs/webui", ""},
		{"rs/alone", "alone-x2"},
		{"deploy/alone", ""},
		{"cronjob/report", "report-29000000-a"},
		{"job/report-29000000", "report-29000000-a"},
		{"docs", "local/docs"},
		{"local/docs", "local/docs"},
		{"-l app=webui", "webui-5d9-x2"},
		{"-l app!=webui", "alone-x2,report-29000000-a"},
		{"--node n2", "alone-x2,report-29000000-a"},
		{"-n nope", ""},
		{"-n shop web", "webui-5d9-x2"},
		{"nope", ""},
		{"-i nope", ""},
	} {
		o := startLogsWith(t, dir, append([]string{"--past", "-o", "raw"}, strings.Fields(tt.args)...)...).wait()
		if got := strings.ReplaceAll(strings.TrimSpace(o.stdout), "\n", ","); o.code != 0 || got != tt.want {
			t.Errorf("%s: %d, got %q, want %q\n%s", tt.args, o.code, got, tt.want, o.stderr)
		}
		if said := strings.Contains(o.stderr, "no kept line matches\n"); said != (tt.want == "") {
			t.Errorf("%s: said %v\n%s", tt.args, said, o.stderr)
		}
	}
	for args, want := range map[string]string{
		"svc/web": "--past cannot be used with svc/web: ",
		"--container-state running --condition ready":       "--past cannot be used with --condition, --container-state: ",
		"--context kind-kdev --field-selector a.b=c":        "--past cannot be used with --context, --field-selector: ",
		"--init-containers=false --previous --kubeconfig x": "--past cannot be used with --previous, --kubeconfig, --init-containers=false: ",
	} {
		if o := startLogsWith(t, dir, append([]string{"--past"}, strings.Fields(args)...)...).wait(); o.code != 2 || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: %d\n%s", args, o.code, o.stderr)
		}
	}
}

// A pipe that goes on is merged within the window, not at its end.
func TestLogsMergeOfStandardInput(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	out := newWatched()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan int, 1)
	go func() {
		done <- Main(ctx, Env{In: r, Out: out, Err: io.Discard, Dir: t.TempDir(), Getenv: func(string) string { return "" }}, []string{"logs", "--stdin", "--merge"})
	}()
	for _, line := range []string{"one", "two"} {
		fmt.Fprintln(w, line)
		out.await(t, line+"\n")
	}
	w.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// What is said of the end stands behind the lines, whatever holds them back.
func TestLogsEndBehindHeldLines(t *testing.T) {
	c := newFakeCluster(t)
	for _, name := range []string{"web-1", "web-2"} {
		c.pod(testkube.Pod("default", name, "web"))
		c.say(name, "web", "one", "two")
		c.Log("default", name, "web").End()
	}
	kubeconfig, err := c.Kubeconfig(t.TempDir(), "fake", "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--merge"}, {"-o", "jsonl"}, {"--merge", "-o", "jsonl"}} {
		both, dir := newWatched(), t.TempDir()
		env := Env{In: strings.NewReader(""), Out: both, Err: both, Dir: dir, Getenv: func(k string) string { return map[string]string{"HOME": dir}[k] }}
		if code := Main(t.Context(), env, append([]string{"logs", ".", "--no-follow", "--kubeconfig", kubeconfig}, args...)); code != 0 {
			t.Errorf("exit code %d", code)
		}
		text, _ := both.get()
		last := map[string]int{}
		for at, line := range strings.Split(text, "\n") {
			for _, pod := range []string{"web-1", "web-2"} {
				if strings.Contains(line, pod) && strings.Contains(line, "two") {
					last[pod] = at
				}
				if line == "- "+pod+" › web" && last[pod] == 0 {
					t.Errorf("%v: %s ended before its lines:\n%s", args, pod, text)
				}
			}
		}
	}
}

func TestLogsSaveFailsUnderFor(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.say("web-1", "web", "one")
	if o := startLogs(t, c.Server, ".", "--save", "/dev/full", "--for", "5s").wait(); o.code != 1 || !strings.Contains(o.stderr, "lines are missing in the file") {
		t.Errorf("%d\n%s", o.code, o.stderr)
	}
}

// What keeps a pod from having a log is said instead of nothing.
func TestLogsOfWhatHasNone(t *testing.T) {
	c := newFakeCluster(t)
	p := testkube.Pod("default", "web-1", "web")
	p.Status.Phase = corev1.PodPending
	p.Status.ContainerStatuses[0] = corev1.ContainerStatus{Name: "web", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}
	c.pod(p)
	lost := testkube.Pod("default", "web-2", "web")
	lost.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"}}}
	c.pod(lost)
	o := startLogs(t, c.Server, ".", "--no-follow").wait()
	for _, want := range []string{"web-1 has no log yet: web waits, ContainerCreating\n", "web-2 has no log yet: Unschedulable: 0/1 nodes are available\n"} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("no %q in\n%s", want, o.stderr)
		}
	}
	if o := startLogs(t, c.Server, "web-1", "--container=nosuch", "--only-log-lines", "--no-follow").wait(); o.stderr != "" {
		t.Errorf("with --only-log-lines:\n%s", o.stderr)
	}
	c.pod(testkube.Pod("default", "web-3", "web"))
	if o := startLogs(t, c.Server, "web-3", "--container=nosuch", "--no-follow").wait(); !strings.Contains(o.stderr, "no container of 1 pods is meant") {
		t.Errorf("%s", o.stderr)
	}
}

// Of several containers those without a run before are left out of --previous.
func TestLogsPreviousOfSeveral(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "calm-1", "web"))
	c.say("calm-1", "web", "only run")
	p := testkube.Pod("default", "web-1", "web")
	p.Status.ContainerStatuses[0] = testkube.Running("web-1", "web", 1)
	c.pod(p)
	c.say("web-1", "web", "first run")
	c.Log("default", "web-1", "web").Restart()
	if o := startLogs(t, c.Server, ".", "--previous").wait(); o.code != 0 || o.stdout != "web-1 web first run\n" {
		t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
	if o := startLogs(t, c.Server, "calm", "--previous").wait(); o.code != 1 {
		t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
}

// What is there when --until's state is reached at the start is shown, however late its
// stream opens.
func TestLogsUntilReadyShowsWhatIsThere(t *testing.T) {
	c := newFakeCluster(t)
	c.pod(testkube.Pod("default", "web-1", "web"))
	c.say("web-1", "web", "one", "two", "three", "four")
	c.Log("default", "web-1", "web").Faults(func(int) testkube.Fault {
		<-time.After(4 * time.Second) // a busy API server
		return testkube.Fault{}
	})
	if o := startLogs(t, c.Server, ".", "--until=ready", "--tail=3").wait(); o.code != 0 || strings.Count(o.stdout, "\n") != 3 {
		t.Errorf("%d\n%s\n%s", o.code, o.stdout, o.stderr)
	}
}
