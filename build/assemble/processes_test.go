package assemble

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// TestProcesses lets eight processes build the same and different projects on
// one store at once, while another collects.
func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	store, err := registry.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	outputs := make([]string, 8)
	for w := range outputs {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestBuildProcess$")
			cmd.Env = append(os.Environ(), "ASSEMBLE_WORKER="+strconv.Itoa(w), "ASSEMBLE_STORE="+dir, "ASSEMBLE_OUT="+filepath.Join(dir, "out-"+strconv.Itoa(w)))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process %d: %v\n%s", w, err, out)
			}
		})
	}
	done := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := store.Collect(t.Context(), layout.Policy{Keep: 2}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Wait()
	close(done)
	collector.Wait()
	for w := range outputs {
		b, err := os.ReadFile(filepath.Join(dir, "out-"+strconv.Itoa(w)))
		if err != nil {
			t.Fatal(err)
		}
		outputs[w] = string(b)
		if outputs[w] != outputs[0] {
			t.Errorf("process %d made %s, process 0 %s", w, outputs[w], outputs[0])
		}
	}
	entries, err := store.Entries()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := store.Complete(e.Digest); err != nil {
			t.Error(err)
		}
	}
}

func TestBuildProcess(t *testing.T) {
	w := os.Getenv("ASSEMBLE_WORKER")
	if w == "" {
		return // TestProcesses starts it
	}
	store, err := registry.OpenStore(os.Getenv("ASSEMBLE_STORE"))
	if err != nil {
		t.Fatal(err)
	}
	lease := store.NewLease()
	store = store.WithLease(lease)
	lease.Begin()
	e := newEngine(t, store)
	shared := newProject(t, store, "Dockerfile", withRun, "package.json", "{}")
	own := newProject(t, store, "Dockerfile", "FROM base\nCOPY . /app\n")
	all := ""
	for i := range 8 {
		for _, p := range []*project{shared, own} {
			content := fmt.Sprint(i)
			if p == own {
				content += " of " + w
			}
			p.write("x.js", content)
			r, err := p.make(e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.PutManifest("shop/w"+w, "", layout.OCIManifest, r.Manifest); err != nil {
				t.Fatal(err)
			}
			if p == shared {
				all += r.Digest + "\n"
			}
		}
	}
	if err := lease.End(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv("ASSEMBLE_OUT"), []byte(all), 0o644); err != nil {
		t.Fatal(err)
	}
}
