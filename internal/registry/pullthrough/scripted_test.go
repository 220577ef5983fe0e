package pullthrough_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/registry/distribution"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// The hosts that the scripted registry plays.
const (
	hub  = "hub.example"  // the registry
	auth = "auth.example" // its token server
	cdn  = "cdn.example"  // where its blobs are, when it redirects
)

// A scripted is a registry with a certificate of a private authority, that
// answers as a test wants it to.
type scripted struct {
	server *httptest.Server
	roots  string // PEM
	blobs  map[layout.Digest][]byte

	mu        sync.Mutex
	manifests map[string][]byte // by tag and digest
	asked     []string
	password  map[string]string // by repository; "" is for everybody
	basic     bool              // instead of tokens
	redirect  string            // of blobs
	blob      func(w http.ResponseWriter, r *http.Request, content []byte)
	silent    chan struct{} // nothing is answered before it is closed
}

func script(t *testing.T) *scripted {
	t.Helper()
	s := &scripted{blobs: map[layout.Digest][]byte{}, manifests: map[string][]byte{}, password: map[string]string{}}
	s.server = httptest.NewUnstartedServer(s)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // what clients refuse
	var certificate tls.Certificate
	certificate, s.roots = certify(t, hub, auth, cdn, "docker.io", "registry-1.docker.io", "10.1.2.3")
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	return s
}

// certify makes an authority and a certificate of it.
func certify(t *testing.T, names ...string) (tls.Certificate, string) {
	t.Helper()
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	until := time.Now().Add(time.Hour)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	rootDER, rootKey := make(root, root, nil)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: until}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	leafDER, leafKey := make(leaf, root, rootKey)
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}))
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	line := r.Method + " " + r.Host + r.URL.Path
	if v := r.Header.Get("Range"); v != "" {
		line += " " + v
	}
	s.asked = append(s.asked, line)
	silent, redirect, blob, basic := s.silent, s.redirect, s.blob, s.basic
	s.mu.Unlock()
	if silent != nil {
		select {
		case <-silent:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if r.Host == auth {
		repository := strings.TrimSuffix(strings.TrimPrefix(r.URL.Query().Get("scope"), "repository:"), ":pull")
		if _, password, _ := r.BasicAuth(); s.secret(repository) != "" && password != s.secret(repository) {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"token":"for-%s","expires_in":300}`, repository)
		return
	}
	if r.Host == cdn {
		if r.Header.Get("Authorization") != "" {
			http.Error(w, "signed twice", http.StatusBadRequest) // as S3 does
			return
		}
		blob(w, r, s.blobs[layout.Digest(strings.TrimPrefix(r.URL.Path, "/"))])
		return
	}
	repository, kind, ref := cut(r.URL.Path)
	switch {
	case basic:
		if _, password, _ := r.BasicAuth(); s.secret(repository) != "" && password != s.secret(repository) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
	case r.Header.Get("Authorization") != "Bearer for-"+repository:
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+auth+`/token?x=1",service="test",scope="repository:`+repository+`:pull"`)
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	if kind == "blobs" {
		content, ok := s.blobs[layout.Digest(ref)]
		switch {
		case !ok:
			http.NotFound(w, r)
		case redirect != "":
			http.Redirect(w, r, redirect+ref, http.StatusTemporaryRedirect)
		default:
			blob(w, r, content)
		}
		return
	}
	s.mu.Lock()
	raw := s.manifests[ref]
	s.mu.Unlock()
	if raw == nil {
		http.NotFound(w, r)
		return
	}
	if m, err := layout.ParseManifest(raw, ""); err == nil {
		w.Header().Set("Content-Type", m.MediaType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.Header().Set("Docker-Content-Digest", string(layout.DigestOf(raw)))
	if r.Method == http.MethodGet {
		w.Write(raw)
	}
}

func (s *scripted) secret(repository string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.password[repository]
}

func cut(path string) (repository, kind, ref string) {
	parts := strings.Split(strings.TrimPrefix(path, "/v2/"), "/")
	n := len(parts)
	return strings.Join(parts[:n-2], "/"), parts[n-2], parts[n-1]
}

// whole sends a blob as it should be sent.
func whole(w http.ResponseWriter, r *http.Request, content []byte) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// set changes the script.
func (s *scripted) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// count is how often something was asked that holds text.
func (s *scripted) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, line := range s.asked {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// An image of the scripted registry: an index of two platforms.
type image struct {
	index, child, other, config, layer layout.Digest
}

// publish puts an image under a tag.
func (s *scripted) publish(tag string, layer []byte) image {
	s.mu.Lock()
	defer s.mu.Unlock()
	blob := func(content []byte) layout.Descriptor {
		d := layout.DigestOf(content)
		s.blobs[d] = content
		return layout.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: int64(len(content))}
	}
	put := func(m layout.Manifest) layout.Descriptor {
		m.SchemaVersion = 2
		raw, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		d := layout.DigestOf(raw)
		s.manifests[string(d)] = raw
		return layout.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(raw))}
	}
	config, content := blob([]byte(`{"of":"`+tag+`"}`)), blob(layer)
	child := put(layout.Manifest{MediaType: layout.OCIManifest, Config: &config, Layers: []layout.Descriptor{content}})
	elsewhere := blob([]byte("another platform's of " + tag))
	other := put(layout.Manifest{MediaType: layout.OCIManifest, Config: &config, Layers: []layout.Descriptor{elsewhere}})
	index := put(layout.Manifest{MediaType: layout.OCIIndex, Manifests: []layout.Descriptor{child, other}})
	s.manifests[tag] = s.manifests[string(index.Digest)]
	return image{index.Digest, child.Digest, other.Digest, config.Digest, content.Digest}
}

// A cluster is the side of our registry that nodes see.
type cluster struct {
	t      *testing.T
	store  *layout.Store
	cache  *pullthrough.Cache
	server *httptest.Server
	passed atomic.Int64 // of time, as a time.Duration
}

// wait has time pass for the cache.
func (c *cluster) wait(d time.Duration) { c.passed.Add(int64(d)) }

// through is a registry that reaches the scripted one under all of its names.
func through(t *testing.T, s *scripted) *cluster {
	t.Helper()
	store, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, store: store, cache: pullthrough.New(store, func(line string) { t.Log(line) })}
	real := netip.MustParseAddrPort(s.server.Listener.Addr().String())
	start := time.Now()
	c.cache.Clock(func() time.Time { return start.Add(time.Duration(c.passed.Load())) })
	c.cache.At(func(addr string) string {
		if strings.HasSuffix(addr, ":443") {
			return real.String()
		}
		return addr
	}, func(at netip.AddrPort) bool { return at == real })
	c.server = httptest.NewServer(distribution.Handler(store, distribution.Options{Upstream: c.cache}))
	t.Cleanup(func() { c.server.Close(); c.cache.Close() })
	s.set(func() { s.blob = whole })
	return c
}

// know has the cache know the scripted registry's authority.
func (c *cluster) know(s *scripted, change func(*pullthrough.Config)) {
	c.t.Helper()
	config := pullthrough.Config{Roots: s.roots}
	if change != nil {
		change(&config)
	}
	doc, err := json.Marshal(config)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.cache.Configure("test", doc); err != nil {
		c.t.Fatal(err)
	}
}

// do asks as a node does.
func (c *cluster) do(method, host, path, span string) (int, []byte, error) {
	req, err := http.NewRequest(method, c.server.URL+"/v2/"+path+"?ns="+host, nil)
	if err != nil {
		return 0, nil, err
	}
	if span != "" {
		req.Header.Set("Range", span)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// want asks and checks the status.
func (c *cluster) want(status int, host, path string) []byte {
	c.t.Helper()
	got, b, err := c.do(http.MethodGet, host, path, "")
	if err != nil || got != status {
		c.t.Fatalf("GET %s of %s: %d %v, want %d: %.200s", path, host, got, err, status, b)
	}
	return b
}

// pull takes an image as containerd does, and returns its layer.
func (c *cluster) pull(host, repository, tag string, im image) []byte {
	c.t.Helper()
	if status, _, err := c.do(http.MethodHead, host, repository+"/manifests/"+tag, ""); err != nil || status != http.StatusOK {
		c.t.Fatalf("HEAD %s:%s: %d %v", repository, tag, status, err)
	}
	for _, d := range []layout.Digest{im.index, im.child} {
		c.want(http.StatusOK, host, repository+"/manifests/"+string(d))
	}
	c.want(http.StatusOK, host, repository+"/blobs/"+string(im.config))
	return c.want(http.StatusOK, host, repository+"/blobs/"+string(im.layer))
}
