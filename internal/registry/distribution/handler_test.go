package distribution

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

const token = "secret"

type fixture struct {
	t      *testing.T
	store  *layout.Store
	server *httptest.Server
}

func serve(t *testing.T, opts Options) *fixture {
	t.Helper()
	store, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(Handler(store, opts))
	t.Cleanup(server.Close)
	return &fixture{t, store, server}
}

type answered struct {
	*http.Response
	body string
}

// do sends a request with the token; headers are pairs.
func (f *fixture) do(method, path, body string, headers ...string) answered {
	f.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = f.server.URL + path
	}
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answered{resp, string(b)}
}

func (f *fixture) want(a answered, status int, headers ...string) answered {
	f.t.Helper()
	if a.StatusCode != status {
		f.t.Errorf("%s %s: %s, want %d\n%s", a.Request.Method, a.Request.URL, a.Status, status, a.body)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := a.Header.Get(headers[i]); got != headers[i+1] {
			f.t.Errorf("%s %s: %s is %q, want %q", a.Request.Method, a.Request.URL, headers[i], got, headers[i+1])
		}
	}
	if status >= 400 && a.Request.Method != http.MethodHead {
		var e struct{ Errors []struct{ Code string } }
		if json.Unmarshal([]byte(a.body), &e) != nil || len(e.Errors) == 0 || e.Errors[0].Code == "" {
			f.t.Errorf("%s %s: no error document: %q", a.Request.Method, a.Request.URL, a.body)
		}
	}
	return a
}

func digestOf(s string) string { return string(layout.DigestOf([]byte(s))) }

// The cases are those of the OCI distribution spec v1.1, section by section.

func TestPull(t *testing.T) {
	f := serve(t, Options{Token: token})
	blob, manifest := "0123456789", `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	if _, err := f.store.PutBlob([]byte(blob)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.PutManifest("a/b", "v1", layout.OCIIndex, []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	none := digestOf("none")
	for _, c := range []struct {
		name, method, path string
		status             int
		body               string
		headers            []string // request
		want               []string // answer
	}{
		{"version", "GET", "/v2/", 200, "{}", nil, []string{"Docker-Distribution-API-Version", "registry/2.0"}},
		{"blob", "GET", "/v2/a/b/blobs/" + digestOf(blob), 200, blob, nil, []string{"Docker-Content-Digest", digestOf(blob), "Content-Length", "10"}},
		{"blob size", "HEAD", "/v2/a/b/blobs/" + digestOf(blob), 200, "", nil, []string{"Docker-Content-Digest", digestOf(blob), "Content-Length", "10"}},
		{"range", "GET", "/v2/a/b/blobs/" + digestOf(blob), 206, "234", []string{"Range", "bytes=2-4"}, []string{"Content-Range", "bytes 2-4/10"}},
		{"open range", "GET", "/v2/a/b/blobs/" + digestOf(blob), 206, "89", []string{"Range", "bytes=8-"}, nil},
		{"last bytes", "GET", "/v2/a/b/blobs/" + digestOf(blob), 206, "789", []string{"Range", "bytes=-3"}, nil},
		{"range behind the end", "GET", "/v2/a/b/blobs/" + digestOf(blob), 416, "", []string{"Range", "bytes=20-30"}, nil},
		{"not modified", "GET", "/v2/a/b/blobs/" + digestOf(blob), 304, "", []string{"If-None-Match", `"` + digestOf(blob) + `"`}, nil},
		{"no blob", "GET", "/v2/a/b/blobs/" + none, 404, "", nil, nil},
		{"no blob size", "HEAD", "/v2/a/b/blobs/" + none, 404, "", nil, nil},
		{"bad digest", "GET", "/v2/a/b/blobs/sha256:xyz", 400, "", nil, nil},
		{"other algorithm", "GET", "/v2/a/b/blobs/md5:00", 400, "", nil, nil},
		{"manifest by tag", "GET", "/v2/a/b/manifests/v1", 200, manifest, nil, []string{"Docker-Content-Digest", digestOf(manifest), "Content-Type", layout.OCIIndex}},
		{"manifest by digest", "GET", "/v2/a/b/manifests/" + digestOf(manifest), 200, manifest, nil, []string{"Content-Type", layout.OCIIndex}},
		{"manifest size", "HEAD", "/v2/a/b/manifests/v1", 200, "", nil, []string{"Docker-Content-Digest", digestOf(manifest), "Content-Length", fmt.Sprint(len(manifest))}},
		{"no tag", "GET", "/v2/a/b/manifests/v2", 404, "", nil, nil},
		{"no repository", "GET", "/v2/a/c/manifests/v1", 404, "", nil, nil},
		{"no manifest", "HEAD", "/v2/a/b/manifests/" + none, 404, "", nil, nil},
		{"a blob is no manifest", "GET", "/v2/a/b/manifests/" + digestOf(blob), 404, "", nil, nil},
		{"bad name", "GET", "/v2/A/manifests/v1", 400, "", nil, nil},
		{"dots", "GET", "/v2/a/%2e%2e/b/manifests/v1", 400, "", nil, nil},
		{"other path", "GET", "/v2/a/b/c", 404, "", nil, nil},
		{"root", "GET", "/", 404, "", nil, nil},
		{"method", "POST", "/v2/a/b/manifests/v1", 405, "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fixture{t, f.store, f.server}
			a := f.do(c.method, c.path, "", c.headers...)
			if c.status == 416 {
				// net/http's own answer has no document.
				if a.StatusCode != 416 {
					t.Errorf("%s", a.Status)
				}
				return
			}
			f.want(a, c.status, c.want...)
			if c.body != "" && a.body != c.body {
				t.Errorf("body %q, want %q", a.body, c.body)
			}
		})
	}
}

func TestPush(t *testing.T) {
	f := serve(t, Options{Token: token})
	content := "first-second-third"
	d := digestOf(content)
	start := func() string {
		t.Helper()
		a := f.want(f.do("POST", "/v2/a/b/blobs/uploads/", ""), 202)
		loc := a.Header.Get("Location")
		if loc == "" {
			t.Fatal("no Location")
		}
		return loc
	}
	stored := func(content string) {
		t.Helper()
		if b, err := f.store.ReadBlob(layout.DigestOf([]byte(content))); err != nil || string(b) != content {
			t.Errorf("stored %q %v", b, err)
		}
		if err := f.store.RemoveBlob(layout.DigestOf([]byte(content))); err != nil {
			t.Error(err)
		}
	}

	// One POST.
	f.want(f.do("POST", "/v2/a/b/blobs/uploads/?digest="+d, content), 201, "Location", "/v2/a/b/blobs/"+d, "Docker-Content-Digest", d)
	stored(content)
	f.want(f.do("POST", "/v2/a/b/blobs/uploads/?digest="+d, "other"), 400)
	f.want(f.do("POST", "/v2/a/b/blobs/uploads/?digest=nonsense", content), 400)

	// POST, then PUT.
	f.want(f.do("PUT", start()+"?digest="+d, content), 201, "Location", "/v2/a/b/blobs/"+d)
	stored(content)
	f.want(f.do("PUT", start()+"?digest="+d, "other"), 400)
	loc := start()
	f.want(f.do("PUT", loc, content), 400) // no digest
	f.want(f.do("PUT", loc+"?digest="+d, content), 201)
	stored(content)
	f.want(f.do("PUT", loc+"?digest="+d, content), 404) // the session has ended

	// Chunks.
	loc = start()
	f.want(f.do("GET", loc, ""), 204, "Range", "0-0")
	f.want(f.do("PATCH", loc, "first-", "Content-Range", "0-5"), 202, "Range", "0-5")
	f.want(f.do("PATCH", loc, "third", "Content-Range", "13-17"), 416, "Range", "0-5")
	f.want(f.do("PATCH", loc, "first-", "Content-Range", "0-5"), 416)
	f.want(f.do("PATCH", loc, "x", "Content-Range", "6-9"), 400)
	f.want(f.do("PATCH", loc, "x", "Content-Range", "nonsense"), 400)
	f.want(f.do("PATCH", loc, "second-", "Content-Range", "6-12"), 202, "Range", "0-12")
	f.want(f.do("GET", loc, ""), 204, "Range", "0-12", "Location", loc)
	f.want(f.do("PUT", loc+"?digest="+d, "third", "Content-Range", "13-17"), 201)
	stored(content)

	// A stream: one PATCH without a range, an empty PUT.
	loc = start()
	f.want(f.do("PATCH", loc, content), 202)
	f.want(f.do("PUT", loc+"?digest="+d, ""), 201)
	stored(content)

	// Cancel.
	loc = start()
	f.want(f.do("DELETE", loc, ""), 204)
	f.want(f.do("PATCH", loc, "x"), 404)
	f.want(f.do("GET", "/v2/a/b/blobs/uploads/http-none", ""), 404)
	f.want(f.do("GET", "/v2/a/b/blobs/uploads/", ""), 405)

	// Mount.
	if _, err := f.store.PutBlob([]byte(content)); err != nil {
		t.Fatal(err)
	}
	f.want(f.do("POST", "/v2/c/blobs/uploads/?mount="+d+"&from=a/b", ""), 201, "Location", "/v2/c/blobs/"+d)
	f.want(f.do("POST", "/v2/c/blobs/uploads/?mount="+d, ""), 201)
	f.want(f.do("POST", "/v2/c/blobs/uploads/?mount="+digestOf("none")+"&from=a/b", ""), 202)
	f.want(f.do("DELETE", "/v2/a/b/blobs/"+d, ""), 405)

	// Manifests.
	config := "{}"
	f.want(f.do("POST", "/v2/a/b/blobs/uploads/?digest="+digestOf(config), config), 201)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"x","digest":%q,"size":%d}]}`,
		layout.OCIManifest, digestOf(config), d, len(content))
	md := digestOf(manifest)
	f.want(f.do("PUT", "/v2/a/b/manifests/v1", manifest, "Content-Type", layout.OCIManifest), 201, "Location", "/v2/a/b/manifests/"+md, "Docker-Content-Digest", md)
	f.want(f.do("PUT", "/v2/a/b/manifests/"+md, manifest, "Content-Type", layout.OCIManifest), 201)
	f.want(f.do("PUT", "/v2/a/b/manifests/"+d, manifest, "Content-Type", layout.OCIManifest), 400)
	f.want(f.do("PUT", "/v2/a/b/manifests/v1", manifest, "Content-Type", layout.OCIIndex), 400)
	f.want(f.do("PUT", "/v2/a/b/manifests/v1", "{", "Content-Type", layout.OCIManifest), 400)
	f.want(f.do("PUT", "/v2/a/b/manifests/-bad", manifest, "Content-Type", layout.OCIManifest), 400)
	f.want(f.do("PUT", "/v2/a/b/manifests/v1", strings.Repeat(" ", layout.MaxManifest+1), "Content-Type", layout.OCIManifest), 413)
	lacking := strings.Replace(manifest, d, digestOf("none"), 1)
	f.want(f.do("PUT", "/v2/a/b/manifests/v2", lacking, "Content-Type", layout.OCIManifest), 404)

	// Content management.
	f.want(f.do("DELETE", "/v2/a/b/manifests/v1", ""), 202)
	f.want(f.do("GET", "/v2/a/b/manifests/v1", ""), 404)
	f.want(f.do("GET", "/v2/a/b/manifests/"+md, ""), 200)
	f.want(f.do("DELETE", "/v2/a/b/manifests/"+md, ""), 202)
	f.want(f.do("GET", "/v2/a/b/manifests/"+md, ""), 404)
	f.want(f.do("DELETE", "/v2/a/b/manifests/"+md, ""), 404)
}

func TestDiscovery(t *testing.T) {
	f := serve(t, Options{Token: token})
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	for _, tag := range []string{"c", "a", "b", "d"} {
		if _, err := f.store.PutManifest("x/y", tag, layout.OCIIndex, []byte(index)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.store.PutManifest("z", "a", layout.OCIIndex, []byte(index)); err != nil {
		t.Fatal(err)
	}
	list := func(path, want, link string) {
		t.Helper()
		a := f.want(f.do("GET", path, ""), 200, "Link", link)
		if a.body != want {
			t.Errorf("%s: %s, want %s", path, a.body, want)
		}
	}
	list("/v2/x/y/tags/list", `{"name":"x/y","tags":["a","b","c","d"]}`, "")
	list("/v2/x/y/tags/list?n=2", `{"name":"x/y","tags":["a","b"]}`, `</v2/x/y/tags/list?last=b&n=2>; rel="next"`)
	list("/v2/x/y/tags/list?n=2&last=b", `{"name":"x/y","tags":["c","d"]}`, "")
	list("/v2/x/y/tags/list?last=bb", `{"name":"x/y","tags":["c","d"]}`, "")
	list("/v2/x/y/tags/list?n=0", `{"name":"x/y","tags":[]}`, "")
	list("/v2/x/y/tags/list?last=d", `{"name":"x/y","tags":[]}`, "")
	list("/v2/_catalog", `{"repositories":["x/y","z"]}`, "")
	list("/v2/_catalog?n=1", `{"repositories":["x/y"]}`, `</v2/_catalog?last=x%2Fy&n=1>; rel="next"`)
	f.want(f.do("GET", "/v2/none/tags/list", ""), 404)
	f.want(f.do("GET", "/v2/x/y/tags/list?n=-1", ""), 400)

	// Referrers.
	subject := digestOf(index)
	config := "{}"
	if _, err := f.store.PutBlob([]byte(config)); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"test/sbom", "test/signature"} {
		m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
			layout.OCIManifest, kind, digestOf(config), layout.OCIIndex, subject, len(index))
		f.want(f.do("PUT", "/v2/x/y/manifests/"+digestOf(m), m, "Content-Type", layout.OCIManifest), 201, "OCI-Subject", subject)
	}
	referrers := func(path string) (types []string) {
		t.Helper()
		a := f.want(f.do("GET", path, ""), 200, "Content-Type", layout.OCIIndex)
		var doc struct {
			SchemaVersion int
			Manifests     []layout.Descriptor
		}
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.SchemaVersion != 2 || doc.Manifests == nil {
			t.Fatalf("%s %v", a.body, err)
		}
		for _, d := range doc.Manifests {
			types = append(types, d.ArtifactType)
		}
		return types
	}
	if got := referrers("/v2/x/y/referrers/" + subject); len(got) != 2 {
		t.Errorf("referrers %q", got)
	}
	if got := referrers("/v2/x/y/referrers/" + subject + "?artifactType=test/sbom"); len(got) != 1 || got[0] != "test/sbom" {
		t.Errorf("filtered referrers %q", got)
	}
	if got := referrers("/v2/z/referrers/" + subject); len(got) != 0 {
		t.Errorf("referrers of another repository: %q", got)
	}
	f.want(f.do("GET", "/v2/x/y/referrers/nonsense", ""), 400)
}

func TestWhoMayWrite(t *testing.T) {
	writes := []struct{ method, path string }{
		{"POST", "/v2/a/blobs/uploads/"}, {"POST", "/v2/a/blobs/uploads/?digest=" + digestOf("x")}, {"POST", "/v2/a/blobs/uploads/?mount=" + digestOf("x")},
		{"PATCH", "/v2/a/blobs/uploads/http-x"}, {"PUT", "/v2/a/blobs/uploads/http-x"}, {"DELETE", "/v2/a/blobs/uploads/http-x"}, {"GET", "/v2/a/blobs/uploads/http-x"},
		{"PUT", "/v2/a/manifests/v1"}, {"DELETE", "/v2/a/manifests/v1"}, {"DELETE", "/v2/a/blobs/" + digestOf("x")},
	}
	t.Run("cluster side", func(t *testing.T) {
		f := serve(t, Options{})
		for _, w := range writes {
			for _, auth := range []string{"", "Bearer ", "Bearer x", "Basic OjA="} {
				f.want(f.do(w.method, w.path, "x", "Authorization", auth), 403)
			}
		}
		f.want(f.do("GET", "/v2/", "", "Authorization", ""), 200)
	})
	t.Run("host side", func(t *testing.T) {
		f := serve(t, Options{Token: token, Challenge: true})
		for _, w := range writes {
			for _, auth := range []string{"", "Bearer ", "Bearer anonymous", "Bearer x", "Bearer secretx", "Basic OjA=", "secret"} {
				a := f.want(f.do(w.method, w.path, "x", "Authorization", auth), 401)
				if !strings.Contains(a.Header.Get("WWW-Authenticate"), `/token",service="kdev-registry",scope="repository:a:pull,push"`) {
					t.Errorf("challenge %q", a.Header.Get("WWW-Authenticate"))
				}
			}
		}
		f.want(f.do("GET", "/v2/", "", "Authorization", ""), 401)
		f.want(f.do("GET", "/v2/", ""), 200)
		f.want(f.do("GET", "/v2/_catalog", "", "Authorization", ""), 200)
	})
}

// TestForeignClient pushes and pulls with go-containerregistry, which speaks
// the token protocol as `docker login` and `docker push` do.
func TestForeignClient(t *testing.T) {
	f := serve(t, Options{Token: token, Challenge: true})
	host := strings.TrimPrefix(f.server.URL, "http://")
	img, err := random.Image(1<<16, 3)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host+"/foreign/image:v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err == nil {
		t.Error("pushed without credentials")
	}
	if err := remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: "x", Password: "wrong"})); err == nil {
		t.Error("pushed with a wrong password")
	}
	if err := remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: "kdev", Password: token})); err != nil {
		t.Fatal(err)
	}
	// Anonymous.
	back, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := back.Layers()
	if err != nil || len(layers) != 3 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	for _, l := range layers {
		r, err := l.Compressed() // checks the digest
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
		r.Close()
	}
	want, _ := img.Digest()
	if got, err := back.Digest(); err != nil || got != want {
		t.Errorf("digest %v %v, want %v", got, err, want)
	}
	tags, err := remote.List(ref.Context())
	if err != nil || len(tags) != 1 {
		t.Errorf("tags %q %v", tags, err)
	}
}

// TestConcurrent pushes the same and different blobs from many clients.
func TestConcurrent(t *testing.T) {
	f := serve(t, Options{Token: token})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				content := strings.Repeat(fmt.Sprint(i), 1000)
				a := f.do("POST", "/v2/a/blobs/uploads/", "")
				loc := a.Header.Get("Location")
				f.do("PATCH", loc, content[:500])
				f.want(f.do("PUT", loc+"?digest="+digestOf(content), content[500:]), 201)
				m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"w":"%d","i":"%d"}}`, layout.OCIIndex, w, i)
				f.want(f.do("PUT", fmt.Sprintf("/v2/a/manifests/t-%d-%d", w, i), m, "Content-Type", layout.OCIIndex), 201)
			}
		})
	}
	wg.Wait()
	if tags, err := f.store.Tags("a"); err != nil || len(tags) != 80 {
		t.Errorf("%d tags %v, want 80", len(tags), err)
	}
}

// TestBrokenConnection ends a PATCH in the middle; the client goes on from
// where the server says.
func TestBrokenConnection(t *testing.T) {
	f := serve(t, Options{Token: token})
	loc := f.do("POST", "/v2/a/blobs/uploads/", "").Header.Get("Location")
	f.want(f.do("PATCH", loc, "first-", "Content-Range", "0-5"), 202)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n%s", loc, token, strings.Repeat("x", 100)); err != nil {
		t.Fatal(err)
	}
	// Until the server is in the middle of it; a request that asked would be in its way.
	file := filepath.Join(f.store.Dir(), "uploads", path.Base(loc))
	for {
		if fi, err := os.Stat(file); err != nil {
			t.Fatal(err)
		} else if fi.Size() == 106 {
			break
		}
	}
	conn.Close()
	// The server notices after the client does.
	var a answered
	for {
		a = f.do("PATCH", loc, "second", "Content-Range", "6-11")
		if a.StatusCode != http.StatusConflict {
			break
		}
	}
	f.want(a, 202, "Range", "0-11")
	f.want(f.do("PUT", loc+"?digest="+digestOf("first-second"), ""), 201)
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"0-5", "bytes=0-5", "bytes 0-5/10", "5-0", "-5", "5-", "99999999999999999999-1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, err := parseRange(s)
		if err == nil && (first < 0 || last < first) {
			t.Errorf("%q gave %d-%d", s, first, last)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v2/a/b/manifests/x", "/v2/../../etc/passwd", "/v2/a/blobs/sha256:..%2f", "/v2/a/blobs/uploads/http-../x", "/v2//tags/list", "/v2/a/referrers/"} {
		f.Add("GET", s)
	}
	store, err := layout.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	h := Handler(store, Options{})
	f.Fuzz(func(t *testing.T, method, path string) {
		req, err := http.NewRequest(method, "http://x", nil)
		if err != nil {
			return
		}
		req.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code >= 500 {
			t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
	})
}
