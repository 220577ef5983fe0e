//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInclude: a project brings another one into its session, where both are seen and
// steered, each in its own namespace.
func TestInclude(t *testing.T) {
	top := t.TempDir()
	if err := os.CopyFS(top, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", "include"))); err != nil {
		t.Fatal(err)
	}
	dir, other := filepath.Join(top, "shop"), filepath.Join(top, "billing")
	t.Cleanup(func() {
		got, out := code(t, dir, "down")
		for _, ns := range []string{"include-shop", "include-billing"} {
			if got != 0 || !strings.Contains(out, "removed namespace "+ns) {
				t.Errorf("down: %d\n%s", got, out)
			}
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
	up := start(t, dir, "up")
	eventually(t, "both are ready", func() (bool, string) {
		got, out := code(t, dir, "status")
		return got == 0 && strings.Count(out, " ready ") == 3 && strings.Contains(out, "include-billing/api") && strings.Contains(out, "include-billing/docs"), out
	})
	for ns, app := range map[string]string{"include-shop": "web", "include-billing": "api"} {
		if n := len(pods(t, ns)[app]); n != 1 {
			t.Errorf("%d pods of %s in %s", n, app, ns)
		}
	}
	if out := says("exec", "include-billing/api", "--", "cat", "/srv/page.txt"); strings.TrimSpace(out) != "of api" {
		t.Errorf("exec: %q", out)
	}
	if out := says("exec", "web", "--", "python", "-c", "import urllib.request as r; print(r.urlopen('http://api.include-billing/page.txt').read().decode())"); strings.TrimSpace(out) != "of api" {
		t.Errorf("one does not reach the other: %q", out)
	}
	up.expect("local/include-billing/docs")

	if err := os.WriteFile(filepath.Join(other, "api", "srv", "page.txt"), []byte("saved\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	up.expect("synced srv/page.txt")
	if out := says("exec", "include-billing/api", "--", "cat", "/srv/page.txt"); strings.TrimSpace(out) != "saved" {
		t.Errorf("after a save: %q", out)
	}
	if out := says("pause", "include-billing"); !strings.Contains(out, "paused") {
		t.Errorf("pause: %s", out)
	}
	if out := says("status"); strings.Count(out, " paused ") != 2 || !strings.Contains(out, "web") {
		t.Errorf("paused:\n%s", out)
	}
	says("resume", "include-billing")
	if got, out := code(t, dir, "trigger", "api"); got == 0 || !strings.Contains(out, "include-billing/api") {
		t.Errorf("a service of another project by its name alone: %d %s", got, out)
	}

	edit(t, filepath.Join(other, "kdev.yaml"), "services:", "servces:")
	up.expect("the saved configuration has a mistake")
	if got, out := code(t, dir, "up", "--until", "ready", "-n", "include-more"); got != 2 || !strings.Contains(out, "../billing/kdev.yaml:2") {
		t.Errorf("a mistake of the other: %d\n%s", got, out)
	}
	edit(t, filepath.Join(other, "kdev.yaml"), "servces:", "services:")
	if got := up.interrupt(); got != 130 {
		t.Errorf("Ctrl-C: exit code %d", got)
	}
}
