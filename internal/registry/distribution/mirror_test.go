package distribution

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

func TestMirrorRequestsNameTheirHost(t *testing.T) {
	store, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	for _, repo := range []string{"mirror/docker.io/library/redis", "mirror/ghcr.io_8443/a/b", "shop/web"} {
		if _, err := store.PutManifest(repo, "7", "application/vnd.oci.image.index.v1+json", manifest); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(Handler(store, Options{}))
	defer server.Close()
	tests := map[string]struct {
		path string
		want int
	}{
		"held":                  {"/v2/library/redis/manifests/7?ns=docker.io", http.StatusOK},
		"held with a port":      {"/v2/a/b/manifests/7?ns=ghcr.io:8443", http.StatusOK},
		"not held":              {"/v2/library/nginx/manifests/7?ns=docker.io", http.StatusNotFound},
		"ours by its own name":  {"/v2/shop/web/manifests/7?ns=localhost:5001", http.StatusOK},
		"ours is not docker.io": {"/v2/shop/web/manifests/7?ns=docker.io", http.StatusNotFound},
		"a host that is none":   {"/v2/shop/web/manifests/7?ns=%2e%2e/x", http.StatusNotFound},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			resp, err := http.Get(server.URL + test.path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.want {
				t.Errorf("got %s, want %d", resp.Status, test.want)
			}
		})
	}
}
