//go:build e2e

package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kdev-io/kdev/internal/tree"
)

// TestExample builds the example's services and edits each one's source: what
// is COPYed after the last RUN is laid over the engine's layers.
func TestExample(t *testing.T) {
	b := newBench(t)
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("../examples/dockercoins")); err != nil {
		t.Fatal(err)
	}
	idx, err := tree.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer idx.Close()
	builder := New(b.docker, b.store, b.ep, idx)
	for _, c := range []struct{ service, file, rung string }{
		{"webui", "index.html", layered},
		{"rng", "rng.py", "assembled"},
		{"worker", "worker.py", "assembled"},
		{"hasher", "main.go", engineRung},
	} {
		t.Run(c.service, func(t *testing.T) {
			dir := filepath.Join(root, c.service)
			spec := Spec{Project: "dockercoins", Service: c.service, Root: root, Context: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Platform: "linux/amd64"}
			run := func() *Result {
				t.Helper()
				r, err := builder.Build(t.Context(), spec, func(e Event) {
					if e.Done {
						t.Logf("%s %v cached=%v", e.Step, e.Took, e.Cached)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %s (%s), cached %v, %v", c.service, r.Rung, r.Why, r.Cached, r.Took)
				return r
			}
			run()
			f, err := os.OpenFile(filepath.Join(dir, c.file), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("\n"); err != nil {
				t.Fatal(err)
			}
			f.Close()
			r := run()
			if r.Cached {
				t.Error("an edit built nothing")
			}
			if r.Rung != c.rung {
				t.Errorf("rung %q, want %q", r.Rung, c.rung)
			}
		})
	}
}
