package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/kdev-io/kdev/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a pod: it answers each line with its own name and the line.
func echo(name string) func(context.Context, podPort) (io.ReadWriteCloser, error) {
	return func(_ context.Context, to podPort) (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			in := bufio.NewReader(theirs)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if _, err := fmt.Fprintf(theirs, "%s:%d %s", name, to.port, line); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}
}

func forward(t *testing.T, f *forwarder) net.Conn {
	t.Helper()
	if _, err := f.listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done; f.listener.Close() })
	conn, err := net.Dial("tcp", f.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func ask(t *testing.T, conn net.Conn, line string) string {
	t.Helper()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(got)
}

func never() (<-chan struct{}, func()) { return nil, func() {} }

func TestForwardJoinsPodAndConnection(t *testing.T) {
	f := &forwarder{service: "web", dial: echo("a"), changed: never,
		pick: func() (podPort, bool) { return podPort{"web-1", 80}, true }}
	if got := ask(t, forward(t, f), "hello"); got != "a:80 hello" {
		t.Errorf("got %q", got)
	}
}

func TestForwardWaitsForAReadyPod(t *testing.T) {
	var ready atomic.Bool
	changed := make(chan struct{}, 1)
	asked := make(chan struct{}, 1)
	f := &forwarder{service: "web", dial: echo("a"),
		changed: func() (<-chan struct{}, func()) { return changed, func() {} },
		pick: func() (podPort, bool) {
			select {
			case asked <- struct{}{}:
			default:
			}
			return podPort{"web-1", 80}, ready.Load()
		}}
	conn := forward(t, f)
	<-asked // the connection is accepted and found no pod
	ready.Store(true)
	changed <- struct{}{}
	if got := ask(t, conn, "hello"); got != "a:80 hello" {
		t.Errorf("got %q", got)
	}
}

// TestForwardPassesOverAPodThatWent: the look that named it was older than its end.
func TestForwardPassesOverAPodThatWent(t *testing.T) {
	pods := []string{"gone", "there"}
	var picked atomic.Int32
	f := &forwarder{service: "web", changed: never,
		pick: func() (podPort, bool) { return podPort{pods[min(int(picked.Add(1))-1, 1)], 80}, true },
		dial: func(ctx context.Context, to podPort) (io.ReadWriteCloser, error) {
			if to.pod == "gone" {
				return nil, errors.New("no such pod")
			}
			return echo(to.pod)(ctx, to)
		}}
	if got := ask(t, forward(t, f), "hello"); got != "there:80 hello" {
		t.Errorf("got %q", got)
	}
}

func TestForwardTakesTheNextFreePort(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	f := &forwarder{service: "web", port: config.Port{Local: port, Remote: 80}}
	told, err := f.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer f.listener.Close()
	if f.local == port || !strings.Contains(told, fmt.Sprint(port)) {
		t.Errorf("listens on %d, told %q", f.local, told)
	}
}

// TestServedBy: a connection goes to a pod that is ready, or to the one that was asked for.
func TestServedBy(t *testing.T) {
	st := &State{Services: []Service{{Name: "web", Pods: []Pod{{Name: "a", Ready: true}, {Name: "b"}, {Name: "c", Ready: true, Status: "Terminating"}, {Name: "d", Ready: true}}}}}
	for only, want := range map[string]string{"": "a d", "b": "b", "c": "", "e": ""} {
		if got := strings.Join(servedBy(st, "web", only), " "); got != want {
			t.Errorf("asked for %q: %q, want %q", only, got, want)
		}
	}
	if got := servedBy(st, "other", ""); got != nil {
		t.Errorf("of a service that is not there: %q", got)
	}
}
