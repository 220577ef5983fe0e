//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRouter asks the services of a project by the hosts and paths of its Ingress
// and its HTTPRoute, which no controller serves, while pods come and go.
func TestRouter(t *testing.T) {
	const ns = "router"
	dir := filepath.Join(t.TempDir(), ns)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", ns))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if got, out := code(t, dir, "down"); got != 0 {
			t.Errorf("down: %d\n%s", got, out)
		}
	})
	up := start(t, dir, "up")
	up.expect("the cluster does not know kind HTTPRoute: it is not applied, and the router serves its rules")
	up.expect("everything is ready")

	urls := urlsOf(t, dir)
	at := regexp.MustCompile(`^http://web\.router\.localhost:\d+$`)
	web := urls["web"]
	if len(web) == 0 || !at.MatchString(web[0]) || !slices.Contains(urls["api"], web[0]+"/api") {
		t.Fatalf("addresses: %v", urls)
	}
	port := web[0][strings.LastIndex(web[0], ":"):]
	for _, c := range []struct {
		host, path string
		status     int
		want       string
	}{
		{"web.router.localhost", "/x?y=1", 200, "web /x?y=1 web.router.localhost"},
		{"web.router.localhost", "/api/x", 200, "api /api/x web.router.localhost"},
		{"shop.example.com", "/", 200, "web / shop.example.com"},
		{"shop.example.com.router.localhost", "/api", 200, "api /api shop.example.com.router.localhost"},
		{"gate.example.com", "/v1/users", 200, "api /users gate.example.com"},
		{"api.router.localhost", "/v1/users", 200, "api /users api.router.localhost"},
		{"api.router.localhost", "/other", 200, "api /other api.router.localhost"},
		{"nothing.router.localhost", "/", 404, web[0]},
		{"evil.example.org", "/", 404, web[0]},
	} {
		status, got := through(t, port, c.host, c.path)
		if status != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s%s: %d %s", c.host, c.path, status, got)
		}
	}
	for _, c := range [][]string{{web[0]}, {web[0], "web"}} {
		if got, out := code(t, dir, append([]string{"open", "--print"}, c[1:]...)...); got != 0 || strings.TrimSpace(out) != c[0] {
			t.Errorf("open %v: %d %s", c[1:], got, out)
		}
	}

	load := ask(t, web[0]+"/load")
	var recovery []time.Duration
	for i := range replacements(t) {
		recovery = append(recovery, replace(t, i, ns, "web", load))
	}
	for _, err := range load.end() {
		t.Errorf("while a pod was ready: %v", err)
	}
	slices.Sort(recovery)
	t.Logf("%d replacements: from Ready to the first answer %v in the middle, %v at most", len(recovery), recovery[len(recovery)/2], recovery[len(recovery)-1])

	if got, out := code(t, dir, "scale", "web", "0"); got != 0 {
		t.Fatalf("scale: %d %s", got, out)
	}
	eventually(t, "a service without pods", func() (bool, string) {
		status, text := through(t, port, "web.router.localhost", "/")
		return status == 503 && strings.Contains(text, "web is scaled to nothing"), text
	})
	if status, text := through(t, port, "web.router.localhost", "/api"); status != 200 {
		t.Errorf("the path of another service: %d %s", status, text)
	}
	if got, out := code(t, dir, "scale", "web", "1"); got != 0 {
		t.Fatalf("scale: %d %s", got, out)
	}
	eventually(t, "a service with a pod again", func() (bool, string) {
		status, text := through(t, port, "web.router.localhost", "/")
		return status == 200, text
	})

	// A saved manifest is a new table, and so is kdev.yaml without a router.
	edit(t, filepath.Join(dir, "deploy", "rules.yaml"), "shop.example.com", "store.example.com")
	eventually(t, "the saved host", func() (bool, string) {
		status, text := through(t, port, "store.example.com", "/")
		return status == 200, text
	})
	if status, text := through(t, port, "shop.example.com", "/"); status != 404 {
		t.Errorf("the host of before: %d %s", status, text)
	}
	appendTo(t, filepath.Join(dir, "kdev.yaml"), "router: off\n")
	eventually(t, "no router", func() (bool, string) {
		urls := urlsOf(t, dir)
		_, err := get("http://127.0.0.1" + port)
		return len(urls["web"]) == 0 && err != nil && strings.Contains(err.Error(), "refused"), strings.Join(urls["web"], " ")
	})
	if got := up.interrupt(); got != 130 {
		t.Errorf("Ctrl-C: exit code %d", got)
	}
}

// through asks the router for a host.
func through(t *testing.T, port, host, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1"+port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host + port
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// urlsOf reads where the services of a session are found.
func urlsOf(t *testing.T, dir string) map[string][]string {
	t.Helper()
	_, out := code(t, dir, "status", "--output", "json")
	var st state
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	urls := map[string][]string{}
	for _, s := range st.Services {
		urls[s.Name] = s.URLs
	}
	return urls
}
