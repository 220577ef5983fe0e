package distribution

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A client that pushes leaves out what it is told is there, and takes the size
// from the answer: a damaged blob is not there.
func TestDamagedBlobIsNotThere(t *testing.T) {
	for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodPost} {
		store, err := layout.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		d, err := store.PutBlob(bytes.Repeat([]byte("x"), 5000))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(store.Dir(), "blobs", "sha256", d.Hex()), 1000); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(Handler(store, Options{Token: "secret"}))
		path, want := "/v2/shop/web/blobs/"+string(d), http.StatusNotFound
		if method == http.MethodPost {
			path, want = "/v2/shop/web/blobs/uploads/?mount="+string(d)+"&from=shop/api", http.StatusAccepted
		}
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer secret")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		server.Close()
		if resp.StatusCode != want || len(store.Dropped()) != 1 {
			t.Errorf("%s: %s, dropped %q", method, resp.Status, store.Dropped())
		}
	}
}
