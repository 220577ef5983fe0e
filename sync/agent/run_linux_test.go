package agent_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/agent"
	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/protocol"
)

// quick starts without a wait for kdev.
var quick = agent.Limits{Call: time.Millisecond}

// patient waits for the first batch as long as the test lasts.
var patient = agent.Limits{Call: time.Minute, Gate: time.Minute}

func TestExitCodes(t *testing.T) {
	noExec := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(noExec, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		argv []string
		want int
	}{
		{"zero", []string{"true"}, 0},
		{"a code", []string{"sh", "-c", "exit 7"}, 7},
		{"killed", []string{"sh", "-c", "kill -KILL $$"}, 137},
		{"terminated", []string{"sh", "-c", "kill -TERM $$"}, 143},
		{"aborted", []string{"sh", "-c", "kill -ABRT $$"}, 134},
		{"not found", []string{"no-such-program"}, 127},
		{"not found, with a path", []string{"/no/such/program"}, 127},
		{"not executable", []string{noExec}, 126},
		{"nothing", nil, 127},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := agenttest.StartLimited(t, quick, tt.argv...).Wait(); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	ctx := bounded(t)
	c := agenttest.StartLimited(t, quick, "sh", "-c",
		`for s in HUP USR1 USR2 WINCH INT QUIT; do trap "echo got $s" $s; done; trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done`)
	if err := c.Output.Await(ctx, "ready", 1); err != nil {
		t.Fatal(err)
	}
	for sig, name := range map[syscall.Signal]string{
		syscall.SIGHUP: "HUP", syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2", syscall.SIGWINCH: "WINCH", syscall.SIGINT: "INT", syscall.SIGQUIT: "QUIT",
	} {
		c.Signal(sig)
		if err := c.Output.Await(ctx, "got "+name, 1); err != nil {
			t.Fatal(err)
		}
	}
	c.Signal(syscall.SIGTERM)
	if got := c.Wait(); got != 3 || !strings.Contains(c.Output.String(), "bye") {
		t.Errorf("exit code %d, output %q", got, c.Output)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	ctx := bounded(t)
	// The inner shell ends at once, so its background process becomes ours.
	c := agenttest.StartLimited(t, quick, "sh", "-c", `sh -c 'sleep 0.01 & echo orphan'; echo ready; exec sleep 1000`)
	if err := c.Output.Await(ctx, "ready", 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "only the application is left", func() bool {
		left := c.Descendants()
		return len(left) == 1
	})
}

func TestRestartInPlace(t *testing.T) {
	ctx := bounded(t)
	c := agenttest.StartLimited(t, quick, "sh", "-c", `trap 'echo stopping; exit 0' TERM; sleep 1000 & echo "started $$ with $!"; while :; do sleep 0.01; done`)
	if err := c.Output.Await(ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	before := c.Cmd.Process.Pid
	cl := dial(t, c)
	if !cl.welcome.Run || cl.welcome.Process.Phase != protocol.PhaseRunning || cl.welcome.Process.Starts != 1 {
		t.Fatalf("welcome %+v", cl.welcome)
	}
	cl.done(cl.batch(t.TempDir(), &protocol.End{Restart: true}, put("x", "1")))
	if n := cl.notice(protocol.NoticeStarted); n.Process.Starts != 2 || n.Generation != 1 {
		t.Errorf("notice %+v", n)
	}
	if err := c.Output.Await(ctx, "started", 2); err != nil {
		t.Fatal(err)
	}
	if c.Cmd.Process.Pid != before || !strings.Contains(c.Output.String(), "stopping") {
		t.Errorf("the application was not asked to stop: %q", c.Output)
	}
	// What the first run left in the background went with it.
	first := strings.Fields(strings.SplitN(c.Output.String(), "with ", 2)[1])[0]
	if _, err := os.Stat("/proc/" + first); err == nil {
		t.Errorf("process %s of the first run is still there", first)
	}
	c.Signal(syscall.SIGTERM)
	if got := c.Wait(); got != 0 {
		t.Errorf("exit code %d", got)
	}
}

func TestRestartOfOneThatDoesNotListen(t *testing.T) {
	ctx := bounded(t)
	limits := quick
	limits.Grace = 20 * time.Millisecond
	c := agenttest.StartLimited(t, limits, "sh", "-c", `trap '' TERM; echo started; while :; do sleep 0.01; done`)
	if err := c.Output.Await(ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	cl := dial(t, c)
	cl.send(&protocol.Command{Restart: true})
	cl.notice(protocol.NoticeStarted)
	if err := c.Output.Await(ctx, "started", 2); err != nil {
		t.Fatal(err)
	}
}

// failing is an application that ends with the code in a file, or goes on.
const failing = `echo started; code=$(cat "$0/code" 2>/dev/null); [ -z "$code" ] || { echo "failing $code"; exit "$code"; }; exec sleep 1000`

func TestHold(t *testing.T) {
	ctx := bounded(t)
	dir := t.TempDir()
	c := agenttest.StartLimited(t, quick, "sh", "-c", failing, dir)
	if err := c.Output.Await(ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	cl := dial(t, c)
	restart := &protocol.End{Restart: true, Hold: true}
	cl.done(cl.batch(dir, restart, put("code", "9")))
	if n := cl.notice(protocol.NoticeHeld); n.Process.Phase != protocol.PhaseHeld || n.Process.ExitCode != 9 || n.Generation != 1 {
		t.Fatalf("notice %+v", n)
	}
	// A change that no rule names starts it all the same: it may be the cure.
	cl.done(cl.batch(dir, nil, put("code", "")))
	if n := cl.notice(protocol.NoticeStarted); n.Process.Phase != protocol.PhaseRunning {
		t.Fatalf("notice %+v", n)
	}
	cl.done(cl.batch(dir, restart, put("code", "8")))
	cl.notice(protocol.NoticeHeld)
	c.Signal(syscall.SIGHUP) // means nothing to nobody
	c.Signal(syscall.SIGTERM)
	if got := c.Wait(); got != 8 {
		t.Errorf("exit code %d, want that of the application", got)
	}
}

func TestNotHeld(t *testing.T) {
	tests := []struct {
		name   string
		limits agent.Limits
		hold   bool
		code   string
		want   int
	}{
		{"not allowed", quick, false, "9", 9},
		{"too late", agent.Limits{Call: time.Millisecond, Hold: time.Nanosecond}, true, "9", 9},
		{"success", quick, true, "0", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			c := agenttest.StartLimited(t, tt.limits, "sh", "-c", failing, dir)
			if err := c.Output.Await(bounded(t), "started", 1); err != nil {
				t.Fatal(err)
			}
			cl := dial(t, c)
			cl.batch(dir, &protocol.End{Restart: true, Hold: tt.hold}, put("code", tt.code))
			if n := cl.notice(protocol.NoticeExited); n.Process.ExitCode != int64(tt.want) {
				t.Errorf("notice %+v", n)
			}
			if got := c.Wait(); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
	t.Run("killed from outside", func(t *testing.T) {
		ctx := bounded(t)
		c := agenttest.StartLimited(t, quick, "sh", "-c", `echo "pid $$"; exec sleep 1000`)
		if err := c.Output.Await(ctx, "pid", 1); err != nil {
			t.Fatal(err)
		}
		cl := dial(t, c)
		cl.batch(t.TempDir(), &protocol.End{Restart: true, Hold: true})
		cl.notice(protocol.NoticeStarted)
		if err := c.Output.Await(ctx, "pid", 2); err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(c.Output.String())
		pid, err := strconv.Atoi(f[len(f)-1])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // what an out-of-memory kill looks like
			t.Fatal(err)
		}
		if got := c.Wait(); got != 137 {
			t.Errorf("exit code %d, want 137", got)
		}
	})
}

func TestGate(t *testing.T) {
	t.Run("opens with the first batch", func(t *testing.T) {
		dir := t.TempDir()
		c := agenttest.StartLimited(t, patient, "sh", "-c", `cat "$0/x"; exec sleep 1000`, dir)
		cl := dial(t, c)
		if cl.welcome.Process.Phase != protocol.PhaseGate {
			t.Fatalf("welcome %+v", cl.welcome)
		}
		if c.Output.String() != "" {
			t.Errorf("it has started already: %q", c.Output)
		}
		// A restart that a rule asks for is the start itself.
		cl.done(cl.batch(dir, &protocol.End{Restart: true}, put("x", "from the sync\n")))
		if n := cl.notice(protocol.NoticeStarted); n.Process.Starts != 1 {
			t.Errorf("notice %+v", n)
		}
		if err := c.Output.Await(bounded(t), "from the sync", 1); err != nil {
			t.Fatal(err)
		}
		if again := dial(t, c); again.welcome.Unsynced || again.welcome.Process.Starts != 1 {
			t.Errorf("welcome %+v", again.welcome)
		}
	})
	t.Run("nobody comes", func(t *testing.T) {
		c := agenttest.StartLimited(t, agent.Limits{Call: time.Millisecond, Gate: time.Hour}, "sh", "-c", "echo started; exec sleep 1000")
		if err := c.Output.Await(bounded(t), "started", 1); err != nil {
			t.Fatal(err)
		}
		if cl := dial(t, c); !cl.welcome.Unsynced {
			t.Error("the start is not marked unsynced")
		}
	})
	t.Run("somebody comes and sends nothing", func(t *testing.T) {
		c := agenttest.StartLimited(t, agent.Limits{Call: time.Minute, Gate: 300 * time.Millisecond}, "sh", "-c", "echo started; exec sleep 1000")
		cl := dial(t, c)
		cl.notice(protocol.NoticeStarted)
	})
	t.Run("commands of the first batch run before the start", func(t *testing.T) {
		dir := t.TempDir()
		c := agenttest.StartLimited(t, patient, "sh", "-c", "echo started; exec sleep 1000")
		cl := dial(t, c)
		cl.batch(dir, &protocol.End{Commands: [][]string{{"sh", "-c", "echo prepared"}}})
		cl.notice(protocol.NoticeStarted)
		if err := c.Output.Await(bounded(t), "started", 1); err != nil {
			t.Fatal(err)
		}
		if out := c.Output.String(); out != "prepared\nstarted\n" {
			t.Errorf("output %q", out)
		}
	})
	t.Run("SIGTERM ends it", func(t *testing.T) {
		c := agenttest.StartLimited(t, patient, "sh", "-c", "echo started")
		dial(t, c)
		c.Signal(syscall.SIGTERM)
		if got := c.Wait(); got != 143 || c.Output.String() != "" {
			t.Errorf("exit code %d, output %q", got, c.Output)
		}
	})
}

func TestCommands(t *testing.T) {
	ctx := bounded(t)
	dir := t.TempDir()
	c := agenttest.StartLimited(t, quick, "sh", "-c", `trap 'echo reloaded' HUP; echo started; while :; do sleep 0.01; done`)
	if err := c.Output.Await(ctx, "started", 1); err != nil {
		t.Fatal(err)
	}
	cl := dial(t, c)
	cl.batch(dir, &protocol.End{Commands: [][]string{{"cat", dir + "/x"}, {"echo", "second"}}, Restart: true}, put("x", "written before\n"))
	if n := cl.notice(protocol.NoticeCommand); n.Code != 0 || n.Command[0] != "cat" {
		t.Errorf("notice %+v", n)
	}
	if n := cl.notice(protocol.NoticeCommand); n.Command[1] != "second" {
		t.Errorf("notice %+v", n)
	}
	cl.notice(protocol.NoticeStarted)
	if err := c.Output.Await(ctx, "started\nwritten before\nsecond\nstarted", 1); err != nil {
		t.Fatal(err)
	}

	cl.batch(dir, &protocol.End{Commands: [][]string{{"sh", "-c", "echo no; exit 4"}, {"echo", "never"}}, Restart: true})
	if n := cl.notice(protocol.NoticeCommand); n.Code != 4 || n.Process.Starts != 2 {
		t.Errorf("notice %+v", n)
	}
	cl.batch(dir, &protocol.End{Commands: [][]string{{"no-such-command"}}})
	if n := cl.notice(protocol.NoticeCommand); n.Code != 127 {
		t.Errorf("notice %+v", n)
	}
	cl.batch(dir, &protocol.End{Signal: uint64(syscall.SIGHUP)})
	if n := cl.notice(protocol.NoticeSignal); n.Text != "" {
		t.Errorf("notice %+v", n)
	}
	if err := c.Output.Await(ctx, "reloaded", 1); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(c.Output.String(), "never") || strings.Count(c.Output.String(), "started") != 2 {
		t.Errorf("a failed command was followed by more: %q", c.Output)
	}
}

func TestOneKdevAtATime(t *testing.T) {
	c := agenttest.StartLimited(t, quick, "sleep", "1000")
	first := dial(t, c)
	other := connect(t, c)
	if err := other.hello(&protocol.Hello{Protocol: protocol.Version, Client: [16]byte{2}}); err == nil || err.Error() != "busy" {
		t.Errorf("another kdev: %v", err)
	}
	// The same one takes over from a connection that it believes dead.
	again := dial(t, c)
	again.done(again.batch(t.TempDir(), nil))
	// What it was sent before is read first: that the application started, and signs of life.
	served := true
	for range 100 {
		if _, err := first.r.Receive(); err != nil {
			served = false
			break
		}
	}
	if served {
		t.Error("the old connection is still served")
	}
	old := connect(t, c)
	if err := old.hello(&protocol.Hello{Protocol: 99, Client: anybody}); err == nil || err.Error() != "version" {
		t.Errorf("another version: %v", err)
	}
}

func TestServeWithoutRun(t *testing.T) {
	dir := t.TempDir()
	cl := dial(t, agenttest.Alone(t))
	if cl.welcome.Run || cl.welcome.Process.Phase != protocol.PhaseNone {
		t.Errorf("welcome %+v", cl.welcome)
	}
	cl.done(cl.batch(dir, &protocol.End{Restart: true}, put("a/b", "x")))
	if got := content(t, dir, "a/b"); got != "x" {
		t.Errorf("content %q", got)
	}
}
