package assemble

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// What kdev did not compute is as easily damaged as what it did: the layer of a
// base is taken again, the one of a RUN is run again, and both are told.
func TestDamagedLayers(t *testing.T) {
	for name, c := range map[string]struct {
		dockerfile string
		layer      int
	}{
		"of a base":          {"FROM base\nCOPY f /f\n", 0},
		"of a RUN":           {"FROM base\nRUN make\nCOPY f /f\n", 1},
		"below a RUN":        {"FROM base\nRUN make\nCOPY f /f\n", 0},
		"that was COPYed":    {"FROM base\nCOPY f /f\n", 1},
		"COPYed after a RUN": {"FROM base\nRUN make\nCOPY f /f\n", 2},
	} {
		for how, damage := range map[string]func(path string) error{
			"cut":     func(path string) error { return os.Truncate(path, 100) },
			"missing": os.Remove,
			"changed": func(path string) error {
				raw, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				raw[0] ^= 1
				return os.WriteFile(path, raw, 0o644)
			},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				store := newStore(t)
				p := newProject(t, store, "Dockerfile", c.dockerfile, "f", "x")
				engine := newEngine(t, store)
				engine.again = true
				first, err := p.make(engine)
				if err != nil {
					t.Fatal(err)
				}
				m, err := layout.ParseManifest(first.Manifest, "")
				if err != nil {
					t.Fatal(err)
				}
				d := m.Layers[c.layer].Digest
				if err := damage(filepath.Join(store.Dir(), "blobs", "sha256", d.Hex())); err != nil {
					t.Fatal(err)
				}
				second, err := p.make(engine)
				if err != nil {
					t.Fatal(err)
				}
				if second.Digest != first.Digest {
					t.Errorf("the repaired image is another one:\n%s\n%s", first.Manifest, second.Manifest)
				}
				if err := store.Complete(layout.Digest(second.Digest)); err != nil {
					t.Error(err)
				}
				if said := store.Dropped(); len(said) != 1 || !strings.Contains(said[0], string(d)) {
					t.Errorf("said %q", said)
				}
			})
		}
	}
}
