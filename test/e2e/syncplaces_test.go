//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSyncPlaces is about where files go and with which mode: a rule for a single file into
// a folder that others are in, and COPY --chmod in a container whose user owns no file.
func TestSyncPlaces(t *testing.T) {
	const ns = "syncplaces"
	dir := filepath.Join(t.TempDir(), ns)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", ns))); err != nil {
		t.Fatal(err)
	}
	says := func(path, text string) {
		t.Helper()
		eventually(t, path+" says "+text, func() (bool, string) {
			body, err := get("http://127.0.0.1:18992/" + path)
			if err != nil {
				return false, err.Error()
			}
			return strings.Contains(body, text), body
		})
	}
	t.Cleanup(func() { code(t, dir, "down", "--volumes") })

	up := start(t, dir, "up")
	up.expect("everything is ready")
	says("page.txt", "of the image")
	edit(t, filepath.Join(dir, "web", "page.txt"), "of the image", "saved")
	says("page.txt", "saved")
	says("other.txt", "other")
	// A new file gets the mode of its COPY, so that it can be run.
	if err := os.WriteFile(filepath.Join(dir, "web", "scripts", "new.sh"), []byte("#!/bin/sh\necho it ran\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	says("src/ran.txt", "it ran")

	// Without the slash the file would take the folder's place.
	edit(t, filepath.Join(dir, "kdev.yaml"), "to: /app/}", "to: /app}")
	up.expect("cannot write /app: other files of the project belong into a folder of that name")
	says("other.txt", "other")
	up.interrupt()
}
