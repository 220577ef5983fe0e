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

	"github.com/kdev-io/kdev/internal/problem"
)

// TestPush pushes to a registry that wants a login: with docker's
// configuration, without, and a second time.
func TestPush(t *testing.T) {
	elsewhere, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	sent := map[string]int{} // requests by method and kind
	inner := Handler(elsewhere, HandlerOptions{Token: "secret", Challenge: true})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/uploads/") {
			mu.Lock()
			sent[r.Method]++
			mu.Unlock()
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	store, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := store.PutImage(t.Context(), "shop/web", "1", img)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	err = store.Push(t.Context(), digest.String(), host+"/acme/web:1", nil, false)
	if p := problem.As(err); p == nil || p.Code != "registry-unauthorized" || !strings.Contains(p.Hint, "docker login "+host) {
		t.Errorf("without a login: %v", err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte("kdev:secret"))
	config := `{"auths":{"` + host + `":{"auth":"` + auth + `"}}}`
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Push(t.Context(), digest.String(), host+"/acme/web:1", nil, false); err != nil {
		t.Fatal(err)
	}
	if e, err := elsewhere.Resolve("acme/web", "1"); err != nil || string(e.Digest) != digest.String() {
		t.Errorf("there is %v %v", e, err)
	}
	mu.Lock()
	clear(sent)
	mu.Unlock()
	if err := store.Push(t.Context(), digest.String(), host+"/acme/web:2", nil, false); err != nil {
		t.Fatal(err)
	}
	if len(sent) != 0 {
		t.Errorf("the second push sent blobs: %v", sent)
	}
	// Of another repository, layers are mounted.
	if err := store.Push(t.Context(), digest.String(), host+"/acme/other:1", []string{host + "/acme/web:1"}, false); err != nil {
		t.Fatal(err)
	}
	if sent[http.MethodPatch] > 1 { // the configuration is no layer
		t.Errorf("layers were sent, not mounted: %v", sent)
	}
	err = store.Push(t.Context(), digest.String(), "no such name", nil, false)
	if p := problem.As(err); p == nil || p.Code != "push-ref" {
		t.Errorf("%v", err)
	}
}
