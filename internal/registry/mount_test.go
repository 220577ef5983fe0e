package registry

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"
)

// Each layer is mounted from the repository that has it, whichever of the bases
// that is, and what the registry has nowhere is sent.
func TestPushMountsFromEverySource(t *testing.T) {
	store, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(64, 3)
	if err != nil {
		t.Fatal(err)
	}
	h, err := store.PutImage(t.Context(), "shop/web", "", img)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{} // repository and digest
	for i, repo := range []string{"one", "two"} {
		d, err := layers[i].Digest()
		if err != nil {
			t.Fatal(err)
		}
		there["/v2/acme/"+repo+"/blobs/"+d.String()] = true
	}
	elsewhere, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	handler := Handler(elsewhere, HandlerOptions{Token: "secret", Challenge: true})
	var mu sync.Mutex
	asked := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d := r.URL.Query().Get("mount"); d != "" {
			mu.Lock()
			asked["/v2/"+r.URL.Query().Get("from")+"/blobs/"+d] = true
			mu.Unlock()
		}
		if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/") {
			if !there[r.URL.Path] {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Length", "64")
			return
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	config := `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("me:secret")) + `"}}}`
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Push(t.Context(), h.String(), host+"/acme/web:1", []string{host + "/acme/one:1", "redis:7", host + "/acme/two:1"}, true); err != nil {
		t.Fatal(err)
	}
	if len(asked) != len(there) {
		t.Errorf("mounted %v, want %v", asked, there)
	}
	for p := range there {
		if !asked[p] {
			t.Errorf("%s was not mounted", p)
		}
	}
}
