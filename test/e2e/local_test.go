//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// localState is what a program may read of local work.
type localState struct {
	Ready    bool           `json:"ready"`
	Services []localService `json:"services"`
}

type localService struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	State   string   `json:"state"`
	Held    []string `json:"held"`
	Waiting *struct {
		Reason string   `json:"reason"`
		On     []string `json:"on"`
	} `json:"waiting"`
	Local *struct {
		Role     string `json:"role"`
		Runs     int    `json:"runs"`
		PID      int    `json:"pid"`
		Restarts int    `json:"restarts"`
		Exit     *int   `json:"exit"`
	} `json:"local"`
	Problem *struct {
		Code  string   `json:"code"`
		Lines []string `json:"lines"`
	} `json:"problem"`
}

// TestLocal: a generator, a server and a service that needs it, from the first
// start to the end of the session.
func TestLocal(t *testing.T) {
	const ns = "localwork"
	dir := filepath.Join(t.TempDir(), ns)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", "local"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if code, out := code(t, dir, "down", "--volumes"); code != 0 {
			t.Errorf("down: %d\n%s", code, out)
		}
	})
	says := func(args ...string) string {
		t.Helper()
		got, out := code(t, dir, args...)
		if got != 0 {
			t.Fatalf("kdev %s: exit code %d\n%s", strings.Join(args, " "), got, out)
		}
		return out
	}
	get := func(name string) localService {
		t.Helper()
		var st localState
		if err := json.Unmarshal([]byte(says("status", "-o", "json")), &st); err != nil {
			t.Fatal(err)
		}
		for _, s := range st.Services {
			if s.Name == name {
				return s
			}
		}
		return localService{}
	}
	until := func(name, what string, ok func(localService) bool) localService {
		t.Helper()
		var s localService
		eventually(t, name+" is "+what, func() (bool, string) {
			s = get(name)
			b, _ := json.Marshal(s)
			return ok(s), string(b)
		})
		return s
	}
	is := func(name, want string) localService {
		t.Helper()
		return until(name, want, func(s localService) bool { return s.State == want })
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(want string) {
		t.Helper()
		var p corev1.Pod
		for _, p = range pods(t, ns)["web"] {
			eventually(t, p.Name+" holds "+want, func() (bool, string) {
				b, err := inContainer(p, "/srv/out.txt")
				return err == nil && strings.TrimSpace(string(b)) == want, fmt.Sprint(string(b), err)
			})
		}
	}

	up := start(t, dir, "up")
	var first localService

	t.Run("the first start is in order", func(t *testing.T) {
		up.expect("ran: sh gen.sh")
		up.expect("building:")
		web := until("web", "waiting for mock", func(s localService) bool { return s.Waiting != nil && s.Waiting.Reason == "needs" })
		if web.State != "pending" || web.Waiting.On[0] != "mock" || len(pods(t, ns)["web"]) > 0 {
			t.Errorf("%+v with %d pods", web, len(pods(t, ns)["web"]))
		}
		if mock := get("mock"); mock.Kind != "process" || mock.State != "progressing" || mock.Waiting.Reason != "process" || mock.Local.Role != "serve" || mock.Local.PID == 0 {
			t.Errorf("%+v", mock)
		}
		write("go", "")
		up.expect("everything is ready")
		first = is("mock", "ready")
		holds("made of one")
		for _, line := range []string{"local/gen", "generating", "local/mock", "listening"} {
			if !strings.Contains(up.text(), line) {
				t.Errorf("no %q among the lines", line)
			}
		}
	})

	t.Run("a save runs the generator, and what it makes is synced", func(t *testing.T) {
		write("in/source.txt", "two\n")
		holds("made of two")
		if gen := is("gen", "ready"); gen.Local.Runs != 2 || gen.Local.Role != "run" {
			t.Errorf("%+v", gen.Local)
		}
	})

	t.Run("a failure holds up nothing that runs, and the next save heals it", func(t *testing.T) {
		write("in/source.txt", "broken\n")
		gen := is("gen", "failed")
		if gen.Problem == nil || gen.Problem.Code != "generator-failed" || !strings.Contains(strings.Join(gen.Problem.Lines, " "), "in/source.txt:1: it is broken") || *gen.Local.Exit != 3 {
			t.Errorf("%+v %+v", gen.Problem, gen.Local)
		}
		is("web", "ready")
		if out := says("status"); !strings.Contains(out, "it is broken") {
			t.Errorf("status:\n%s", out)
		}
		write("in/source.txt", "three\n")
		is("gen", "ready")
		holds("made of three")
	})

	t.Run("an image waits for a generator that failed", func(t *testing.T) {
		write("in/source.txt", "broken\n")
		is("gen", "failed")
		edit(t, filepath.Join(dir, "web", "Dockerfile"), "WORKDIR /srv", "ENV X=1\nWORKDIR /srv")
		until("web", "waiting for gen", func(s localService) bool { return s.Waiting != nil && s.Waiting.Reason == "generator" })
		write("in/source.txt", "four\n")
		is("web", "ready")
		holds("made of four")
	})

	t.Run("pause and trigger", func(t *testing.T) {
		says("pause", "gen")
		write("in/source.txt", "five\n")
		until("gen", "holding a path", func(s localService) bool { return s.State == "paused" && len(s.Held) == 1 })
		says("resume", "gen")
		holds("made of five")
		runs := is("gen", "ready").Local.Runs
		says("trigger", "gen")
		until("gen", "run once more", func(s localService) bool { return s.State == "ready" && s.Local.Runs == runs+1 })
	})

	t.Run("a server that ends is started again", func(t *testing.T) {
		write("die", "")
		up.expect("ended with exit code 7")
		mock := until("mock", "back", func(s localService) bool { return s.State == "ready" && s.Local.Restarts == 1 })
		if mock.Local.PID == first.Local.PID {
			t.Error("it is the same process")
		}
		is("web", "ready")
	})

	t.Run("a server is restarted by hand and by a save", func(t *testing.T) {
		runs := get("mock").Local.Runs
		says("trigger", "mock", "restart")
		until("mock", "restarted", func(s localService) bool { return s.State == "ready" && s.Local.Runs == runs+1 })
		edit(t, filepath.Join(dir, "mock.sh"), "echo starting", "echo starting anew")
		up.expect("starting anew")
		until("mock", "restarted", func(s localService) bool { return s.State == "ready" && s.Local.Runs == runs+2 })
	})

	t.Run("start: manual", func(t *testing.T) {
		if spare := get("spare"); spare.State != "stopped" || spare.Local.PID != 0 {
			t.Errorf("%+v", spare)
		}
		says("trigger", "spare")
		is("spare", "ready")
	})

	t.Run("a generator that makes what it reads", func(t *testing.T) {
		const told = "clock/now.txt changes each time that it runs"
		eventually(t, "it is told", func() (bool, string) { return strings.Contains(up.text(), told), up.text() })
		runs := is("clock", "ready").Local.Runs
		write("clock/other.txt", "of a person\n")
		until("clock", "run for a person", func(s localService) bool { return s.State == "ready" && s.Local.Runs > runs })
		if n := strings.Count(up.text(), told); n != 1 {
			t.Errorf("told %d times", n)
		}
	})

	var mock localService
	t.Run("a saved kdev.yaml restarts nothing that it does not change", func(t *testing.T) {
		was := is("mock", "ready")
		edit(t, filepath.Join(dir, "kdev.yaml"), "needs: [mock]", "needs: [mock]\n    ports: [\"18992:8080\"]")
		up.expect("the saved configuration is being applied")
		up.expect("everything is ready")
		if mock = is("mock", "ready"); mock.Local.PID != was.Local.PID {
			t.Errorf("process %d became %d", was.Local.PID, mock.Local.PID)
		}
	})

	t.Run("no generator runs for ever", func(t *testing.T) {
		// At the start and for the person's save, each with the three in a row that its own
		// writing may cause (docs/decisions.md).
		if runs := get("clock").Local.Runs; runs > 2*(1+3) {
			t.Errorf("clock ran %d times", runs)
		}
	})

	t.Run("processes end with the session", func(t *testing.T) {
		if got := up.interrupt(); got != 130 {
			t.Errorf("exit code %d", got)
		}
		if !strings.Contains(up.text(), "ending") {
			t.Error("the server was not asked to end")
		}
		if err := syscall.Kill(mock.Local.PID, 0); err == nil {
			t.Errorf("process %d is still there", mock.Local.PID)
		}
	})
}
