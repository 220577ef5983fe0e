package build

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// An image for a cluster elsewhere goes to the project's registry, with the
// person's login, and what is there already does not travel.
func TestSent(t *testing.T) {
	elsewhere, err := registry.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	handler := registry.Handler(elsewhere, registry.HandlerOptions{Token: "secret", Challenge: true})
	var sent, mounted atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPatch:
			sent.Add(1)
		case r.URL.Query().Get("mount") != "":
			mounted.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	specs, inner, _ := family(t)
	sender := inner.(*leaser).inner.(*explainer).inner.(*knower).inner.(*recorder)
	to := Target{Push: host + "/acme", Pull: "registry.example/acme"}
	b := Sent(inner, sender.store, sender.ep, to)

	t.Setenv("DOCKER_CONFIG", t.TempDir())
	_, err = b.Build(t.Context(), specs["base"], nil)
	if p := problem.As(err); p == nil || p.Code != "registry-unauthorized" || !strings.Contains(p.Hint, "docker login "+host) {
		t.Fatalf("without a login: %v", err)
	}
	config := `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("me:secret")) + `"}}}`
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	base := built(t, b, specs["base"])
	if want := "registry.example/acme/shop/base:" + registry.Short(base.Digest) + "@" + base.Digest; base.Ref != want {
		t.Errorf("pods pull %s, want %s", base.Ref, want)
	}
	if err := elsewhere.Complete(layout.Digest(base.Digest)); err != nil {
		t.Error(err)
	}
	if e, err := elsewhere.Resolve("acme/shop/base", registry.Short(base.Digest)); err != nil || string(e.Digest) != base.Digest {
		t.Errorf("%+v %v", e, err)
	}
	before := sent.Load()
	if again := built(t, b, specs["base"]); !again.Cached || sent.Load() != before {
		t.Errorf("a second time, %d blobs were sent", sent.Load()-before)
	}
	web := built(t, b, specs["web"])
	if got := sent.Load() - before; got != 2 || mounted.Load() == 0 { // its own layer and its configuration
		t.Errorf("of an image that begins with one that is there, %d blobs were sent", got)
	}
	if err := elsewhere.Complete(layout.Digest(web.Digest)); err != nil {
		t.Error(err)
	}
}
