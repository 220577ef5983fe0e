package agent_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/protocol"
	"github.com/kdev-io/kdev/sync/tunnel"
)

// freePort is one that nobody has at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// asks connects to a port and returns what it says, "" when nobody does.
func asks(port string) string {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "who\n")
	said, _ := io.ReadAll(conn)
	return string(said)
}

// TestCarry: another program stands in for the application, and the application is
// there again when that one has left.
func TestCarry(t *testing.T) {
	ctx := bounded(t)
	limits := quick
	limits.Return = 50 * time.Millisecond
	port := freePort(t)
	c := agenttest.StartLimited(t, limits, "sh", "-c", `trap 'echo ended; exit 0' TERM; sleep 1000 & echo started; while :; do sleep 0.01; done`)
	if err := c.Output.Await(ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	carry := func(says string) *tunnel.Tunnel {
		t.Helper()
		stream, err := c.Carry(port)
		if err != nil {
			t.Fatal(err)
		}
		tn := tunnel.New(stream, func(c *tunnel.Conn) {
			fmt.Fprintf(c, "%s of %d", says, c.Port)
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		})
		t.Cleanup(func() { tn.Close() })
		return tn
	}
	first := carry("first")
	eventually(t, "the first one answers", func() bool { return asks(port) == "first of "+port })
	if err := c.Output.Await(ctx, "ended", 1); err != nil {
		t.Fatal("the application still runs: ", err)
	}
	eventually(t, "nothing is left of the application", func() bool { return len(c.Descendants()) == 0 })
	cl := dial(t, c)
	if cl.welcome.Process.Phase != protocol.PhaseAside {
		t.Errorf("phase %v", cl.welcome.Process.Phase)
	}

	// What is synced meanwhile starts nothing.
	cl.done(cl.batch(t.TempDir(), &protocol.End{Restart: true}, put("x", "1")))

	// A newer one takes over: the stream of the older one may be dead.
	second := carry("second")
	eventually(t, "the second one answers", func() bool { return asks(port) == "second of "+port })
	<-first.Done()

	second.Close()
	if err := c.Output.Await(ctx, "started", 2); err != nil {
		t.Fatal("the application was not started again: ", err)
	}
	if said := asks(port); said != "" {
		t.Errorf("the port still answers: %q", said)
	}
	c.Cmd.Process.Signal(syscall.SIGTERM)
	if got := c.Wait(); got != 0 {
		t.Errorf("exit code %d", got)
	}
}

// TestCarryWithoutPorts: the application ends also where nothing listens in its place.
func TestCarryWithoutPorts(t *testing.T) {
	ctx := bounded(t)
	c := agenttest.StartLimited(t, quick, "sh", "-c", `trap 'echo ended; exit 0' TERM; sleep 1000 & echo started; while :; do sleep 0.01; done`)
	if err := c.Output.Await(ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	stream, err := c.Carry()
	if err != nil {
		t.Fatal(err)
	}
	tn := tunnel.New(stream, nil)
	defer tn.Close()
	if err := c.Output.Await(ctx, "ended", 1); err != nil {
		t.Fatal("the application still runs: ", err)
	}
}

// TestCarryEndsWithTheContainer: the container can be ended while another program
// stands in for the application.
func TestCarryEndsWithTheContainer(t *testing.T) {
	port := freePort(t)
	c := agenttest.StartLimited(t, quick, "sleep", "1000")
	stream, err := c.Carry(port)
	if err != nil {
		t.Fatal(err)
	}
	tn := tunnel.New(stream, func(c *tunnel.Conn) { _, _ = c.Write([]byte("here")) })
	defer tn.Close()
	eventually(t, "it answers", func() bool { return asks(port) == "here" })
	c.Cmd.Process.Signal(syscall.SIGTERM)
	if got := c.Wait(); got != 143 {
		t.Errorf("exit code %d", got)
	}
	<-tn.Done()
}

func TestCarryWithoutAnApplication(t *testing.T) {
	c := agenttest.Alone(t)
	stream, err := c.Carry(freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if said, err := io.ReadAll(stream); len(said) > 0 || err != nil {
		t.Errorf("%q, %v", said, err)
	}
	eventually(t, "it says why", func() bool { return c.Output.String() != "" })
}
