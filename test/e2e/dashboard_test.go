//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDashboard is an hour at the dashboard, with a person's keys and eyes: the
// steps follow each other on the same screen.
func TestDashboard(t *testing.T) {
	const ns = "dockercoins"
	dir := project(t, "dockercoins")
	unique := fmt.Sprint(time.Now().UnixNano())
	file := func(path ...string) string { return filepath.Join(append([]string{dir}, path...)...) }
	t.Cleanup(func() { code(t, dir, "down", "--volumes") }) // when the terminal is gone

	p := newPane(t, dir, 140, 45)
	step := p.steps()
	p.runs(kdevBinary + " up")

	step("start", func(t *testing.T) {
		p.sees("everything is ready", "● ready 5/5", "SERVICE", "webui", "hasher", "redis", "[1 logs]", "no change yet")
	})

	step("an edit goes its way at the top", func(t *testing.T) {
		edit(t, file("webui", "index.html"), "<h1>DockerCoins</h1>", "<h1>DockerCoins, edited</h1>")
		screen := p.sees("the way of the change", "webui index.html", "saved → batched", "acknowledged", " = ")
		if b, err := inContainer(pods(t, ns)["webui"][0], "/app/index.html"); err != nil || !strings.Contains(string(b), "edited") {
			t.Errorf("it is not in the container, but the screen says so: %v\n%s", err, screen)
		}
		p.press("g", "Down", "Down", "4")
		p.sees("what was sent to webui", "[4 sync]", "CONTAINER", "GENERATION", "/webui", "index.html")
		p.press("1", "Tab")
	})

	step("an image change shows old and new, and the stages of the new pod", func(t *testing.T) {
		p.press("g", "Down", "Down")
		p.until("webui is selected", selected("webui"))
		edit(t, file("webui", "package.json"), `"private": true`, `"description": "edited `+unique+`", "private": true`)
		p.until("its build", func(s string) bool { return row(s, "webui", "building") })
		p.until("an old pod beside the new one, stage by stage", func(s string) bool {
			return row(s, "webui", "old") && strings.Contains(s, "✓scheduled") && regexp.MustCompile(`▸(pulled|started|ready) \d`).MatchString(s)
		})
		p.until("ready again", func(s string) bool {
			return row(s, "webui", "ready") && strings.Contains(s, "● ready 5/5") && !row(s, "webui", "old")
		})
	})

	step("a failure says why", func(t *testing.T) {
		appendTo(t, file("worker", "Dockerfile"), "RUN echo "+unique+" && exit 7\n")
		p.until("worker failed", func(s string) bool { return row(s, "worker", "failed") })
		p.press("u")
		p.until("only worker is listed", func(s string) bool { return !row(s, "redis", "ready") && row(s, "worker", "failed") })
		p.press("5")
		p.sees("its problem", "[5 problem!]", "worker/Dockerfile:5", "exit code: 7")
		p.press("2")
		p.sees("what the build printed", "[2 build]", unique)
	})

	step("the fix heals it", func(t *testing.T) {
		edit(t, file("worker", "Dockerfile"), " && exit 7", "")
		p.sees("everything is ready", "● ready 5/5")
		p.press("Tab", "Escape")
		p.until("all are listed again", func(s string) bool { return row(s, "redis", "ready") && row(s, "worker", "ready") })
	})

	step("a mistake in kdev.yaml stays in sight until it is mended", func(t *testing.T) {
		edit(t, file("kdev.yaml"), "services:", "servces:")
		p.sees("the mistake with its line", "✗ kdev.yaml:3", "servces", "did you mean services")
		if _, out := code(t, dir, "status"); !strings.Contains(out, "kdev.yaml:3") {
			t.Errorf("status does not tell it:\n%s", out)
		}
		edit(t, file("kdev.yaml"), "servces:", "services:")
		p.until("no mistake", func(s string) bool {
			return !strings.Contains(s, "✗ kdev.yaml:3") && strings.Contains(s, "● ready 5/5")
		})
	})

	step("search", func(t *testing.T) {
		p.press("1", "/")
		p.types("hashes")
		p.press("Enter")
		p.until("matches are counted", func(s string) bool { return regexp.MustCompile(`/hashes/ [\d,]+`).MatchString(s) })
		p.press("x")
		p.until("only matches, and their context", func(s string) bool {
			return strings.Contains(s, "only these ±2")
		})
		p.press("Escape")
		p.until("all lines", func(s string) bool { return !strings.Contains(s, "/hashes/") })
		p.press("End")
		p.sees("all lines, following", "following")
	})

	step("the palette acts", func(t *testing.T) {
		p.press("Tab", "g")
		before := identities(t, ns)
		p.press(":")
		p.types("scale")
		p.press("Enter")
		p.sees("how many", "replicas of hasher")
		p.press("BSpace", "2", "Enter")
		p.until("two pods", func(s string) bool { return row(s, "hasher", "2/2") })
		p.press("S", "BSpace", "1", "Enter")
		// Its pods are listed while they change: where the keys of the next step lead
		// is known when they are not.
		p.until("one again", func(s string) bool {
			return row(s, "hasher", "1/1") && row(s, "hasher", "ready") && !row(s, "hasher", "old")
		})
		same(t, without(before, "hasher"), without(identities(t, ns), "hasher"))
	})

	step("a port, a shell, another environment, an image from before", func(t *testing.T) {
		p.press("g", "Down", "Down")
		p.until("webui is selected", selected("webui"))
		p.press("f")
		p.types("18080:80")
		p.press("Enter")
		at := regexp.MustCompile(`port 80 of webui is at (http://localhost:\d+)`)
		screen := p.until("where the port is", at.MatchString)
		if _, err := get(at.FindStringSubmatch(screen)[1]); err != nil {
			t.Error(err)
		}
		p.press("s")
		p.sees("a shell", "a shell in webui-")
		p.runs("echo here-$((20+3))")
		p.sees("what it prints", "here-23")
		p.runs("exit")
		p.sees("the dashboard again", "the shell has ended", "SERVICE")
		p.press(":")
		p.types("environment")
		p.press("Enter")
		p.sees("which ones there are", "environment (dev")
		p.types("dev")
		p.press("Enter")
		p.sees("how it is", "nothing can be changed here", "webui")
		p.press("Escape")
		p.until("the project's own state", func(s string) bool { return !strings.Contains(s, "nothing can be changed here") })
		p.press("B")
		p.sees("a question", "Roll webui back?")
		p.press("y")
		p.until("the image from before, and nothing is built for it", func(s string) bool { return row(s, "webui", "paused") && row(s, "webui", "1/1") })
		p.press("p")
		p.until("what the tree holds", func(s string) bool { return row(s, "webui", "ready") && strings.Contains(s, "● ready 5/5") })
	})

	step("a task of kdev.yaml", func(t *testing.T) {
		before := identities(t, ns)
		appendTo(t, file("kdev.yaml"), "tasks:\n  sum: {service: worker, command: [python, -c, print(20+3)]}\n")
		p.press(":")
		p.types("task")
		p.sees("that there are tasks", "run a task of kdev.yaml")
		p.press("Enter")
		p.sees("which ones there are", "tasks of kdev.yaml", "in worker: python -c print(20+3)")
		p.press("Enter")
		p.sees("its end", "task sum is done")
		if n, out := code(t, dir, "run", "sum"); n != 0 || strings.TrimSpace(out) != "23" {
			t.Errorf("kdev run: code %d, %q", n, out)
		}
		same(t, before, identities(t, ns))
	})

	step("any size", func(t *testing.T) {
		for _, size := range [][2]int{{80, 24}, {40, 10}, {200, 60}, {140, 45}} {
			p.tmux("resize-window", "-x", fmt.Sprint(size[0]), "-y", fmt.Sprint(size[1]))
			// Down to the last row: it is kdev that has painted, and knows the size.
			p.until(fmt.Sprintf("the whole screen at %dx%d", size[0], size[1]), func(s string) bool {
				lines := strings.Split(strings.TrimRight(s, "\n "), "\n")
				return strings.Contains(lines[0], "kdev dockercoins") && len(lines) == size[1]
			})
		}
		p.sees("all of it", "● ready 5/5", "SERVICE", "redis")
	})

	step("Ctrl-Z and back", func(t *testing.T) {
		p.press("C-z")
		p.sees("the shell", "Stopped")
		p.runs("fg")
		p.sees("the dashboard", "● ready 5/5", "SERVICE")
	})

	step("q leaves everything running", func(t *testing.T) {
		before := identities(t, ns)
		p.press("q")
		p.sees("what is left", "left running", "kdev down")
		p.runs("stty -a | tr ' ' '\\n' | grep -x icanon; echo code $?")
		p.sees("a terminal in order", "icanon", "code 0")
		same(t, before, identities(t, ns))
	})
}

// TestCrashAtTheDashboard ends kdev in ways that no program can see to itself.
func TestCrashAtTheDashboard(t *testing.T) {
	dir := project(t, "dockercoins")
	t.Cleanup(func() { code(t, dir, "down", "--volumes") }) // when the terminal is gone
	p := newPane(t, dir, 120, 40)
	step := p.steps()
	for _, tt := range []struct{ signal, says string }{{"KILL", "ended without a word"}, {"ABRT", "SIGABRT"}} {
		step(tt.signal, func(t *testing.T) {
			p.tmux("clear-history")
			p.runs("clear; " + kdevBinary + " up & echo $! >pid; fg")
			p.sees("everything is ready", "● ready 5/5")
			pid, err := os.ReadFile(filepath.Join(dir, "pid"))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("kill", "-"+tt.signal, strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			p.until("the shell, and why", func(s string) bool { return !strings.Contains(s, "SERVICE") && strings.Contains(s, "without a word") })
			if all := p.tmux("capture-pane", "-p", "-S", "-"); !strings.Contains(all, tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, all)
			}
			p.runs("clear; stty -a | tr ' ' '\\n' | grep -x icanon; echo code $?")
			p.sees("a terminal in order", "icanon", "code 0")
			if on := strings.TrimSpace(p.tmux("display-message", "-p", "#{alternate_on} #{mouse_any_flag}")); on != "0 0" {
				t.Errorf("other screen, mouse: %s", on)
			}
		})
	}
}

// row says whether the row of a service holds a text.
func row(screen, service, text string) bool {
	for line := range strings.Lines(screen) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimLeft(line, " "), "› "))
		if len(fields) > 2 && fields[0] == service && strings.ContainsAny(fields[1], "●✗◐‖◌○") {
			return strings.Contains(line, text)
		}
	}
	return false
}

// selected says whether the row of a service is the one that keys act on.
func selected(service string) func(string) bool {
	return func(screen string) bool { return strings.Contains(screen, "› "+service) }
}
