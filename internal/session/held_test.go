package session

import (
	"context"
	"sync"
	"testing"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// What the services of a session run stays in the store until it ends, however
// many newer images there are; what they ran before does not.
func TestASessionHoldsItsImages(t *testing.T) {
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string) layout.Digest {
		t.Helper()
		config, err := store.PutBlob([]byte(`{"text":"` + text + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		d, err := store.PutManifest("shop/web", text, layout.OCIManifest, []byte(`{"schemaVersion":2,"mediaType":"`+layout.OCIManifest+
			`","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"`+string(config)+`","size":`+"12"+`},"layers":[]}`))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	var work sync.WaitGroup
	l := &loop{s: &Session{parts: Parts{Store: store}}, work: &work}
	svc := &service{Service: config.Service{Name: "web"}}
	l.services = []*service{svc}
	first, second := put("a"), put("b")
	put("c")
	kept := func() map[layout.Digest]bool {
		t.Helper()
		report, err := store.Collect(context.Background(), layout.Policy{Keep: 1, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		all := map[layout.Digest]bool{}
		for _, k := range report.Kept {
			if k.Why == "leased" {
				all[k.Digest] = true
			}
		}
		return all
	}
	for _, d := range []layout.Digest{first, second} {
		svc.ref = "localhost:5001/shop/web:x@" + string(d)
		l.holdImages()
		work.Wait()
		if got := kept(); len(got) != 1 || !got[d] {
			t.Errorf("held %v, want %s", got, d)
		}
	}
	l.s.images.close()
	if got := kept(); len(got) != 0 {
		t.Errorf("after the session %v is held", got)
	}
}
