//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A pane is a terminal of tmux with a shell in it: a person's, keys in and what
// is on the screen out.
type pane struct {
	t      *testing.T
	socket string
}

// newPane opens a terminal in a folder. Nothing in its environment says that
// nobody sits there.
func newPane(t *testing.T, dir string, width, height int) *pane {
	t.Helper()
	p := &pane{t: t, socket: filepath.Join(t.TempDir(), "tmux")}
	conf := filepath.Join(t.TempDir(), "tmux.conf")
	if err := os.WriteFile(conf, []byte("set -g default-terminal tmux-256color\nset -sg escape-time 0\nset -g history-limit 100000\nset -g status off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tmux", "-S", p.socket, "-f", conf, "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height),
		"env", "-u", "CI", "-u", "NO_COLOR", "PS1=$ ", "bash", "--norc", "--noprofile")
	cmd.Dir, cmd.Env = dir, environ
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the screen at the end:\n%s", p.screen())
		}
		_ = exec.Command("tmux", "-S", p.socket, "kill-server").Run()
	})
	p.sees("a prompt", "$")
	return p
}

// steps are parts of a test that follow each other at one terminal: when one fails,
// nothing is known of the screen and the others are not tried.
func (p *pane) steps() func(name string, do func(t *testing.T)) {
	whole := p.t
	return func(name string, do func(t *testing.T)) {
		whole.Helper()
		passed := whole.Run(name, func(t *testing.T) {
			p.t = t
			do(t)
		})
		p.t = whole
		if !passed {
			whole.FailNow()
		}
	}
}

func (p *pane) tmux(args ...string) string {
	p.t.Helper()
	var out, fault bytes.Buffer
	cmd := exec.Command("tmux", append([]string{"-S", p.socket}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &fault
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, fault.String())
	}
	return out.String()
}

// screen is what a person sees now.
func (p *pane) screen() string { return p.tmux("capture-pane", "-p") }

// press sends keys by tmux's names of them.
func (p *pane) press(keys ...string) {
	p.t.Helper()
	p.tmux(append([]string{"send-keys"}, keys...)...)
}

// types sends text as it is.
func (p *pane) types(text string) {
	p.t.Helper()
	p.tmux("send-keys", "-l", text)
}

// runs types a command line.
func (p *pane) runs(line string) {
	p.t.Helper()
	p.types(line)
	p.press("Enter")
}

// sees waits until all of the texts are on the screen at once.
func (p *pane) sees(what string, texts ...string) string {
	p.t.Helper()
	return p.until(what, func(screen string) bool {
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return false
			}
		}
		return true
	})
}

// until waits for a screen, and returns it.
func (p *pane) until(what string, ok func(screen string) bool) (screen string) {
	p.t.Helper()
	eventually(p.t, what, func() (bool, string) {
		screen = p.screen()
		return ok(screen), "\n" + screen
	})
	return screen
}
