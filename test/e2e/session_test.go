//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// state is what a program may read of `kdev status --output json`.
type state struct {
	APIVersion string `json:"apiVersion"`
	Session    bool   `json:"session"`
	Services   []struct {
		Name    string   `json:"name"`
		State   string   `json:"state"`
		Held    []string `json:"held"`
		Scaled  *int     `json:"scaled"`
		Desired int      `json:"desired"`
		URLs    []string `json:"urls"`
	} `json:"services"`
}

// TestSession sends every command to a session that runs.
func TestSession(t *testing.T) {
	const ns = "session"
	dir := filepath.Join(t.TempDir(), ns)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", ns))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if code, out := code(t, dir, "down", "--volumes"); code != 0 {
			t.Errorf("down: %d\n%s", code, out)
		}
	})
	const url = "http://127.0.0.1:18991/page.txt"
	page := filepath.Join(dir, "web", "srv", "page.txt")
	save := func(text string) {
		t.Helper()
		was, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		edit(t, page, string(was), text+"\n")
	}
	says := func(args ...string) string {
		t.Helper()
		got, out := code(t, dir, args...)
		if got != 0 {
			t.Fatalf("kdev %s: exit code %d\n%s", strings.Join(args, " "), got, out)
		}
		return out
	}
	status := func() state {
		t.Helper()
		var st state
		if err := json.Unmarshal([]byte(says("status", "-o", "json")), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	is := func(service, want string) {
		t.Helper()
		eventually(t, service+" is "+want, func() (bool, string) {
			for _, s := range status().Services {
				if s.Name == service {
					return s.State == want, s.State
				}
			}
			return false, "unknown"
		})
	}
	holds := func(p corev1.Pod, want string) {
		t.Helper()
		eventually(t, p.Name+" holds "+want, func() (bool, string) {
			b, err := inContainer(p, "/srv/page.txt")
			return err == nil && strings.TrimSpace(string(b)) == want, fmt.Sprint(string(b), err)
		})
	}

	if out := says("status"); !strings.Contains(out, "nothing of it is deployed") {
		t.Errorf("status before the first up:\n%s", out)
	}
	if got, out := code(t, dir, "trigger", "web"); got != 1 || !strings.Contains(out, "kdev up") {
		t.Errorf("a command without a session: exit code %d\n%s", got, out)
	}
	up := start(t, dir, "up")
	up.expect("everything is ready")

	t.Run("status", func(t *testing.T) {
		st := status()
		if st.APIVersion != "kdev.dev/v1" || !st.Session || len(st.Services) != 4 {
			t.Errorf("%+v", st)
		}
		is("web", "ready")
		is("spare", "stopped")
		if out := says("status"); !strings.Contains(out, "http://localhost:18991") || !strings.Contains(out, "spare waits for `kdev trigger spare`") {
			t.Errorf("text:\n%s", out)
		}
	})

	t.Run("a service with start: manual", func(t *testing.T) {
		says("trigger", "spare")
		is("spare", "ready")
	})

	t.Run("pause, a pod that starts meanwhile, resume", func(t *testing.T) {
		up.mark()
		save("second")
		up.expect("synced srv/page.txt")
		says("pause", "web")
		save("third")
		eventually(t, "the path is held", func() (bool, string) {
			for _, s := range status().Services {
				if s.Name == "web" {
					return s.State == "paused" && len(s.Held) == 1, fmt.Sprintf("%+v", s)
				}
			}
			return false, "unknown"
		})
		old := pods(t, ns)["web"][0]
		holds(old, "second")
		if err := api.CoreV1().Pods(ns).Delete(t.Context(), old.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		up.expect("gets the files that the others have")
		var fresh corev1.Pod
		eventually(t, "another pod runs", func() (bool, string) {
			for _, p := range pods(t, ns)["web"] {
				if p.UID != old.UID && p.Status.Phase == corev1.PodRunning {
					fresh = p
					return true, ""
				}
			}
			return false, "without one"
		})
		holds(fresh, "second")
		is("web", "paused")
		says("resume", "web")
		holds(fresh, "third")
		is("web", "ready")
	})

	t.Run("trigger", func(t *testing.T) {
		before := identities(t, ns)
		up.mark()
		if out := says("trigger", "web", "sync"); !strings.Contains(out, "holds what the tree holds") {
			t.Errorf("sync: %s", out)
		}
		says("trigger", "web", "restart")
		up.expect("process restarted in")
		same(t, before, identities(t, ns))
		says("trigger", "tool", "build")
		up.expect("building: asked for")
		says("trigger", "web", "deploy")
		up.expect("objects unchanged")
		if got, out := code(t, dir, "trigger", "webb"); got != 2 || !strings.Contains(out, "there are:") {
			t.Errorf("an unknown service: exit code %d\n%s", got, out)
		}
	})

	t.Run("events", func(t *testing.T) {
		codes := map[string]int{}
		for line := range strings.Lines(says("events", "-o", "json")) {
			var e struct{ APIVersion, Code, Service, Time, Text, Level string }
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if e.APIVersion != "kdev.dev/v1" || e.Time == "" || e.Level == "" || e.Text == "" {
				t.Errorf("incomplete: %s", line)
			}
			codes[e.Code]++
		}
		for _, want := range []string{"rendered", "build-done", "applied", "service-ready", "ready", "synced", "restarted", "started-behind"} {
			if codes[want] == 0 {
				t.Errorf("no event %s among %v", want, codes)
			}
		}
	})

	t.Run("forward", func(t *testing.T) {
		for what, port := range map[string]string{"web": "18993", "deployment/web": "18994", pods(t, ns)["web"][0].Name: "18995"} {
			if out := says("forward", what, port+":8080"); !strings.Contains(out, port) {
				t.Errorf("%s: %s", what, out)
			}
			if text, err := get(strings.Replace(url, "18991", port, 1)); err != nil || strings.TrimSpace(text) != "third" {
				t.Errorf("%s at %s: %q, %v", what, port, text, err)
			}
		}
		if got, out := code(t, dir, "forward", "web/2", "18996:8080"); got != 2 {
			t.Errorf("no such thing: %d %s", got, out)
		}
	})

	t.Run("scale", func(t *testing.T) {
		says("scale", "web", "2")
		eventually(t, "two pods", func() (bool, string) { return len(pods(t, ns)["web"]) == 2, fmt.Sprint(len(pods(t, ns)["web"])) })
		is("web", "ready")
		for _, p := range pods(t, ns)["web"] {
			holds(p, "third")
		}
		says("scale", "web", "1")
	})

	t.Run("a build of one service holds up no other", func(t *testing.T) {
		write := func(seconds string) {
			t.Helper()
			was, err := os.ReadFile(filepath.Join(dir, "slow", "seconds"))
			if err != nil {
				t.Fatal(err)
			}
			edit(t, filepath.Join(dir, "slow", "seconds"), string(was), seconds+"\n")
		}
		write("600")
		is("slow", "building")
		for i := range 10 {
			up.mark()
			save(fmt.Sprint("while it builds ", i))
			up.expect("synced srv/page.txt")
		}
		is("slow", "building")
		var took []float64
		for line := range strings.Lines(says("events", "-o", "json")) {
			var e struct {
				Code   string
				TookMs float64
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Code == "synced" {
				took = append(took, e.TookMs)
			}
		}
		t.Logf("synced, in ms, the last ten beside a build: %v", took)
		write("0")
		is("slow", "ready")
		up.mark()
		save("third")
		up.expect("synced srv/page.txt")
	})

	t.Run("exec", func(t *testing.T) {
		if out := says("exec", "web", "--", "cat", "/srv/page.txt"); strings.TrimSpace(out) != "third" {
			t.Errorf("cat: %q", out)
		}
		if got, _ := code(t, dir, "exec", "web", "--", "sh", "-c", "exit 7"); got != 7 {
			t.Errorf("exit code %d, want the command's", got)
		}
		if got, out := code(t, dir, "exec", "nobody"); got != 125 || !strings.Contains(out, "there are:") {
			t.Errorf("an unknown service: exit code %d\n%s", got, out)
		}
		if got := typed(t, dir, "cat page.txt; exit 3\n", 3, "exec", "web"); !strings.Contains(got, "third") {
			t.Errorf("a shell said %q", got)
		}
		// The image has no shell: one beside it, as the same user, that sees its process.
		got := typed(t, dir, "id -u; ls /proc/1/root/.kdev; cat /proc/1/status\n", 0, "exec", "tool", "--image", "python:3-slim")
		if !strings.Contains(got, "4321") || !strings.Contains(got, "agent") {
			t.Errorf("the shell beside it said %q", got)
		}
	})

	t.Run("open", func(t *testing.T) {
		if out := says("open", "--print"); strings.TrimSpace(out) != "http://localhost:18991" {
			t.Errorf("the URL is %q", out)
		}
		if got, out := code(t, dir, "open", "tool"); got != 1 || !strings.Contains(out, "ports") {
			t.Errorf("a service without a port: exit code %d\n%s", got, out)
		}
	})

	t.Run("a saved kdev.yaml", func(t *testing.T) {
		before := identities(t, ns)
		file := filepath.Join(dir, "kdev.yaml")
		up.mark()
		edit(t, file, `ports: ["18991:8080"]`, `portz: ["18991:8080"]`)
		up.expect("the saved configuration has a mistake")
		up.expect("kdev.yaml:4")
		edit(t, file, `portz: ["18991:8080"]`, `ports: ["18991:8080", "18992:8080"]`)
		up.expect("the saved configuration is being applied")
		for _, at := range []string{url, strings.Replace(url, "18991", "18992", 1)} {
			eventually(t, at+" answers", func() (bool, string) {
				body, err := get(at)
				return err == nil && strings.TrimSpace(body) == "third", fmt.Sprint(body, err)
			})
		}
		is("web", "ready")
		is("spare", "ready")
		same(t, before, identities(t, ns))
		up.mark()
		save("third, again")
		up.expect("synced srv/page.txt")
	})

	t.Run("a second up joins", func(t *testing.T) {
		second := start(t, dir, "up")
		second.expect("joined the kdev up that runs")
		second.mark()
		save("fourth")
		second.expect("synced srv/page.txt")
		if body, err := get(url); err != nil || strings.TrimSpace(body) != "fourth" {
			t.Errorf("the page: %q %v", body, err)
		}
		second.expect("GET /page.txt") // the pods' lines too
		if got := second.interrupt(); got != 130 {
			t.Errorf("leaving: exit code %d", got)
		}
		is("web", "ready")
		if got, out := code(t, dir, "up", "--until", "ready"); got != 0 {
			t.Errorf("up --until ready, joined: exit code %d\n%s", got, out)
		}
	})

	t.Run("stop", func(t *testing.T) {
		says("stop")
		<-up.done
		if got := up.cmd.ProcessState.ExitCode(); got != 0 {
			t.Errorf("the session ended with exit code %d", got)
		}
		if st := status(); st.Session || len(st.Services) != 4 {
			t.Errorf("status from the cluster: %+v", st)
		}
		is("web", "ready")
	})

	t.Run("in the background", func(t *testing.T) {
		before := identities(t, ns)
		says("up", "--detach", "--until", "ready", "web")
		same(t, before, identities(t, ns))
		is("web", "ready")
		attached := start(t, dir, "attach")
		attached.expect("joined the kdev up that runs")
		attached.mark()
		save("fifth")
		attached.expect("synced srv/page.txt")
		if got := attached.interrupt(); got != 130 {
			t.Errorf("leaving: exit code %d", got)
		}
		if out := says("up", "-d"); !strings.Contains(out, "it is up already") {
			t.Errorf("a second one: %s", out)
		}
		if out := says("down"); !strings.Contains(out, "ended the kdev up in the background") || !strings.Contains(out, "removed") {
			t.Errorf("down: %s", out)
		}
	})

	t.Run("a dashboard of a session in the background", func(t *testing.T) {
		says("up", "--detach", "--until", "ready", "web")
		p := newPane(t, dir, 120, 40)
		p.runs(kdevBinary + " attach")
		p.until("its services", func(s string) bool { return row(s, "web", "ready") && strings.Contains(s, "[1 logs]") })
		save("sixth")
		p.sees("the way of a change, and the pods' lines", "web srv/page.txt saved", "acknowledged")
		if body, err := get(url); err != nil || strings.TrimSpace(body) != "sixth" {
			t.Errorf("the page: %q %v", body, err)
		}
		p.sees("a line of the pod", "GET /page.txt")
		p.press("G")
		p.until("web is selected", selected("web"))
		p.press("p")
		p.until("paused", func(s string) bool { return row(s, "web", "paused") })
		is("web", "paused")
		p.press("p")
		p.until("ready again", func(s string) bool { return row(s, "web", "ready") })
		p.press("s")
		p.sees("a shell", "a shell in web-", "#")
		p.runs("echo from $HOSTNAME; exit")
		p.until("back at the dashboard", func(s string) bool { return row(s, "web", "ready") && strings.Contains(s, "the shell has ended") })
		p.press("q")
		p.sees("it is left", "left; the session goes on")
		is("web", "ready")
		p.runs("clear; " + kdevBinary + " attach")
		p.until("its services again", func(s string) bool { return row(s, "web", "ready") })
		p.press(":")
		p.types("remove")
		p.press("Enter")
		p.sees("a question", "Remove session from namespace session?")
		p.press("y")
		p.sees("its end", "the session has ended")
		eventually(t, "nothing is left", func() (bool, string) {
			left := objects(t, ns)
			return len(left) == 0, strings.Join(left, " ")
		})
	})
}

// typed runs a command with input and returns what it printed.
func typed(t *testing.T, dir, input string, want int, args ...string) string {
	t.Helper()
	cmd := exec.Command(kdevBinary, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, environ, strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // its code is looked at
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("kdev %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, want, out.String())
	}
	return out.String()
}
