//go:build e2e

package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestBranches: from the dashboard of one branch to the session of another, which another
// checkout of the repository has in a namespace of its own, and back.
func TestBranches(t *testing.T) {
	dir := project(t, "visits")
	edit(t, filepath.Join(dir, "kdev.yaml"), "8100:8000", "18994:8000")
	edit(t, filepath.Join(dir, "kdev.yaml"), "name: visits", "name: calls")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	cart := filepath.Join(t.TempDir(), "cart")
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("commit", "-q", "-m", "first")
	git("worktree", "add", "-q", "-b", "feature/cart", cart)
	t.Cleanup(func() { // at once: each waits for its pods to end
		var both sync.WaitGroup
		defer both.Wait()
		both.Go(func() { _, _ = kdev(context.Background(), dir, "down", "--volumes") })
		both.Go(func() { _, _ = kdev(context.Background(), cart, "down", "--volumes", "-n", "calls-cart") })
	})
	if n, out := code(t, cart, "up", "--detach", "--until", "ready", "-n", "calls-cart"); n != 0 {
		t.Fatalf("up of the other branch: %d\n%s", n, out)
	}

	p := newPane(t, dir, 140, 40)
	step := p.steps()
	p.runs(kdevBinary + " up")
	step("the branch of this checkout", func(t *testing.T) {
		p.sees("everything is ready", "● ready 2/2", "/calls ")
	})
	step("the session of the other", func(t *testing.T) {
		p.press(":")
		p.types("branch")
		p.press("Enter")
		p.sees("which ones there are", "sessions of other branches", "feature/cart", "namespace calls-cart")
		p.press("Enter")
		p.sees("its dashboard", "/calls-cart", "● ready 2/2", "SERVICE")
		p.press("g", "r")
		p.sees("what is done there", "web")
	})
	step("back", func(t *testing.T) {
		p.press("q")
		p.until("the dashboard of this one", func(s string) bool {
			return strings.Contains(s, "back from feature/cart") && !strings.Contains(s, "/calls-cart") && strings.Contains(s, "● ready 2/2")
		})
		if n, out := code(t, cart, "status"); n != 0 || !strings.Contains(out, "calls-cart") {
			t.Errorf("the other session: %d\n%s", n, out)
		}
	})
	step("none is left", func(t *testing.T) {
		if n, out := code(t, cart, "stop"); n != 0 {
			t.Fatalf("stop: %d\n%s", n, out)
		}
		p.press(":")
		p.types("branch")
		p.press("Enter")
		p.sees("that there is none", "no other branch is up", "git worktree add")
		p.press("q")
		p.sees("the shell", "left running in")
	})
}
