//go:build unix

package control

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

// TestSessionOfAnotherProcess is no test: it is the process that the next one suspends.
func TestSessionOfAnotherProcess(t *testing.T) {
	run := os.Getenv("KDEV_TEST_SESSION")
	if run == "" {
		return
	}
	about := aboutHere()
	about.PID = os.Getpid()
	server, err := Listen(func(string) string { return run }, about, &stand{state: &session.State{Project: "shop", Session: true, Ready: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ctx)
	}()
	_, _ = os.Stdout.WriteString("listening\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it
	cancel()
	<-ended
}

func aboutHere() About {
	return About{Project: "shop", Root: "/src/shop", Context: "kind-kdev", Namespace: "shop"}
}

// TestSuspendedSession: whatever is asked of a session that Ctrl-Z has stopped, the answer is
// that it is suspended; and who looks at it is told so, and when it goes on.
func TestSuspendedSession(t *testing.T) {
	run := t.TempDir()
	getenv := func(string) string { return run }
	cmd := exec.Command(os.Args[0], "-test.run=TestSessionOfAnotherProcess$")
	cmd.Env = append(os.Environ(), "KDEV_TEST_SESSION="+run)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "listening") {
	}
	found, err := Find(getenv, "/src/shop", "", "")
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	joined, err := Dial(t.Context(), getenv, found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer joined.Close()
	changed, stop := joined.Subscribe()
	defer stop()
	await := func(what string, ok func(*session.State) bool) {
		t.Helper()
		limit := time.After(20 * time.Second)
		for !ok(joined.State()) {
			select {
			case <-changed:
			case <-limit:
				t.Fatalf("nobody is told that it %s: %+v", what, joined.State())
			}
		}
	}

	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await("is suspended", func(st *session.State) bool {
		return len(st.Problems) == 1 && st.Problems[0].Code == "session-suspended" && !st.Ready
	})
	found, err = Find(getenv, "/src/shop", "", "")
	if err != nil || len(found) != 1 {
		t.Fatalf("it is not found any more: %v, %v", found, err)
	}
	suspended := func(what string, err error) {
		t.Helper()
		if p := problem.As(err); p == nil || p.Code != "session-suspended" {
			t.Errorf("%s: %v", what, err)
		}
	}
	suspended("what asks for nothing", found[0].Suspended())
	remote := New(getenv, found[0])
	_, err = remote.Once(t.Context())
	suspended("status", err)
	_, err = remote.Do(t.Context(), session.Command{Verb: session.DoPause})
	suspended("pause", err)
	suspended("events", remote.Events(t.Context(), true, -1, func(session.Notice) {}))
	_, err = Dial(t.Context(), getenv, found[0])
	suspended("up and attach", err)
	_, err = joined.Do(t.Context(), session.Command{Verb: session.DoPause}) // on a connection that it has
	suspended("a key of a dashboard", err)

	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await("goes on", func(st *session.State) bool { return len(st.Problems) == 0 && st.Ready })
	if err := found[0].Suspended(); err != nil {
		t.Errorf("it goes on, and still: %v", err)
	}
}
