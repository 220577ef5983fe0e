package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/internal/testkube"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/level"
)

// A standingSession is one that only has a state and lines.
type standingSession struct{ state *session.State }

func (s standingSession) State() *session.State                               { return s.state }
func (s standingSession) Subscribe() (<-chan struct{}, func())                { return make(chan struct{}), func() {} }
func (s standingSession) OnNotice(func(session.Notice))                       {}
func (s standingSession) Do(context.Context, session.Command) (string, error) { return "", nil }

// startStanding makes a project whose session has lines, and returns its folder, the
// hub and how its commands are run: without any cluster.
func startStanding(t *testing.T) (dir string, hub *logs.Hub, env Env) {
	t.Helper()
	return startStandingIn(t, "kind-kdev", "shop")
}

// startStandingIn does so in a context and a namespace. The session began an hour ago.
func startStandingIn(t *testing.T, contextName, namespace string, more ...session.Service) (dir string, hub *logs.Hub, env Env) {
	t.Helper()
	dir, run := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"kdev.yaml": "name: shop\nnamespace: " + namespace + "\ncontexts: [fake]\nmanifests: {yaml: [web.yaml]}\n",
		"web.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vars := map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": run, "KUBECONFIG": filepath.Join(dir, "none")}
	getenv := func(k string) string { return vars[k] }
	hub, err := logs.New(logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st := &session.State{Project: "shop", Namespace: namespace, Services: []session.Service{{Name: "web", Pods: []session.Pod{
		{Name: "web-1", Owner: "Deployment/web", Containers: []session.Container{{Name: "prepare", Init: true}, {Name: "web"}}},
		{Name: "db-0", Owner: "StatefulSet/db", Containers: []session.Container{{Name: "db"}}},
	}}, {Name: "docs", Kind: session.Process, Local: &session.LocalWork{}}}}
	st.Services = append(st.Services, more...)
	about := control.About{Project: "shop", Root: dir, Context: contextName, Namespace: namespace, PID: os.Getpid(), Started: time.Now().Add(-time.Hour)}
	server, err := control.Listen(getenv, about, standingSession{st}, hub.Store())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	write := func(pod, container, text string) {
		hub.Carried("", "node-1", namespace, pod, container).WriteAt(time.Now(), level.Unknown, text)
	}
	write("web-1", "prepare", "preparing")
	for _, text := range []string{"one", "two error", "three"} {
		write("web-1", "web", text)
		write("db-0", "db", "db "+text)
	}
	hub.Source("local/docs").WriteLine("docs are served")
	hub.Source("build/web").WriteLine("compiling")
	hub.Source("kdev/").WriteLine("everything is ready")
	return dir, hub, Env{Getenv: getenv, Dir: dir, In: strings.NewReader("")}
}

// TestLogsThroughTheSession: lines come from the session where one runs, with the same
// flags and filters.
func TestLogsThroughTheSession(t *testing.T) {
	_, _, env := startStanding(t)
	for _, tt := range []struct {
		args string
		want string // the lines' texts
	}{
		{"", "preparing,one,db one,two error,db two error,three,db three,docs are served"},
		{"deploy/web", "preparing,one,two error,three"},
		{"sts/db pod/web-1 --tail 1", "preparing,three,db three"},
		{"--init-containers=false deploy/web", "one,two error,three"},
		{"-c db", "db one,db two error,db three"},
		{"local/docs", "docs are served"},
		{"-i error", "two error,db two error"},
		{"-e error deploy/web --tail 2", "preparing,three"},
		{"--exclude-pod db -i three -n shop", "three"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var out, errs strings.Builder
			e := env
			e.Out, e.Err = &out, &errs
			code := Main(t.Context(), e, append([]string{"logs", "--no-follow", "--since", "30m", "-o", "raw"}, strings.Fields(tt.args)...))
			var got []string
			if text := strings.TrimSpace(out.String()); text != "" {
				got = strings.Split(text, "\n")
			}
			want := strings.Split(tt.want, ",")
			slices.Sort(got)
			slices.Sort(want)
			if code != 0 || !slices.Equal(got, want) {
				t.Errorf("code %d, got %q, want %q\n%s", code, got, want, errs.String())
			}
		})
	}
}

// TestLogsBesideTheSession: what a session cannot tell is asked of the cluster.
func TestLogsBesideTheSession(t *testing.T) {
	_, _, env := startStanding(t)
	of := func(change func(*logsOptions)) *logsPlan {
		o := &logsOptions{env: env, container: ".*", containerStates: []string{"all"}, ephemeral: true, kube: kubeFlags{requestTimeout: "0"}}
		change(o)
		return &logsPlan{o: o}
	}
	if _, ok := of(func(*logsOptions) {}).session(); !ok {
		t.Fatal("the session is not found")
	}
	for name, change := range map[string]func(*logsOptions){
		"another namespace":    func(o *logsOptions) { o.namespaces = []string{"other"} },
		"every namespace":      func(o *logsOptions) { o.allNamespaces = true },
		"another context":      func(o *logsOptions) { o.contexts = []string{"kind-other"} },
		"labels of pods":       func(o *logsOptions) { o.selector = "app=web" },
		"labels in the output": func(o *logsOptions) { o.output = "json" },
		"the run before":       func(o *logsOptions) { o.previous = true },
		"what is masked":       func(o *logsOptions) { o.noMask = true },
		"a state of pods":      func(o *logsOptions) { o.until = "ready" },
	} {
		if _, ok := of(change).session(); ok {
			t.Errorf("%s is asked of the session", name)
		}
	}
}

// TestLogsFollowTheSession: what comes is shown until --until matches.
func TestLogsFollowTheSession(t *testing.T) {
	_, hub, env := startStanding(t)
	out := newWatched()
	env.Out, env.Err = out, &strings.Builder{}
	done := make(chan int, 1)
	go func() {
		done <- Main(t.Context(), env, []string{"logs", "deploy/web", "--since", "30m", "--until", "the end"})
	}()
	out.await(t, "three")
	hub.Carried("", "node-1", "shop", "db-0", "db").WriteAt(time.Now(), level.Unknown, "the end of another one")
	hub.Carried("", "node-1", "shop", "web-1", "web").WriteAt(time.Now(), level.Unknown, "this is the end")
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text, _ := out.get(); strings.Contains(text, "another one") || !strings.Contains(text, "web-1 web this is the end") {
		t.Errorf("printed %q", text)
	}
}

// besideStanding is a cluster in which the session of a project has been for an hour,
// with lines from before and with a pod that is not the session's.
func besideStanding(t *testing.T, more ...session.Service) (c *fakeCluster, hub *logs.Hub, env Env) {
	t.Helper()
	c = newFakeCluster(t)
	kubeconfig, err := c.Kubeconfig(t.TempDir(), "fake", "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	c.at = time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"db-0", "stray-1", "web-1"} {
		pod := testkube.Pod("default", name, name[:len(name)-2])
		if name == "db-0" {
			pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "u", Controller: new(true)}}
		}
		c.pod(pod)
		c.say(name, name[:len(name)-2], name+" of before")
	}
	if err := c.Put(&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db", UID: "u"}}); err != nil {
		t.Fatal(err)
	}
	_, hub, env = startStandingIn(t, "fake", "default", more...)
	return c, hub, env
}

func logsBeside(t *testing.T, env Env, args ...string) outcome {
	t.Helper()
	var out, errs strings.Builder
	env.Out, env.Err = &out, &errs
	code := Main(t.Context(), env, append([]string{"logs"}, args...))
	return outcome{code: code, stdout: out.String(), stderr: errs.String()}
}

// TestLogsSayTheSameBesideASession: what the session has no lines of is read, and refused,
// as without one.
func TestLogsSayTheSameBesideASession(t *testing.T) {
	c, _, env := besideStanding(t)
	for _, name := range []string{"db-0", "stray-1", "web-1"} {
		c.Log("default", name, name[:len(name)-2]).End()
	}
	for _, tt := range []struct{ args, stdout, stderr string }{
		{"deploy/nope", "", "there is no deploy/nope"},
		{"job/nope --tail 3", "", "there is no job/nope"},
		{"sts/db", "db-0 of before\n", ""},
		{"sts/db --since 90m", "", ""},
		{"pod/db-0", "db-0 of before\n", ""},
		{"nopenope --since 1m", "", "none of 3 pods is meant"},
		{"stray", "stray-1 of before\n", ""},
		{"stray --tail 1", "stray-1 of before\n", ""},
		{"^web", "web-1 of before\n", ""},
		{"db -c nope", "", "no container of 1 pods is meant"},
	} {
		args := append([]string{"--no-follow", "-o", "raw", "-n", "default"}, strings.Fields(tt.args)...)
		alone := env
		home := env.Getenv("HOME")
		alone.Getenv = func(k string) string { return map[string]string{"HOME": home}[k] }
		with, without := logsBeside(t, env, args...), logsBeside(t, alone, args...)
		if with != without || with.stdout != tt.stdout || !strings.Contains(with.stderr, tt.stderr) {
			t.Errorf("%s: got %+v, without a session %+v", tt.args, with, without)
		}
	}
	if o := logsBeside(t, env, "--no-follow", "local/nope"); o.code != 1 || !strings.Contains(o.stderr, "there is no local/nope") {
		t.Errorf("%+v", o)
	}
}

// TestLogsOfBeforeTheSession: without --since all lines are meant, as without a session;
// what runs on this machine is among them, and pods of which only the session knows whose
// they are.
func TestLogsOfBeforeTheSession(t *testing.T) {
	c, hub, env := besideStanding(t)
	out := newWatched()
	env.Out, env.Err = out, newWatched()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	go func() { done <- Main(ctx, env, []string{"logs", "-o", "raw"}) }()
	for _, text := range []string{"web-1 of before", "db-0 of before", "docs are served"} {
		out.await(t, text+"\n")
	}
	c.say("web-1", "web", "of now")
	hub.Source("local/docs").WriteLine("still")
	out.await(t, "of now\n")
	out.await(t, "still\n")
	cancel()
	if code := <-done; code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	text, _ := out.get()
	for _, other := range []string{"stray", "compiling", "db two error"} {
		if strings.Contains(text, other) {
			t.Errorf("%q is shown:\n%s", other, text)
		}
	}
	for _, name := range []string{"db-0", "stray-1", "web-1"} {
		c.Log("default", name, name[:len(name)-2]).End()
	}
	if o := logsBeside(t, env, "--no-follow", "-o", "raw", "docs", "sts/db"); o.code != 0 || !strings.Contains(o.stdout, "docs are served\n") || !strings.Contains(o.stdout, "db-0 of before\n") || strings.Contains(o.stdout, "web") {
		t.Errorf("%+v", o)
	}
}

// TestLogsOfAnIncludedProject: a query finds the pods of a project that the session
// includes, and none of others in its namespace.
func TestLogsOfAnIncludedProject(t *testing.T) {
	c, _, env := besideStanding(t, session.Service{Name: "pay", Namespace: "billing", Pods: []session.Pod{{Name: "pay-1", Owner: "StatefulSet/pay", Containers: []session.Container{{Name: "pay"}}}}})
	for _, name := range []string{"pay-1", "payroll-1"} {
		pod := testkube.Pod("billing", name, "pay")
		if name == "pay-1" {
			pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "pay", UID: "u2", Controller: new(true)}}
		}
		c.pod(pod)
		c.Log("billing", name, "pay").Print(c.at, name+" was paid")
		c.Log("billing", name, "pay").End()
	}
	if err := c.Put(&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "billing", Name: "pay", UID: "u2"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"db-0", "stray-1", "web-1"} {
		c.Log("default", name, name[:len(name)-2]).End()
	}
	for args, want := range map[string]string{"pay": "pay-1 was paid\n", "sts/pay": "pay-1 was paid\n", "pay stray": "stray-1 of before\npay-1 was paid\n", "-n default stray": "stray-1 of before\n"} {
		o := logsBeside(t, env, append([]string{"--no-follow", "--max-log-requests=1", "-o", "raw"}, strings.Fields(args)...)...)
		if o.code != 0 || o.stdout != want {
			t.Errorf("%s: %+v", args, o)
		}
	}
}

// TestMadeSince: the session has the lines of pods from their first one on that were made
// while it ran, as after the first `kdev up`.
func TestMadeSince(t *testing.T) {
	began := time.Date(2026, 1, 2, 12, 0, 0, 5, time.UTC)
	at := func(seconds int) session.Service {
		return session.Service{Pods: []session.Pod{{Created: began.Truncate(time.Second).Add(time.Duration(seconds) * time.Second)}}}
	}
	for _, tt := range []struct {
		st   session.State
		want bool
	}{
		{session.State{Deployed: true, Services: []session.Service{at(1), at(60)}}, true},
		{session.State{Deployed: true, Services: []session.Service{at(1), at(0)}}, false}, // within its second: perhaps before
		{session.State{Services: []session.Service{at(1)}}, false},                        // it has not looked yet
	} {
		if got := madeSince(&tt.st, began); got != tt.want {
			t.Errorf("%+v: %v", tt.st, got)
		}
	}
}
