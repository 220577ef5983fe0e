package pullthrough_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// What was pulled once is there without its registry, and complete for the
// platform that was asked for; nothing else was fetched.
func TestPulledOnce(t *testing.T) {
	for name, redirect := range map[string]string{"blobs of the registry": "", "blobs of a CDN": "https://" + cdn + "/"} {
		t.Run(name, func(t *testing.T) {
			up := script(t)
			c := through(t, up)
			up.set(func() { up.redirect = redirect })
			layer := random(1 << 20)
			im := up.publish("7", layer)
			c.want(http.StatusNotFound, hub, "library/redis/manifests/7")
			if n := up.count(""); n > 0 {
				t.Errorf("%d requests before anybody said how", n)
			}
			c.know(up, nil)
			for range 2 {
				if got := c.pull(hub, "library/redis", "7", im); !bytes.Equal(got, layer) {
					t.Error("another layer")
				}
			}
			for _, d := range []layout.Digest{im.config, im.layer} {
				if n := up.count("GET " + hub + "/v2/library/redis/blobs/" + string(d)); n != 1 {
					t.Errorf("%s was fetched %d times", d, n)
				}
			}
			if n := up.count(string(im.other)); n > 0 {
				t.Error("the other platform's image was fetched")
			}
			if n := up.count(auth); n != 1 {
				t.Errorf("%d tokens", n)
			}
			up.server.CloseClientConnections()
			up.server.Close()
			c.wait(time.Hour)
			c.pull(hub, "library/redis", "7", im)

			// A collection keeps what is there of the index, and only that is listed.
			report, err := c.store.Collect(t.Context(), layout.Policy{Keep: 1})
			if err != nil || len(report.Removed) > 0 || len(report.Kept) != 1 || report.Blobs > 0 {
				t.Errorf("%+v %v", report, err)
			}
			c.pull(hub, "library/redis", "7", im)
		})
	}
}

// What lost its end with the machine is fetched again.
func TestCutFilesAreFetchedAgain(t *testing.T) {
	up := script(t)
	c := through(t, up)
	layer := random(1000)
	im := up.publish("7", layer)
	c.know(up, nil)
	c.pull(hub, "a/b", "7", im)
	for _, d := range []layout.Digest{im.index, im.child, im.config, im.layer} {
		if err := os.Truncate(filepath.Join(c.store.Dir(), "blobs", "sha256", d.Hex()), 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.pull(hub, "a/b", "7", im); !bytes.Equal(got, layer) {
		t.Error("another layer")
	}
}

// Docker Hub's registry has another name than its images.
func TestDockerHub(t *testing.T) {
	up := script(t)
	c := through(t, up)
	im := up.publish("7", random(100))
	c.know(up, nil)
	c.pull("docker.io", "library/redis", "7", im)
	if up.count("registry-1.docker.io/v2/library/redis/manifests/7") == 0 {
		t.Errorf("asked %q", up.asked)
	}
}

// Three nodes want one blob at once, and a fourth a part of it: they read it
// while it comes, and it comes once.
func TestReadersShareADownload(t *testing.T) {
	up := script(t)
	c := through(t, up)
	layer := random(1<<20 + 17)
	im := up.publish("7", layer)
	c.know(up, nil)
	half, rest := make(chan struct{}), make(chan struct{})
	up.set(func() {
		up.blob = func(w http.ResponseWriter, r *http.Request, content []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			if len(content) != len(layer) {
				w.Write(content)
				return
			}
			w.Write(content[:len(content)/2])
			w.(http.Flusher).Flush()
			close(half) // a second request panics here
			<-rest
			w.Write(content[len(content)/2:])
		}
	})
	path := "a/b/manifests/"
	c.want(http.StatusOK, hub, path+"7")
	c.want(http.StatusOK, hub, path+string(im.child))
	var nodes sync.WaitGroup
	var halves sync.WaitGroup
	halves.Add(3)
	for range 3 {
		nodes.Go(func() {
			resp, err := http.Get(c.server.URL + "/v2/a/b/blobs/" + string(im.layer) + "?ns=" + hub)
			if err != nil {
				halves.Done()
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			first := make([]byte, len(layer)/2)
			_, err = io.ReadFull(resp.Body, first)
			halves.Done()
			second, err2 := io.ReadAll(resp.Body)
			if err != nil || err2 != nil || !bytes.Equal(append(first, second...), layer) {
				t.Errorf("a reader: %v %v, %d bytes", err, err2, len(first)+len(second))
			}
		})
	}
	<-half
	if status, b, err := c.do(http.MethodGet, hub, "a/b/blobs/"+string(im.layer), "bytes=100-199"); status != http.StatusPartialContent || err != nil || !bytes.Equal(b, layer[100:200]) {
		t.Errorf("a range of what is there: %d %v", status, err)
	}
	halves.Wait() // all have read what the registry has not sent to its end
	nodes.Go(func() {
		from := len(layer) - 100
		if status, b, err := c.do(http.MethodGet, hub, "a/b/blobs/"+string(im.layer), fmt.Sprintf("bytes=%d-", from)); status != http.StatusPartialContent || err != nil || !bytes.Equal(b, layer[from:]) {
			t.Errorf("a range of what comes: %d %v", status, err)
		}
	})
	close(rest)
	nodes.Wait()
	if n := up.count(string(im.layer)); n != 1 {
		t.Errorf("%d requests", n)
	}
	if !c.store.Has(im.layer, int64(len(layer))) {
		t.Error("it is not in the store")
	}
}

// A connection that breaks is taken up where it broke.
func TestCutBlob(t *testing.T) {
	up := script(t)
	c := through(t, up)
	layer := random(1 << 20)
	im := up.publish("7", layer)
	c.know(up, nil)
	var cuts atomic.Int32
	var most atomic.Int32
	most.Store(2)
	up.set(func() {
		up.blob = func(w http.ResponseWriter, r *http.Request, content []byte) {
			if len(content) == len(layer) && cuts.Add(1) <= most.Load() {
				w = &cutting{w, 300 << 10}
			}
			whole(w, r, content)
		}
	})
	if got := c.pull(hub, "a/b", "7", im); !bytes.Equal(got, layer) {
		t.Error("another layer")
	}
	if n := up.count(string(im.layer) + " bytes="); n != 2 {
		t.Errorf("%d requests for the rest, of 2", n)
	}

	// One that always breaks is not kept, and the reader learns of it.
	cuts.Store(0)
	most.Store(1000)
	layer = random(3 << 20)
	im = up.publish("8", layer)
	c.want(http.StatusOK, hub, "a/b/manifests/8")
	c.want(http.StatusOK, hub, "a/b/manifests/"+string(im.child))
	if _, b, err := c.do(http.MethodGet, hub, "a/b/blobs/"+string(im.layer), ""); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d of %d bytes: %v", len(b), len(layer), err)
	}
	if c.store.Has(im.layer, -1) {
		t.Error("a part is in the store")
	}
}

// A cutting connection ends after some bytes of the body.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// What is not what its name says is not kept, and no reader gets all of it.
func TestWrongContent(t *testing.T) {
	up := script(t)
	c := through(t, up)
	layer := random(1 << 20)
	im := up.publish("7", layer)
	c.know(up, nil)
	for name, send := range map[string]func([]byte) []byte{
		"other bytes": func(b []byte) []byte { return random(len(b)) },
		"too few":     func(b []byte) []byte { return b[:len(b)-1] },
		"too many":    func(b []byte) []byte { return append(bytes.Clone(b), 0) },
	} {
		up.set(func() {
			up.blob = func(w http.ResponseWriter, r *http.Request, content []byte) {
				w.(http.Flusher).Flush() // no length is said
				w.Write(send(content))
			}
		})
		c.want(http.StatusOK, hub, "a/b/manifests/7")
		c.want(http.StatusOK, hub, "a/b/manifests/"+string(im.child))
		if status, b, err := c.do(http.MethodGet, hub, "a/b/blobs/"+string(im.layer), ""); err == nil && status == http.StatusOK || len(b) >= len(layer) {
			t.Errorf("%s: %d bytes, %d %v", name, len(b), status, err)
		}
		if c.store.Has(im.layer, -1) {
			t.Errorf("%s: in the store", name)
		}
	}
	// A manifest, by digest.
	up.set(func() { up.manifests[string(im.other)] = up.manifests[string(im.child)] })
	c.want(http.StatusNotFound, hub, "a/b/manifests/"+string(im.other))
	// A blob that no image needs.
	up.set(func() { up.blob = whole; up.blobs[layout.DigestOf([]byte("x"))] = []byte("x") })
	c.want(http.StatusNotFound, hub, "a/b/blobs/"+string(layout.DigestOf([]byte("x"))))
}

// A tag that moved is followed; one that cannot be asked about is what it was,
// without a wait; a copy of the engine's stays.
func TestMovedTag(t *testing.T) {
	up := script(t)
	c := through(t, up)
	first := up.publish("latest", random(100))
	c.know(up, nil)
	tag := func() layout.Digest { return layout.DigestOf(c.want(http.StatusOK, hub, "a/b/manifests/latest")) }
	if got := tag(); got != first.index {
		t.Fatalf("got %s", got)
	}
	second := up.publish("latest", random(100))
	if got := tag(); got != first.index {
		t.Error("asked again within seconds")
	}
	c.wait(time.Minute)
	if got := tag(); got != second.index {
		t.Error("the tag has not moved")
	}
	c.pull(hub, "a/b", "latest", second)
	report, err := c.store.Collect(t.Context(), layout.Policy{Keep: 1})
	if err != nil || len(report.Removed) != 1 || report.Removed[0].Digest != first.index || c.store.Has(first.index, -1) || !c.store.Has(second.layer, -1) {
		t.Errorf("%+v %v", report, err)
	}

	silent := make(chan struct{})
	up.set(func() { up.silent = silent })
	third := up.publish("latest", random(100))
	for i := range 3 {
		c.wait(15 * time.Second)
		start := time.Now()
		if got := tag(); got != second.index {
			t.Error("a tag that cannot be asked about is another one")
		}
		if took := time.Since(start); took > 5*time.Second || i == 1 && took > time.Second {
			t.Errorf("time %d took %s", i, took)
		}
	}
	close(silent)
	up.set(func() { up.silent = nil })
	c.wait(time.Minute)
	if got := tag(); got != third.index {
		t.Error("the tag has not moved after a silence")
	}

	// The engine's copy is another manifest under the same tag.
	c.pull(hub, "a/b", "latest", third)
	raw, err := c.store.ReadBlob(third.child)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.PutManifest("mirror/"+hub+"/a/b", "latest", layout.OCIManifest, raw); err != nil {
		t.Fatal(err)
	}
	c.wait(time.Minute)
	before := up.count("HEAD")
	if got := tag(); got != third.child || up.count("HEAD") != before {
		t.Error("the engine's copy was replaced, or asked about")
	}
}

// Failures are "not here", at once: the node asks the registry itself.
func TestFailuresAreNotFound(t *testing.T) {
	up := script(t)
	c := through(t, up)
	up.publish("7", random(100))
	c.know(up, nil)
	c.want(http.StatusNotFound, hub, "a/b/manifests/8")
	up.set(func() { up.password["a/private"] = "secret" })
	c.want(http.StatusNotFound, hub, "a/private/manifests/7")
	up.set(func() {
		up.manifests["old"] = []byte(`{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+json","config":{}}`)
	})
	c.want(http.StatusNotFound, hub, "a/b/manifests/old")
	c.want(http.StatusOK, hub, "a/b/manifests/7") // none of it was held against the host
	// Without a certificate that it could trust, nobody is asked.
	before := up.count("")
	c.know(up, func(k *pullthrough.Config) { k.Roots = "" })
	c.want(http.StatusNotFound, hub, "a/c/manifests/7")
	if up.count("") != before {
		t.Error("asked without a certificate")
	}
}

// Where the registry says nothing, the answer says why, in a way in which
// containerd reports it.
func TestSilenceIsTold(t *testing.T) {
	up := script(t)
	c := through(t, up)
	up.publish("7", random(100))
	says := func(host, want string) {
		t.Helper()
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			req, err := http.NewRequest(method, c.server.URL+"/v2/a/c/manifests/7?ns="+host, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if !strings.HasPrefix(resp.Status, "502 "+host+" does not answer: ") || !strings.Contains(resp.Status, want) {
				t.Errorf("%s of %s: %s", method, host, resp.Status)
			}
		}
	}
	c.know(up, nil)
	says("other.example", "x509: certificate is valid for")
	_, foreign := certify(t, hub)
	c.know(up, func(k *pullthrough.Config) { k.Roots = foreign })
	says(hub, "x509: certificate signed by unknown authority")
	c.know(up, nil)
	c.want(http.StatusOK, hub, "a/b/manifests/7")
	up.server.CloseClientConnections()
	up.server.Close()
	says(hub, "connection refused")
	c.want(http.StatusOK, hub, "a/b/manifests/7") // what is held
	c.wait(time.Minute)
	says(hub, "connection refused")
	c.want(http.StatusNotFound, "kdev-registry:5000", "a/c/manifests/7") // what is never asked
}

// A private image is fetched with the login that a project has for it, and no
// other of the same registry with that login.
func TestLogins(t *testing.T) {
	for _, basic := range []bool{false, true} {
		t.Run(fmt.Sprintf("basic %t", basic), func(t *testing.T) {
			up := script(t)
			c := through(t, up)
			im := up.publish("7", random(100))
			up.set(func() {
				up.basic = basic
				up.password["acme/shop"], up.password["acme/vault"] = "secret", "secret"
			})
			c.know(up, func(k *pullthrough.Config) {
				k.Hosts = []string{hub}
				k.Logins = []pullthrough.Login{{Host: hub, Repository: "acme/shop", Username: "me", Password: "secret"}}
			})
			c.want(http.StatusNotFound, hub, "acme/vault/manifests/7")
			c.pull(hub, "acme/shop", "7", im)
			// The project does not name it any more.
			c.know(up, nil)
			c.want(http.StatusNotFound, hub, "acme/shop/manifests/8")
			if up.count("acme/shop/manifests/8") != 1 {
				t.Error("asked with a login that was taken back")
			}
		})
	}
}

// Each project has its own say; the first of too many is forgotten.
func TestProjects(t *testing.T) {
	c := through(t, script(t))
	for _, key := range []string{"a", "b", "a"} {
		if err := c.cache.Configure(key, []byte(`{"hosts":["`+key+`"]}`)); err != nil {
			t.Fatal(err)
		}
	}
	if c.cache.Configured("a") == "" || c.cache.Configured("b") == "" || c.cache.Configured("c") != "" {
		t.Error("not what was said")
	}
	for i := range 70 {
		if err := c.cache.Configure(fmt.Sprintf("p%d", i), []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	if c.cache.Configured("a") != "" || c.cache.Configured("p69") == "" {
		t.Error("what nobody says any more is kept")
	}
	for _, bad := range []string{`{`, `{"proxy":{"url":"::"}}`, `{"hosts":[` + strings.Repeat(`"a",`, 600) + `"a"]}`} {
		if c.cache.Configure("a", []byte(bad)) == nil {
			t.Errorf("took %.40s", bad)
		}
	}
}

// Certificates for one registry count for that one.
func TestHostRoots(t *testing.T) {
	up := script(t)
	c := through(t, up)
	im := up.publish("7", random(100))
	c.know(up, func(k *pullthrough.Config) {
		k.Roots, k.Hosts, k.HostRoots = "", []string{hub, cdn}, map[string]string{hub: up.roots}
	})
	c.want(http.StatusNotFound, cdn, "a/b/manifests/7")
	c.pull(hub, "a/b", "7", im)
}

// A registry in a private network is asked where a project names it, and a
// machine's own services never are: neither by name, nor by a redirect, nor by
// a name that points there.
func TestRefused(t *testing.T) {
	up := script(t)
	c := through(t, up)
	im := up.publish("7", random(100))
	var touched atomic.Int32
	inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { touched.Add(1) }))
	defer inside.Close()
	inside.Config.ConnState = func(net.Conn, http.ConnState) { touched.Add(1) }
	at := strings.TrimPrefix(inside.URL, "https://")
	real := netip.MustParseAddrPort(up.server.Listener.Addr().String())
	c.cache.At(func(addr string) string {
		switch addr {
		case "rebound.example:443", "cdn.example:443":
			return at // a name that points at this machine
		case "10.1.2.3:443", hub + ":443", auth + ":443":
			return real.String()
		}
		return addr
	}, func(a netip.AddrPort) bool { return a == real })
	_, port, _ := net.SplitHostPort(at)
	for _, named := range []bool{false, true} {
		c.know(up, func(k *pullthrough.Config) {
			if named {
				k.Hosts = []string{hub, at, "localhost:" + port, "rebound.example", "127.0.0.1:" + port, "10.1.2.3"}
			}
		})
		for _, host := range []string{at, "127.0.0.1:" + port, "rebound.example", "169.254.169.254", "kdev-registry:5000", "metadata.google.internal", "0.0.0.0:" + port} {
			c.want(http.StatusNotFound, host, "a/b/manifests/7")
		}
		status := map[bool]int{false: http.StatusNotFound, true: http.StatusOK}[named]
		c.want(status, "10.1.2.3", "a/b/manifests/7")
		c.want(http.StatusOK, hub, "a/b/manifests/7")
		c.want(http.StatusOK, hub, "a/b/manifests/"+string(im.child))
		for _, redirect := range []string{"https://" + at + "/", "https://" + cdn + "/", "http://169.254.169.254/", "http://" + hub + "/"} {
			up.set(func() { up.redirect = redirect })
			c.want(http.StatusNotFound, hub, "a/b/blobs/"+string(im.layer))
		}
	}
	if n := touched.Load(); n > 0 {
		t.Errorf("%d connections to this machine", n)
	}
	up.set(func() { up.redirect = "" })
	c.want(http.StatusOK, hub, "a/b/blobs/"+string(im.layer))
}

// A proxy is gone through but for what it is not for.
func TestProxy(t *testing.T) {
	up := script(t)
	c := through(t, up)
	im := up.publish("7", random(1<<20))
	var tunnels sync.WaitGroup
	var mu sync.Mutex
	var connected []string
	var open []net.Conn
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth(); r.Method != http.MethodConnect || password != "pw" {
			http.Error(w, "no", http.StatusProxyAuthRequired)
			return
		}
		mu.Lock()
		connected = append(connected, r.Host)
		mu.Unlock()
		to, err := net.Dial("tcp", up.server.Listener.Addr().String())
		if err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		from, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			to.Close()
			return
		}
		mu.Lock()
		open = append(open, from, to)
		mu.Unlock()
		_, _ = io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n")
		tunnels.Go(func() { _, _ = io.Copy(to, from); to.Close() })
		tunnels.Go(func() { _, _ = io.Copy(from, to); from.Close() })
	}))
	defer func() {
		proxy.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		tunnels.Wait()
	}()
	gate := netip.MustParseAddrPort(strings.TrimPrefix(proxy.URL, "http://"))
	// The proxy alone is reached.
	c.cache.At(nil, func(a netip.AddrPort) bool { return a == gate })
	at := (&url.URL{Scheme: "http", User: url.UserPassword("u", "pw"), Host: gate.String()}).String()
	c.know(up, func(k *pullthrough.Config) { k.Proxy = pullthrough.Proxy{URL: at} })
	c.pull(hub, "a/b", "7", im)
	for _, host := range []string{"10.1.2.3", "kdev-registry", "localhost", "db.internal"} {
		c.want(http.StatusNotFound, host, "a/b/manifests/7")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, to := range connected {
		if to != hub+":443" && to != auth+":443" {
			t.Errorf("the proxy was asked for %s", to)
		}
	}
	if len(connected) == 0 {
		t.Error("the proxy was not asked")
	}
}
