package distribution

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// The configuration of upstream registries holds passwords: who has the token
// puts it, nobody reads it, and the nodes' side has no such path.
func TestUpstreamConfiguration(t *testing.T) {
	store, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cache := pullthrough.New(store, nil)
	defer cache.Close()
	host := httptest.NewServer(Handler(store, Options{Token: "x", Challenge: true, Upstream: cache}))
	defer host.Close()
	nodes := httptest.NewServer(Handler(store, Options{Upstream: cache}))
	defer nodes.Close()
	doc := `{"logins":[{"host":"h.example","repository":"a","username":"u","password":"secret"}]}`
	for _, c := range []struct {
		name, method, at, token, body string
		want                          int
	}{
		{"nothing yet", "GET", host.URL + UpstreamPath + "abc", "x", "", http.StatusNotFound},
		{"without a token", "PUT", host.URL + UpstreamPath + "abc", "", doc, http.StatusUnauthorized},
		{"with another token", "PUT", host.URL + UpstreamPath + "abc", "y", doc, http.StatusUnauthorized},
		{"from a node", "PUT", nodes.URL + UpstreamPath + "abc", "x", doc, http.StatusNotFound},
		{"no JSON", "PUT", host.URL + UpstreamPath + "abc", "x", "{", http.StatusBadRequest},
		{"too large", "PUT", host.URL + UpstreamPath + "abc", "x", strings.Repeat(" ", pullthrough.MaxConfig+1), http.StatusRequestEntityTooLarge},
		{"a strange key", "PUT", host.URL + UpstreamPath + "a/b", "x", doc, http.StatusNotFound},
		{"right", "PUT", host.URL + UpstreamPath + "abc", "x", doc, http.StatusNoContent},
		{"read", "GET", host.URL + UpstreamPath + "abc", "x", "", http.StatusNoContent},
		{"read without a token", "GET", host.URL + UpstreamPath + "abc", "", "", http.StatusUnauthorized},
		{"read from a node", "GET", nodes.URL + UpstreamPath + "abc", "x", "", http.StatusNotFound},
		{"removed", "DELETE", host.URL + UpstreamPath + "abc", "x", "", http.StatusMethodNotAllowed},
	} {
		req, err := http.NewRequest(c.method, c.at, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.name, resp.Status, c.want)
		}
		if c.name == "read" && resp.Header.Get("ETag") != `"`+pullthrough.Hash([]byte(doc))+`"` {
			t.Errorf("the hash is %s", resp.Header.Get("ETag"))
		}
	}
}
