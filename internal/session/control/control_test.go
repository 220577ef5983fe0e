package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs"
)

// A stand is a session for tests.
type stand struct {
	mu     sync.Mutex
	state  *session.State
	subs   []chan struct{}
	notice []func(session.Notice)
	asked  []session.Command
}

func (s *stand) State() *session.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *stand) Subscribe() (<-chan struct{}, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{}, 1)
	s.subs = append(s.subs, ch)
	return ch, func() {}
}

func (s *stand) set(st *session.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = st
	for _, ch := range s.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (s *stand) OnNotice(f func(session.Notice)) { s.notice = append(s.notice, f) }

func (s *stand) Do(_ context.Context, c session.Command) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, c)
	switch c.Service {
	case "nobody":
		return "", &problem.Problem{Class: problem.Usage, Code: "service-unknown", Summary: "no such service", Hint: "there are: web"}
	case "broken":
		return "", errors.New("plain error")
	}
	return "doing it", nil
}

// serve answers for a stand in a directory of the test's.
func serve(t *testing.T) (*stand, *logs.Hub, func(string) string, About) {
	t.Helper()
	run := t.TempDir()
	getenv := func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": run}[name] }
	about := About{Project: "shop", Root: "/src/shop", Context: "kind-kdev", Namespace: "shop", PID: os.Getpid()}
	hub, err := logs.New(logs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	subject := &stand{state: &session.State{Project: "shop", Services: []session.Service{{Name: "web", Phase: session.Ready}}}}
	server, err := Listen(getenv, about, subject, hub.Store())
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
		if left, _ := filepath.Glob(filepath.Join(run, "kdev", "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return subject, hub, getenv, about
}

func TestModes(t *testing.T) {
	_, _, getenv, about := serve(t)
	for path, want := range map[string]os.FileMode{Dir(getenv): 0o700, about.Socket(Dir(getenv)): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestStateFollows(t *testing.T) {
	subject, _, getenv, about := serve(t)
	remote, err := Dial(t.Context(), getenv, about)
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	if got := remote.State().Services[0]; got.Name != "web" || got.Phase != session.Ready {
		t.Fatalf("first state has %+v", got)
	}
	changed, stop := remote.Subscribe()
	defer stop()
	subject.set(&session.State{Project: "shop", Services: []session.Service{{Name: "web", Phase: session.Building}}})
	for remote.State().Services[0].Phase != session.Building {
		<-changed
	}
}

func TestCommands(t *testing.T) {
	subject, _, getenv, about := serve(t)
	remote := New(getenv, about)
	defer remote.Close()
	text, err := remote.Do(t.Context(), session.Command{Verb: session.DoScale, Service: "web", Replicas: 3})
	if err != nil || text != "doing it" {
		t.Errorf("got %q, %v", text, err)
	}
	if want := (session.Command{Verb: session.DoScale, Service: "web", Replicas: 3}); subject.asked[0] != want {
		t.Errorf("the session was asked for %+v, want %+v", subject.asked[0], want)
	}
	_, err = remote.Do(t.Context(), session.Command{Verb: session.DoPause, Service: "nobody"})
	if p := problem.As(err); p == nil || p.Code != "service-unknown" || p.Hint == "" || p.ExitCode() != int(problem.Usage) {
		t.Errorf("the problem came as %#v", err)
	}
	_, err = remote.Do(t.Context(), session.Command{Verb: session.DoPause, Service: "broken"})
	if p := problem.As(err); p == nil || p.Summary != "plain error" {
		t.Errorf("a plain error came as %#v", err)
	}
}

// TestEvents: a late comer sees what was, in order, then what comes.
func TestEvents(t *testing.T) {
	subject, _, getenv, about := serve(t)
	tell := func(code string) {
		subject.notice[0](session.Notice{Code: code, Level: session.Warn, Took: session.Millis(time.Second)})
	}
	tell("one")
	tell("two")
	remote := New(getenv, about)
	defer remote.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan session.Notice)
	go func() { _ = remote.Events(ctx, true, -1, func(n session.Notice) { got <- n }) }()
	for i, want := range []string{"one", "two", "three"} {
		if i == 2 {
			tell("three")
		}
		if n := <-got; n.Code != want || n.Level != session.Warn || n.Took != session.Millis(time.Second) {
			t.Errorf("event %d is %+v, want %s", i, n, want)
		}
	}
}

// TestManyEvents: memory is bounded, and a reader goes on behind what was dropped.
func TestManyEvents(t *testing.T) {
	s := &Server{moved: make(chan struct{})}
	for range 5 * keptEvents {
		s.noticed(session.Notice{Code: "x"})
	}
	events, next, _ := s.since(0)
	if len(events) < keptEvents || len(events) > 2*keptEvents || next != 5*keptEvents {
		t.Errorf("%d events are kept, next is %d", len(events), next)
	}
	s.noticed(session.Notice{Code: "last"})
	if events, _, _ = s.since(next); len(events) != 1 || events[0].Code != "last" {
		t.Errorf("after the last one came %+v", events)
	}
}

func TestLines(t *testing.T) {
	_, hub, getenv, about := serve(t)
	hub.Source("").WriteLine("kdev's own text is in the events")
	hub.Source("build/web").WriteLine("step 1")
	hub.Source("build/web").WriteLine("step 2")
	remote := New(getenv, about)
	defer remote.Close()
	var got []string
	if err := remote.Lines(t.Context(), false, 1, func(l Line) { got = append(got, l.Name+": "+l.Text) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != "build/web: step 2" {
		t.Errorf("the last line is %q", got)
	}
	// What is no container's, without the rest being sent.
	hub.Carried("", "node-1", "shop", "web-1", "web").WriteLine("of a pod")
	got = nil
	if err := remote.LocalLines(t.Context(), false, 1, func(l Line) { got = append(got, l.Name+": "+l.Text) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != "build/web: step 2" {
		t.Errorf("the last local line is %q", got)
	}
}

// TestNoLines: a session without logs says so, in a way that can be told.
func TestNoLines(t *testing.T) {
	run := t.TempDir()
	getenv := func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": run}[name] }
	about := About{Project: "shop", Root: "/src/shop", Context: "kind-kdev", Namespace: "shop", PID: os.Getpid()}
	server, err := Listen(getenv, about, &stand{state: &session.State{Project: "shop"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	remote, err := Dial(t.Context(), getenv, about)
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	if err := remote.LinesOfEach(t.Context(), true, 1, func(Line) {}); !errors.Is(err, ErrNoLines) {
		t.Errorf("%v", err)
	}
}

func TestFind(t *testing.T) {
	_, _, getenv, about := serve(t)
	if got, err := Find(getenv, about.Root, "", ""); err != nil || len(got) != 1 || got[0] != about {
		t.Errorf("found %+v, %v", got, err)
	}
	if got, _ := Find(getenv, "/src/other", "", ""); len(got) != 0 {
		t.Errorf("found %+v for another folder", got)
	}
	if got, _ := Find(getenv, about.Root, "kind-other", ""); len(got) != 0 {
		t.Errorf("found %+v in another context", got)
	}
	// What a killed session left is not found, and goes.
	dead := About{Root: "/src/dead", Context: "c", Namespace: "n"}
	file := filepath.Join(Dir(getenv), dead.name()+".json")
	if err := os.WriteFile(file, []byte(`{"root":"/src/dead","context":"c","namespace":"n"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := Find(getenv, dead.Root, "", ""); len(got) != 0 {
		t.Errorf("found a dead session: %+v", got)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a dead session stayed: %v", err)
	}
}

// TestForeignFolder: a socket where others may come in is made private first.
func TestForeignFolder(t *testing.T) {
	run := t.TempDir()
	dir := filepath.Join(run, "kdev")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := private(dir); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("mode is %o, want 700", info.Mode().Perm())
	}
	link := filepath.Join(run, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if p := problem.As(private(link)); p == nil || p.Code != "socket-unsafe" {
		t.Errorf("a link in the folder's place was taken: %v", p)
	}
}
