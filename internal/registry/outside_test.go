package registry

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/distribution"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// certificate is PEM that holds no certificate, but looks like one.
func certificate(content string) string {
	return "-----BEGIN CERTIFICATE-----\n" + content + "\n-----END CERTIFICATE-----\n"
}

func TestOutside(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := "-----BEGIN PRIVATE KEY-----\nS0VZ\n-----END PRIVATE KEY-----\n"
	write("etc/ssl/certs/ca-certificates.crt", "# comment\n"+certificate("QQ==")+key+certificate("QQ==")+certificate("Qg=="))
	write("etc/ssl/certs/other.pem", certificate("Qw=="))
	write("etc/docker/certs.d/registry.corp:5000/ca.crt", certificate("RA=="))
	write("etc/docker/certs.d/registry.corp:5000/client.key", key)
	write("etc/docker/certs.d/unnamed.corp/ca.crt", certificate("RQ=="))
	own := write("own.pem", certificate("Rg=="))
	system := certificate("QQ==") + certificate("Qg==")
	refs := []string{"registry.corp:5000/a:1", "redis:7", "ghcr.io/a/b", "ghcr.io/a/c", "NOT A NAME"}
	hosts := []string{"docker.io", "ghcr.io", "registry.corp:5000"}
	ofHost := map[string]string{"registry.corp:5000": certificate("RA==")}
	for name, c := range map[string]struct {
		env  map[string]string
		want pullthrough.Config
		note string // a part of it
	}{
		"plain":           {nil, pullthrough.Config{Roots: system}, ""},
		"a proxy":         {map[string]string{"https_proxy": "proxy.corp:3128", "NO_PROXY": ".corp"}, pullthrough.Config{Roots: system, Proxy: pullthrough.Proxy{URL: "http://proxy.corp:3128", Except: ".corp"}}, ""},
		"a proxy here":    {map[string]string{"HTTPS_PROXY": "http://me:pw@127.0.0.1:3128"}, pullthrough.Config{Roots: system}, "127.0.0.1:3128, listens on this machine only"},
		"localhost":       {map[string]string{"HTTPS_PROXY": "http://localhost:3128"}, pullthrough.Config{Roots: system}, "localhost:3128"},
		"no proxy at all": {map[string]string{"HTTPS_PROXY": "http://"}, pullthrough.Config{Roots: system}, "no address of a proxy"},
		"a file":          {map[string]string{"SSL_CERT_FILE": own}, pullthrough.Config{Roots: certificate("Rg==")}, ""},
		"a folder":        {map[string]string{"SSL_CERT_DIR": filepath.Join(root, "etc/ssl/certs")}, pullthrough.Config{Roots: system + certificate("Qw==")}, ""},
	} {
		got, note := outside(refs, nil, func(k string) string { return c.env[k] }, root)
		c.want.Hosts, c.want.HostRoots = hosts, ofHost
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, c.want)
		}
		if (note == "") != (c.note == "") || !strings.Contains(note, c.note) || strings.Contains(note, "pw") {
			t.Errorf("%s: note %q", name, note)
		}
	}
	// Without a bundle, the folders.
	if err := os.Remove(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")); err != nil {
		t.Fatal(err)
	}
	if got, _ := outside(nil, nil, func(string) string { return "" }, root); got.Roots != certificate("Qw==") {
		t.Errorf("of folders: %s", got.Roots)
	}
}

// What the registry knows is not sent again, whatever order it is in.
func TestOutsideIsSentOnce(t *testing.T) {
	store, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cache := pullthrough.New(store.Store, nil)
	defer cache.Close()
	inner := Handler(store, HandlerOptions{Token: "x", Challenge: true, Upstream: cache})
	var puts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, distribution.UpstreamPath) {
			puts.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	ep := &Endpoint{PushHost: strings.TrimPrefix(server.URL, "http://"), Token: "x", Container: Name, http: newHTTP()}
	logins := []pullthrough.Login{{Host: "ghcr.io", Repository: "a/b", Username: "u", Password: "p"}, {Host: "ghcr.io", Repository: "a/a", Username: "u", Password: "p"}}
	send := func(project string, refs []string, logins ...pullthrough.Login) {
		t.Helper()
		if _, err := ep.Outside(t.Context(), project, refs, logins); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		send func()
		want int32
	}{
		{func() { send("a", []string{"redis:7", "ghcr.io/a/b:1"}, logins...) }, 1},
		{func() { send("a", []string{"ghcr.io/a/b:2", "redis:7"}, logins[1], logins[0]) }, 1},
		{func() { send("b", []string{"redis:7"}) }, 2},
		{func() { send("a", []string{"redis:7"}) }, 3},
	} {
		if step.send(); puts.Load() != step.want {
			t.Errorf("step %d: sent %d times, want %d", i, puts.Load(), step.want)
		}
	}
	ep.Token = "wrong"
	_, err = ep.Outside(t.Context(), "c", nil, nil)
	if p := problem.As(err); p == nil || p.Code != "upstream-unset" {
		t.Errorf("a registry that does not take it: %v", err)
	}
}
