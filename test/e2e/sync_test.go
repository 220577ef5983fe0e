//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSync goes the way of a person whose container has a read-only root: the
// refusal, its hint, and then the commands that look at and use syncing.
func TestSync(t *testing.T) {
	const ns = "sync"
	dir := filepath.Join(t.TempDir(), ns)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", ns))); err != nil {
		t.Fatal(err)
	}
	const url = "http://127.0.0.1:18991/page.txt"
	page := filepath.Join(dir, "web", "src", "page.txt")
	says := func(text string) {
		t.Helper()
		eventually(t, url+" says "+text, func() (bool, string) {
			body, err := get(url)
			if err != nil {
				return false, err.Error()
			}
			return strings.Contains(body, text), body
		})
	}
	t.Cleanup(func() { code(t, dir, "down", "--volumes") })

	up := start(t, dir, "up")
	up.expect("everything is ready")
	says("of the image")
	edit(t, page, "of the image", "refused")
	up.expect("cannot write /app/src/page.txt: the container's root is read-only")
	up.expect("sync: [{from: FOLDER, to: /app/src, volume: true}]")
	up.interrupt()

	// As the hint says.
	edit(t, filepath.Join(dir, "kdev.yaml"), "# no rules", "sync: [{from: src, to: /app/src, volume: true}]")
	up = start(t, dir, "up")
	up.expect("everything is ready")
	says("refused")
	edit(t, page, "refused", "written")
	says("written")

	status := func(args ...string) (syncing int, differs string, exit int) {
		t.Helper()
		exit, out := code(t, dir, append([]string{"sync", "status", "--output", "json"}, args...)...)
		var s struct {
			Containers []struct {
				Syncing bool
				Process string
				Problem *struct{ Summary string }
				Differs []struct{ Path, Why string }
			}
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, c := range s.Containers {
			if c.Problem != nil {
				t.Errorf("%s", c.Problem.Summary)
			}
			if c.Syncing && c.Process == "running" {
				syncing++
			}
			for _, d := range c.Differs {
				differs += d.Path + " " + d.Why
			}
		}
		return syncing, differs, exit
	}
	t.Run("status", func(t *testing.T) {
		if syncing, differs, exit := status("--verify"); syncing != 1 || differs != "" || exit != 0 {
			t.Errorf("%d syncing, differs %q, exit code %d", syncing, differs, exit)
		}
		// A file that is not synced triggers a command, which changes one that is.
		if err := os.WriteFile(filepath.Join(dir, "web", "spoil"), []byte("now"), 0o644); err != nil {
			t.Fatal(err)
		}
		says("spoilt")
		if _, differs, exit := status("--verify"); differs != "/app/src/page.txt another content" || exit != 1 {
			t.Errorf("differs %q, exit code %d", differs, exit)
		}
		if _, _, exit := status("--repair"); exit != 0 {
			t.Errorf("repair: exit code %d", exit)
		}
		says("written")
	})
	t.Run("pull", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "copy.txt")
		if exit, out := code(t, dir, "sync", "pull", "web:/app/src/page.txt", to); exit != 0 {
			t.Fatalf("%d: %s", exit, out)
		}
		if got, err := os.ReadFile(to); err != nil || !strings.Contains(string(got), "written") {
			t.Errorf("%q, %v", got, err)
		}
		if exit, out := code(t, dir, "sync", "pull", "web:/app/nothing", to); exit != 1 || !strings.Contains(out, "cannot read /app/nothing") {
			t.Errorf("%d: %s", exit, out)
		}
	})
	if _, out := code(t, dir, "sync"); !strings.Contains(out, "another `kdev up` is at work there") {
		t.Errorf("sync beside up: %s", out)
	}
	up.interrupt()

	before := identities(t, ns)
	alone := start(t, dir, "sync")
	alone.expect("syncing into the pods of namespace sync")
	edit(t, page, "written", "without up")
	alone.expect("synced src/page.txt")
	edit(t, filepath.Join(dir, "web", "requirements.txt"), "# none", "# still none")
	alone.expect("cannot be synced: RUN")
	if exit := alone.interrupt(); exit != 130 {
		t.Errorf("Ctrl-C: exit code %d", exit)
	}
	same(t, before, identities(t, ns))
	if _, differs, _ := status("--verify"); differs != "" {
		t.Errorf("differs: %s", differs)
	}
}
