//go:build unix

package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kdev-io/kdev/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unit is what both kinds have in common.
type unit interface {
	Run(ctx context.Context)
	Ask()
	Status() Status
}

// A stand runs a unit and hears of its changes.
type stand struct {
	t       *testing.T
	dir     string
	changed chan struct{}
	stop    func()
	unit    unit

	mu    sync.Mutex
	lines []string
	heard chan struct{}
}

func (s *stand) options(script string) Options {
	return Options{
		Command: process.Command{Args: []string{"sh", "-c", script}, Dir: s.dir},
		Changed: func() { signal(s.changed) },
		Output: func(line string) {
			s.mu.Lock()
			s.lines = append(s.lines, line)
			s.mu.Unlock()
			signal(s.heard)
		},
		Again: time.Millisecond,
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func newStand(t *testing.T, make_ func(s *stand) unit) *stand {
	t.Helper()
	s := &stand{t: t, dir: t.TempDir(), changed: make(chan struct{}, 1), heard: make(chan struct{}, 1)}
	s.unit = make_(s)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { s.unit.Run(ctx) })
	s.stop = func() { cancel(); work.Wait() }
	t.Cleanup(s.stop)
	return s
}

// until waits for a status.
func (s *stand) until(what string, ok func(Status) bool) Status {
	s.t.Helper()
	for {
		st := s.unit.Status()
		if ok(st) {
			return st
		}
		select {
		case <-s.changed:
		case <-time.After(30 * time.Second):
			s.t.Fatalf("not %s: %+v", what, st)
		}
	}
}

// says waits for a line of the output.
func (s *stand) says(line string) {
	s.t.Helper()
	for {
		s.mu.Lock()
		text := strings.Join(s.lines, "\n")
		s.mu.Unlock()
		if strings.Contains(text, line) {
			return
		}
		select {
		case <-s.heard:
		case <-time.After(30 * time.Second):
			s.t.Fatalf("no line %q:\n%s", line, text)
		}
	}
}

// gone waits until no process has this number.
func gone(t *testing.T, pid string) {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(pid, &n); err != nil || n < 2 {
		t.Fatalf("%q is no process", pid)
	}
	for deadline := time.Now().Add(30 * time.Second); syscall.Kill(n, 0) == nil; {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n)); err == nil && strings.Contains(string(b), ") Z ") {
			return // dead; whoever inherited it has not asked yet
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", n)
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *stand) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (s *stand) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func TestGeneratorRunsFailsAndHeals(t *testing.T) {
	s := newStand(t, func(s *stand) unit { return NewGenerator(s.options("cat in && cp in out")) })
	s.unit.Ask()
	st := s.until("failed", func(st Status) bool { return st.Phase == Failed })
	var f *process.Failure
	if st.Exit == nil || *st.Exit != 1 || !errors.As(st.Err, &f) || len(f.Tail) == 0 || len(st.Lines) == 0 {
		t.Errorf("failed as %+v, %v", st, st.Err)
	}
	s.write("in", "one\n")
	s.unit.Ask()
	st = s.until("ready", func(st Status) bool { return st.Phase == Ready })
	if st.Run != 2 || *st.Exit != 0 || st.Err != nil || st.Started.IsZero() || st.Ended.Before(st.Started) || s.read("out") != "one" {
		t.Errorf("ended as %+v with %q", st, s.read("out"))
	}
	s.says("one")
}

// TestGeneratorIsSuperseded: a newer change kills the run under way with all that
// it started, before the next one begins.
func TestGeneratorIsSuperseded(t *testing.T) {
	s := newStand(t, func(s *stand) unit {
		return NewGenerator(s.options(`
			[ -e second ] && { echo again; exit 0; }
			trap "" TERM; sleep 300 & echo $! > child; echo $$ > parent; echo started; wait`))
	})
	s.unit.Ask()
	s.says("started")
	s.write("second", "")
	s.unit.Ask()
	if st := s.unit.Status(); st.Phase != Running {
		t.Errorf("asked for, it is %s", st.Phase)
	}
	st := s.until("ready", func(st Status) bool { return st.Phase == Ready })
	if st.Run != 2 {
		t.Errorf("run %d", st.Run)
	}
	gone(t, s.read("child"))
	gone(t, s.read("parent"))
}

func TestGeneratorThatCannotStart(t *testing.T) {
	s := newStand(t, func(s *stand) unit {
		o := s.options("")
		o.Command.Args = []string{"./missing"}
		return NewGenerator(o)
	})
	s.unit.Ask()
	if st := s.until("failed", func(st Status) bool { return st.Phase == Failed }); st.Err == nil || st.Exit != nil {
		t.Errorf("%+v", st)
	}
}

func TestServerLogCheckAndStop(t *testing.T) {
	s := newStand(t, func(s *stand) unit {
		return NewServer(s.options(`
			sleep 300 & echo $! > child
			trap 'echo bye; exit 0' TERM
			echo starting; while [ ! -e go ]; do sleep 0.01; done; echo listening on 80; wait`), Check{Log: regexp.MustCompile("listening")})
	})
	if st := s.unit.Status(); st.Phase != Idle {
		t.Errorf("before it was asked for it is %s", st.Phase)
	}
	s.unit.Ask()
	s.says("starting")
	if st := s.unit.Status(); st.Phase != Running {
		t.Errorf("before its line it is %s", st.Phase)
	}
	s.write("go", "")
	st := s.until("ready", func(st Status) bool { return st.Phase == Ready })
	if st.PID == 0 || st.Run != 1 {
		t.Errorf("%+v", st)
	}
	s.stop()
	s.says("bye")
	gone(t, s.read("child"))
	if st := s.unit.Status(); st.Phase != Idle || st.PID != 0 || *st.Exit != 0 {
		t.Errorf("stopped as %+v", st)
	}
}

// TestServerThatIgnoresTheSignal is killed after the grace.
func TestServerThatIgnoresTheSignal(t *testing.T) {
	s := newStand(t, func(s *stand) unit {
		o := s.options(`trap "" TERM; echo up; while :; do sleep 300; done`)
		o.Grace = time.Millisecond
		return NewServer(o, Check{Log: regexp.MustCompile("up")})
	})
	s.unit.Ask()
	s.until("ready", func(st Status) bool { return st.Phase == Ready })
	s.stop()
	if st := s.unit.Status(); *st.Exit != 128+9 {
		t.Errorf("exit code %d", *st.Exit)
	}
}

// TestServerEndsAndIsStartedAgain: its end is a failure with its code, and it comes
// back by itself.
func TestServerEndsAndIsStartedAgain(t *testing.T) {
	s := newStand(t, func(s *stand) unit {
		o := s.options(`echo here; [ -e fixed ] || exit 7; exec sleep 300`)
		o.Again = 20 * time.Millisecond
		return NewServer(o, Check{})
	})
	s.unit.Ask()
	st := s.until("failed", func(st Status) bool { return st.Phase == Failed })
	if *st.Exit != 7 || st.Again == 0 || st.Err == nil {
		t.Errorf("ended as %+v", st)
	}
	s.write("fixed", "")
	st = s.until("ready again", func(st Status) bool { return st.Phase == Ready && st.Restarts > 0 && st.Run > 1 && s.lives(st) })
	if st.Err != nil {
		t.Errorf("%+v", st)
	}
}

// lives says whether the process runs the last line of its script: without a check
// one that is about to end is ready too.
func (s *stand) lives(st Status) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", st.PID))
	return strings.HasPrefix(string(b), "sleep") || signalAgain(s.changed)
}

// signalAgain asks for another look.
func signalAgain(ch chan struct{}) bool {
	signal(ch)
	return false
}

// TestServerIsReplaced: asked for again, the old one has ended before the new one
// is started.
func TestServerIsReplaced(t *testing.T) {
	s := newStand(t, func(s *stand) unit {
		return NewServer(s.options(`mkdir lock || exit 9; trap 'rmdir lock; exit 0' TERM; echo up; while :; do sleep 0.01; done`), Check{Log: regexp.MustCompile("up")})
	})
	s.unit.Ask()
	for run := 1; run < 4; run++ {
		st := s.until("ready", func(st Status) bool { return st.Phase == Ready && st.Run == run })
		if st.Restarts != 0 {
			t.Errorf("%+v", st)
		}
		s.unit.Ask()
		if st := s.unit.Status(); st.Phase != Running {
			t.Errorf("asked for again, it is %s", st.Phase)
		}
	}
	s.until("ready", func(st Status) bool { return st.Phase == Ready && st.Run == 4 })
	s.unit.(*Server).Halt()
	s.until("idle", func(st Status) bool { return st.Phase == Idle && st.PID == 0 })
}

// TestServerChecks: an address that answers makes it ready, one that another
// program answers at keeps it from being started.
func TestServerChecks(t *testing.T) {
	for _, kind := range []string{"http", "port"} {
		t.Run(kind, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			port := l.Addr().(*net.TCPAddr).Port
			check := Check{Port: port}
			if kind == "http" {
				check = Check{HTTP: fmt.Sprintf("http://127.0.0.1:%d/health", port)}
			}
			answers := func(l net.Listener) func() {
				srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
				var work sync.WaitGroup
				work.Go(func() { _ = srv.Serve(l) })
				return func() { _ = srv.Close(); work.Wait() }
			}
			close1 := answers(l)
			s := newStand(t, func(s *stand) unit { return NewServer(s.options("echo up; exec sleep 300"), check) })
			s.unit.Ask()
			st := s.until("refused", func(st Status) bool { return st.Phase == Failed })
			var taken *Taken
			if !errors.As(st.Err, &taken) {
				t.Errorf("failed with %v", st.Err)
			}
			close1()
			s.says("up")
			l, err = net.Listen("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer answers(l)()
			s.until("ready", func(st Status) bool { return st.Phase == Ready })
		})
	}
}
