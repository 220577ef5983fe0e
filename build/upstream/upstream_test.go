package upstream

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A copy that is damaged is not held: nobody builds it anew, so it is taken from the
// engine again.
func TestDamagedCopyIsNotHeld(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 3) },
		"changed": func(path string) error { return os.WriteFile(path, []byte("another"), 0o644) },
		"missing": os.Remove,
	} {
		store, err := registry.OpenStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		put := func(content string) layout.Digest {
			d, err := store.PutBlob([]byte(content))
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		config, l := put("{}"), put("a layer")
		_, err = store.PutManifest("mirror/docker.io/library/redis", "7", layout.OCIManifest, fmt.Appendf(nil,
			`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":7}]}`,
			layout.OCIManifest, config, l))
		if err != nil {
			t.Fatal(err)
		}
		p := &Provider{store: store}
		held := func() bool { return p.held("mirror/docker.io/library/redis", "7", string(config)) }
		if !held() {
			t.Fatal("the copy is not held")
		}
		if err := damage(filepath.Join(store.Dir(), "blobs", "sha256", l.Hex())); err != nil {
			t.Fatal(err)
		}
		if held() {
			t.Errorf("%s: the damaged copy is held", name)
		}
		if said := store.Dropped(); len(said) != 1 || !strings.Contains(said[0], string(l)) {
			t.Errorf("%s: said %q", name, said)
		}
		put("a layer") // as the engine's push does
		if !held() {
			t.Errorf("%s: the repaired copy is not held", name)
		}
	}
}
