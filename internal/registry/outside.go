package registry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/distribution"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// Outside tells the registry how this machine reaches the registries of others,
// so that nodes pull through it: the certificates that this machine trusts, its
// proxy, the hosts that refs name, and the logins of those of refs that nobody
// can pull without. project is what tells the projects of this machine apart.
// Where the registry knows all of it already, nothing is sent. The note, if
// there is one, is what a person should know.
func (e *Endpoint) Outside(ctx context.Context, project string, refs []string, opens []pullthrough.Login) (note string, err error) {
	config, note := outside(refs, opens, os.Getenv, "/")
	doc, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	key := sha256.Sum256([]byte(project))
	at := "http://" + e.PushHost + distribution.UpstreamPath + hex.EncodeToString(key[:8])
	resp, err := e.do(ctx, http.MethodGet, at, nil, 0)
	if err != nil {
		return "", upstreamUnset(err)
	}
	resp.Body.Close()
	if resp.Header.Get("ETag") == strconv.Quote(pullthrough.Hash(doc)) {
		return note, nil
	}
	resp, err = e.do(ctx, http.MethodPut, at, bytes.NewReader(doc), int64(len(doc)))
	if err != nil {
		return "", upstreamUnset(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		return "", upstreamUnset(fmt.Errorf("PUT: %s %s", resp.Status, bytes.TrimSpace(said)))
	}
	return note, nil
}

func upstreamUnset(err error) error {
	return &problem.Problem{
		Code: "upstream-unset", Summary: "the image registry was not told how to reach other registries: nodes pull from those themselves", Err: err,
		Hint: "see `docker logs " + Name + "`; `docker rm -f " + Name + "` is safe, kdev makes it again",
	}
}

// outside is what refs take, by the environment and the files below root.
func outside(refs []string, opens []pullthrough.Login, getenv func(string) string, root string) (pullthrough.Config, string) {
	c := pullthrough.Config{Roots: roots(getenv, root), HostRoots: map[string]string{}, Logins: slices.Clone(opens)}
	for _, ref := range refs {
		if named, err := name.ParseReference(ref); err == nil { // else the API server says so
			c.Hosts = append(c.Hosts, pullthrough.Canonical(named.Context().RegistryStr()))
		}
	}
	// Sorted: the same project says the same each time.
	slices.Sort(c.Hosts)
	c.Hosts = slices.Compact(c.Hosts)
	slices.SortFunc(c.Logins, func(a, b pullthrough.Login) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Repository, b.Repository))
	})
	c.Logins = slices.Compact(c.Logins)
	for _, host := range c.Hosts {
		if pems := hostRoots(getenv, root, host); pems != "" {
			c.HostRoots[host] = pems
		}
	}
	var note string
	c.Proxy, note = proxy(getenv)
	return c, note
}

// proxy is the one of the environment. One that listens on this machine only
// cannot be reached from a container.
func proxy(getenv func(string) string) (pullthrough.Proxy, string) {
	either := func(name string) string { return cmp.Or(getenv(name), getenv(strings.ToLower(name))) }
	given := either("HTTPS_PROXY")
	if given == "" {
		return pullthrough.Proxy{}, ""
	}
	if !strings.Contains(given, "://") {
		given = "http://" + given
	}
	u, err := url.Parse(given)
	if err != nil || u.Hostname() == "" {
		return pullthrough.Proxy{}, "HTTPS_PROXY is no address of a proxy: images of others are pulled without one"
	}
	if addr, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "localhost" || err == nil && addr.IsLoopback() {
		return pullthrough.Proxy{}, "the proxy of HTTPS_PROXY, " + net.JoinHostPort(u.Hostname(), u.Port()) +
			", listens on this machine only, where no container reaches it: images of others are pulled without it"
	}
	return pullthrough.Proxy{URL: given, Except: either("NO_PROXY")}, ""
}

// bundles are where the distributions keep what they trust, in one file; the
// list is that of Go's crypto/x509, with macOS' copy of its system roots.
var bundles = []string{
	"etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/ca-bundle.pem", "etc/pki/tls/cacert.pem",
	"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/ssl/cert.pem",
}

// certificates are the folders for when there is no such file.
var certificates = []string{"etc/ssl/certs", "etc/pki/tls/certs"}

// maxRoots bounds what is read of files that are not ours; Debian's bundle has 220 KB.
const maxRoots = 2 << 20

// roots are the certificates that this machine trusts. The pool of crypto/x509
// cannot be written out, so its files are read, by its rules.
func roots(getenv func(string) string, root string) string {
	var out certificatePool
	if file := getenv("SSL_CERT_FILE"); file != "" {
		out.file(file)
	} else {
		for _, f := range bundles {
			if out.file(filepath.Join(root, f)) {
				break
			}
		}
	}
	if dirs := getenv("SSL_CERT_DIR"); dirs != "" {
		for _, dir := range filepath.SplitList(dirs) {
			out.dir(dir, "")
		}
	} else if out.text.Len() == 0 {
		for _, dir := range certificates {
			out.dir(filepath.Join(root, dir), "")
		}
	}
	return out.text.String()
}

// hostRoots are the certificates that the engine trusts for one registry; see
// "Verify repository client with certificates" of Docker's documentation.
func hostRoots(getenv func(string) string, root, host string) string {
	var out certificatePool
	out.dir(filepath.Join(root, "etc/docker/certs.d", host), ".crt")
	if home := getenv("HOME"); home != "" {
		out.dir(filepath.Join(home, ".docker/certs.d", host), ".crt")
	}
	return out.text.String()
}

// A certificatePool is PEM without anything but certificates, each of them once.
type certificatePool struct {
	text strings.Builder
	seen map[string]bool
}

// file adds those of a file and says whether it holds any.
func (p *certificatePool) file(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxRoots))
	if err != nil {
		return false
	}
	found := false
	for {
		var block *pem.Block
		if block, raw = pem.Decode(raw); block == nil {
			return found
		}
		if block.Type != "CERTIFICATE" { // a key would be nobody's business
			continue
		}
		found = true
		if p.seen == nil {
			p.seen = map[string]bool{}
		}
		if p.seen[string(block.Bytes)] || p.text.Len() > maxRoots {
			continue
		}
		p.seen[string(block.Bytes)] = true
		block.Headers = nil
		_ = pem.Encode(&p.text, block) // a strings.Builder takes all
	}
}

// dir adds those of the files of a folder.
func (p *certificatePool) dir(path, suffix string) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), suffix) {
			p.file(filepath.Join(path, e.Name()))
		}
	}
}
