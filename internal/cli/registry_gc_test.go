package cli

import (
	"slices"
	"testing"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A tag of the store counts as much as a digest: the pods that would pull it may
// not exist yet.
func TestLiveByTag(t *testing.T) {
	store, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host := registry.Known(store).Host
	config, err := store.PutBlob([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(repo, tag, mark string) layout.Digest {
		t.Helper()
		d, err := store.PutManifest(repo, tag, layout.OCIManifest, []byte(`{"schemaVersion":2,"mediaType":"`+layout.OCIManifest+
			`","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"`+string(config)+`","size":2},"layers":[],"annotations":{"mark":"`+mark+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	nightly, latest := put("shop/nightly", "v1", "a"), put("shop/web", "latest", "b")
	put("library/redis", "7", "c")
	digest := layout.DigestOf([]byte("x"))
	got := namedIn([]byte(`{"items":[{"image":"`+host+`/shop/nightly:v1"},{"image":"`+host+`/shop/web"},{"image":"`+host+`/shop/gone:v1"},
		{"image":"redis:7"},{"image":"`+host+`/shop/web:x@`+string(digest)+`"}]}`), store)
	want := []layout.Digest{digest, nightly, latest}
	if !slices.Equal(got, want) {
		t.Errorf("live are %v, want %v", got, want)
	}
}
