package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

// site is a server of files that counts what is asked of it.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked int
}

func newSite(t *testing.T, files map[string][]byte) *site {
	s := &site{files: files}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		data, ok := s.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(func() {
		s.Close()
		downloads.CloseIdleConnections()
	})
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	return s
}

func (s *site) set(path string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = data
}

func (s *site) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// A manifest of elsewhere is the one that it was when its hash was written down.
func TestPinnedManifests(t *testing.T) {
	text := []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n")
	s := newSite(t, map[string][]byte{"/all.yaml": text, "/bad.yaml": []byte("a: [\n")})
	render := func(address string) (*Manifests, error) {
		return Render(context.Background(), t.TempDir(), []Source{{YAML: []string{address}}})
	}
	address := s.URL + "/all.yaml#sha256=" + hashOf(text)
	for range 2 {
		m, err := render(address)
		if err != nil || len(m.Objects) != 2 || m.Objects[1].Origin != s.URL+"/all.yaml:5" {
			t.Fatalf("%v, %v", m, err)
		}
	}
	if n := s.requests(); n != 1 {
		t.Errorf("%d requests for what is known by its hash", n)
	}
	zero := strings.Repeat("0", 64)
	for address, want := range map[string]string{
		s.URL + "/all.yaml":                                    "is fetched only with its hash",
		s.URL + "/all.yaml#sha256=0c":                          "is fetched only with its hash",
		s.URL + "/all.yaml#sha256=" + zero:                     "has another hash: sha256=" + hashOf(text),
		s.URL + "/no.yaml#sha256=" + zero:                      "the server answers 404",
		s.URL + "/bad.yaml#sha256=" + hashOf([]byte("a: [\n")): "this is no YAML",
	} {
		_, err := render(address)
		if p := problem.As(err); p == nil || p.Class != problem.Usage || !strings.Contains(p.Error(), want) || p.Hint == "" {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// packaged is a chart as `helm package` makes it.
func packaged(t *testing.T, name, version string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for file, text := range map[string]string{
		"Chart.yaml":        "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n",
		"templates/db.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {version: {{ .Chart.Version }}}\n",
	} {
		if err := w.WriteHeader(&tar.Header{Name: name + "/" + file, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A chart of a repository is found by its index, checked by the hash there, and fetched once.
func TestChartRepository(t *testing.T) {
	one, two := packaged(t, "db", "1.0.0"), packaged(t, "db", "1.1.0")
	index := func(digest string) []byte {
		return []byte("apiVersion: v1\nentries:\n  db:\n  - {version: 1.1.0, digest: " + digest + ", urls: [packages/db-1.1.0.tgz]}\n  - {version: 1.0.0, digest: " + hashOf(one) + ", urls: [packages/db-1.0.0.tgz]}\n")
	}
	s := newSite(t, map[string][]byte{"/charts/index.yaml": index(hashOf(two)), "/charts/packages/db-1.0.0.tgz": one, "/charts/packages/db-1.1.0.tgz": two, "/broken/index.yaml": []byte("<html>"),
		"/plain/index.yaml": []byte("entries: {db: [{version: 1.0.0, urls: [../charts/packages/db-1.0.0.tgz]}]}")})
	root := project(t, map[string]string{
		"shop/Chart.yaml":         "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n- {name: db, version: ^1.0.0, repository: " + s.URL + "/charts}\n",
		"shop/templates/web.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n",
		"shop/Chart.lock":         "dependencies:\n- {name: db, version: 1.0.0, repository: " + s.URL + "/charts}\n",
		"stale/Chart.yaml":        "apiVersion: v2\nname: stale\nversion: 1.0.0\ndependencies:\n- {name: db, version: ^2.0.0, repository: " + s.URL + "/charts}\n",
		"stale/Chart.lock":        "dependencies:\n- {name: db, version: 1.0.0, repository: " + s.URL + "/charts}\n",
		"open/Chart.yaml":         "apiVersion: v2\nname: open\nversion: 1.0.0\ndependencies:\n- {name: db, version: ^1.0.0, repository: " + s.URL + "/charts}\n",
	})
	render := func(chart, version string) (*Manifests, error) {
		return Render(context.Background(), root, []Source{{Helm: &Chart{Chart: chart, Version: version, Release: "dev", Namespace: "shop", Where: "kdev.yaml:3"}}})
	}
	version := func(m *Manifests) string {
		for _, o := range m.Objects {
			if o.GetName() == "db" {
				data, _ := o.Object["data"].(map[string]any)
				text, _ := data["version"].(string)
				return text
			}
		}
		return ""
	}
	if m, err := render(s.URL+"/charts/db", "1.1.0"); err != nil || version(m) != "1.1.0" {
		t.Fatalf("%v, %v", m, err)
	}
	if m, err := render("shop", ""); err != nil || version(m) != "1.0.0" || len(m.Objects) != 2 {
		t.Fatalf("a dependency by Chart.lock: %v, %v", m, err)
	}
	before := s.requests()
	if m, err := render(s.URL+"/charts/db", "1.1.0"); err != nil || version(m) != "1.1.0" || s.requests() != before {
		t.Errorf("again: %v, %v, %d requests", m, err, s.requests()-before)
	}
	if m, err := render(s.URL+"/charts/packages/db-1.0.0.tgz#sha256="+hashOf(one), ""); err != nil || version(m) != "1.0.0" {
		t.Errorf("a package with its hash: %v, %v", m, err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s.set("/charts/index.yaml", index(hashOf(one)))
	for _, tc := range []struct{ chart, version, code, says string }{
		{s.URL + "/charts/db", "", "chart-pull", "has no version"},
		{s.URL + "/charts/db", "1.x", "chart-pull", "has no version"},
		{s.URL + "/charts/db", "2.0.0", "chart-pull", "it has not this version, but 1.1.0, 1.0.0"},
		{s.URL + "/charts/web", "1.0.0", "chart-pull", "it has no chart of this name"},
		{s.URL + "/charts/db", "1.1.0", "chart-pull", "another hash than the index says"},
		{s.URL + "/broken/db", "1.0.0", "chart-pull", "no index of charts"},
		{s.URL + "/nowhere/db", "1.0.0", "chart-pull", "the server answers 404"},
		{s.URL + "/plain/db", "1.0.0", "chart-pull", "#sha256=" + hashOf(one)},
		{"stale", "", "chart-dependency", "Chart.lock has its version 1.0.0, and Chart.yaml wants ^2.0.0"},
		{"open", "", "chart-dependency", "Chart.lock has none"},
	} {
		_, err := render(tc.chart, tc.version)
		if p := problem.As(err); p == nil || p.Code != tc.code || !strings.Contains(p.Error(), tc.says) || p.Hint == "" {
			t.Errorf("%s %s: %v", tc.chart, tc.version, err)
		}
	}
}
