//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStandIn: a program on this machine stands in for a service's own. Another pod
// that asks the service is answered from here; when the program no longer stands in,
// the pod answers itself again.
func TestStandIn(t *testing.T) {
	const ns = "standin"
	dir := filepath.Join(t.TempDir(), ns)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", ns))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if got, out := code(t, dir, "down"); got != 0 {
			t.Errorf("down: %d\n%s", got, out)
		}
	})
	// asked is what the pod of the store hears from http://api/page.txt.
	asked := func() string {
		_, out := code(t, dir, "exec", "store", "--", "python", "-c",
			"import urllib.request as r; print(r.urlopen('http://api/page.txt', timeout=20).read().decode().strip())")
		return strings.TrimSpace(out)
	}
	hears := func(want string) {
		t.Helper()
		eventually(t, "another pod hears "+want, func() (bool, string) {
			got := asked()
			return got == want, got
		})
	}
	const rest = " here: of the manifest, hush-hush-9137, of kdev.yaml, of the store"

	up := start(t, dir, "up")
	up.expect("runs on this machine")
	up.expect("everything is ready")
	hears("first" + rest)
	for _, line := range strings.Split(up.text(), "\n") {
		if strings.Contains(line, "hush-hush") {
			t.Errorf("a Secret is printed: %s", line)
		}
	}
	if !strings.Contains(up.text(), "the password is ") {
		t.Error("what the program prints is not among the lines")
	}
	before := identities(t, ns)
	code0, out := code(t, dir, "status", "-o", "json")
	if code0 != 0 || !strings.Contains(out, `"role":"local"`) && !strings.Contains(out, `"role": "local"`) {
		t.Errorf("status: %d\n%s", code0, out)
	}

	t.Run("a save starts it anew", func(t *testing.T) {
		edit(t, filepath.Join(dir, "here", "main.go"), `"first"`, `"second"`)
		hears("second" + rest)
	})

	t.Run("one that ends is started again", func(t *testing.T) {
		if resp, err := http.Get("http://127.0.0.1:18970/die"); err == nil {
			resp.Body.Close()
		}
		up.expect("ended with exit code")
		hears("second" + rest)
	})

	t.Run("without it the pod's own program answers", func(t *testing.T) {
		file := filepath.Join(dir, "kdev.yaml")
		with, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for line := range strings.Lines(string(with)) {
			if !strings.Contains(line, "local:") {
				kept = append(kept, line)
			}
		}
		if err := os.WriteFile(file, []byte(strings.Join(kept, "")), 0o644); err != nil {
			t.Fatal(err)
		}
		hears("in the cluster")
		up.mark()
		if err := os.WriteFile(file, with, 0o644); err != nil {
			t.Fatal(err)
		}
		hears("second" + rest)
	})

	if got := up.interrupt(); got != 130 {
		t.Errorf("Ctrl-C: exit code %d", got)
	}
	hears("in the cluster")
	if after := identities(t, ns); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("pods were replaced or restarted: %v, then %v", before, after)
	}
}
