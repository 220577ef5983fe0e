//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNative brings up what is built without a Dockerfile: a Go program, what a
// command makes, an image of others.
func TestNative(t *testing.T) {
	const ns = "native"
	dir := filepath.Join(t.TempDir(), ns)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", ns))); err != nil {
		t.Fatal(err)
	}
	const api, page = "http://127.0.0.1:18981/", "http://127.0.0.1:18982/"
	says := func(url, text string) {
		t.Helper()
		eventually(t, url+" says "+text, func() (bool, string) {
			body, err := get(url)
			if err != nil {
				return false, err.Error()
			}
			return strings.Contains(body, text), body
		})
	}
	up := start(t, dir, "up")
	up.expect("everything is ready")
	says(api, "hello from Go")
	says(page, "a page")
	for app, list := range pods(t, ns) {
		if len(list) != 1 || !strings.Contains(list[0].Spec.Containers[0].Image, "/native/"+app+":") {
			t.Errorf("%s: %d pods, image %s", app, len(list), list[0].Spec.Containers[0].Image)
		}
	}

	t.Run("a package of the program", func(t *testing.T) {
		before := identities(t, ns)
		edit(t, filepath.Join(dir, "api", "greeting", "greeting.go"), "hello from Go", "hello again")
		says(api, "hello again")
		same(t, before, identities(t, ns)) // the program was replaced in its pod
	})

	t.Run("a mistake names its line, and is mended", func(t *testing.T) {
		up.mark()
		edit(t, filepath.Join(dir, "api", "greeting", "greeting.go"), `= "hello again"`, "= nothing")
		up.expect("api/greeting/greeting.go:5: go build ./cmd/api failed")
		up.expect("undefined: nothing")
		edit(t, filepath.Join(dir, "api", "greeting", "greeting.go"), "= nothing", `= "mended"`)
		says(api, "mended")
	})

	t.Run("an input of the command", func(t *testing.T) {
		edit(t, filepath.Join(dir, "page", "page.txt"), "a page", "another page")
		before := identities(t, ns)
		edit(t, filepath.Join(dir, "page", "page.txt"), "another page", "a third page")
		says(page, "a third page")
		same(t, before, identities(t, ns))
	})

	if code := up.interrupt(); code != 130 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
	before := identities(t, ns)
	if code, out := code(t, dir, "up", "--until", "ready"); code != 0 || strings.Contains(out, "building") {
		t.Errorf("second up: %d\n%s", code, out)
	}
	same(t, before, identities(t, ns))
	if code, out := code(t, dir, "down", "--volumes"); code != 0 {
		t.Errorf("down: %d\n%s", code, out)
	}
}
