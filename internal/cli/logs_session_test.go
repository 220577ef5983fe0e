package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
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
	dir, run := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kdev.yaml"), []byte("name: shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": run, "KUBECONFIG": filepath.Join(dir, "none")}
	getenv := func(k string) string { return vars[k] }
	hub, err := logs.New(logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st := &session.State{Project: "shop", Namespace: "shop", Services: []session.Service{{Name: "web", Pods: []session.Pod{
		{Name: "web-1", Owner: "Deployment/web", Containers: []session.Container{{Name: "prepare", Init: true}, {Name: "web"}}},
		{Name: "db-0", Owner: "StatefulSet/db", Containers: []session.Container{{Name: "db"}}},
	}}}}
	about := control.About{Project: "shop", Root: dir, Context: "kind-kdev", Namespace: "shop", PID: os.Getpid(), Started: time.Now()}
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
		hub.Carried("", "node-1", "shop", pod, container).WriteAt(time.Now(), level.Unknown, text)
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
		{"web", "preparing,one,two error,three"},
		{"deploy/web", "preparing,one,two error,three"},
		{"sts/db pod/web-1 --tail 1", "preparing,three,db three"},
		{"--init-containers=false deploy/web", "one,two error,three"},
		{"-c db", "db one,db two error,db three"},
		{"local/docs", "docs are served"},
		{"-i error", "two error,db two error"},
		{"-e error web --tail 2", "preparing,three"},
		{"--exclude-pod db -i three -n shop", "three"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var out, errs strings.Builder
			e := env
			e.Out, e.Err = &out, &errs
			code := Main(t.Context(), e, append([]string{"logs", "--no-follow", "-o", "raw"}, strings.Fields(tt.args)...))
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
		"from before it began": func(o *logsOptions) { o.sinceGiven, o.since.ago = true, time.Hour },
		"all that there is":    func(o *logsOptions) { o.sinceGiven = true },
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
	go func() { done <- Main(t.Context(), env, []string{"logs", "deploy/web", "--until", "the end"}) }()
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
