package pullthrough

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A Config is what one project's kdev says of the world outside. It holds
// passwords: it is kept in memory, and comes again with the next `kdev up`.
type Config struct {
	// Roots are the certificates that this machine trusts, as PEM.
	Roots string `json:"roots,omitempty"`
	// HostRoots are those that it trusts for one registry only.
	HostRoots map[string]string `json:"hostRoots,omitempty"`
	Proxy     Proxy             `json:"proxy"`
	// Hosts are the registries that the project's manifests name. These alone may
	// have an address of a private network.
	Hosts []string `json:"hosts,omitempty"`
	// Logins are for private images that the manifests name, one a repository.
	Logins []Login `json:"logins,omitempty"`
}

// A Proxy is the one of HTTPS_PROXY; registries are asked by HTTPS only.
type Proxy struct {
	URL    string `json:"url,omitempty"`
	Except string `json:"except,omitempty"` // NO_PROXY
}

// A Login opens one repository.
type Login struct {
	Host       string `json:"host"`
	Repository string `json:"repository"`
	Username   string `json:"username"`
	Password   string `json:"password"`
}

// Bounds of what is taken from outside.
const (
	MaxConfig  = 4 << 20 // bytes
	maxSources = 64      // projects
	maxListed  = 512     // hosts and logins of one
)

// Hash names a configuration without telling what it holds.
func Hash(doc []byte) string {
	h := sha256.Sum256(doc)
	return hex.EncodeToString(h[:])
}

// A source is what one project said.
type source struct {
	key, hash string
	config    Config
}

// outside is what all projects together say.
type outside struct {
	mu      sync.Mutex
	sources []source // the one that spoke last is last
	current *network // nil: nobody has said anything
}

// Configure takes what the project with this key says, in place of what it
// said before. Certificates and proxy are those of who spoke last; hosts and
// logins are those of all.
func (c *Cache) Configure(key string, doc []byte) error {
	var config Config
	if err := json.Unmarshal(doc, &config); err != nil {
		return fmt.Errorf("configuration of upstream registries: %w", err)
	}
	if len(config.Hosts) > maxListed || len(config.Logins) > maxListed || len(config.HostRoots) > maxListed {
		return fmt.Errorf("configuration of upstream registries: more than %d entries", maxListed)
	}
	o := &c.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	sources := slices.DeleteFunc(slices.Clone(o.sources), func(s source) bool { return s.key == key })
	if len(sources) >= maxSources {
		sources = sources[1:]
	}
	sources = append(sources, source{key, Hash(doc), config})
	n, err := newNetwork(sources, c.dial)
	if err != nil {
		return err
	}
	if o.current != nil {
		o.current.close()
	}
	o.sources, o.current = sources, n
	c.forget()
	return nil
}

// Configured is the hash of what the project said last; "" is nothing.
func (c *Cache) Configured(key string) string {
	o := &c.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.sources {
		if s.key == key {
			return s.hash
		}
	}
	return ""
}

// network is how registries are reached at the moment.
type network struct {
	public *http.Client            // for any host: public addresses only
	named  *http.Client            // for those that a project names
	own    map[string]*http.Client // for those of them that have certificates of their own
	hosts  map[string]bool
	roots  bool             // some certificates are trusted for all hosts
	logins map[string]Login // by host and repository
}

func newNetwork(sources []source, dial dialing) (*network, error) {
	last := sources[len(sources)-1].config
	var proxy *url.URL
	if last.Proxy.URL != "" {
		var err error
		if proxy, err = url.Parse(last.Proxy.URL); err != nil || proxy.Host == "" {
			return nil, errors.New("configuration of upstream registries: the proxy is no URL") // which may hold a password
		}
	}
	choose := chooser(proxy, last.Proxy.Except)
	n := &network{
		public: newClient(dial, false, choose, proxy, pool(last.Roots)), named: newClient(dial, true, choose, proxy, pool(last.Roots)),
		own: map[string]*http.Client{}, hosts: map[string]bool{}, logins: map[string]Login{}, roots: last.Roots != "",
	}
	roots := map[string]string{}
	for _, s := range sources {
		for _, h := range s.config.Hosts {
			n.hosts[Canonical(h)] = true
		}
		for h, pem := range s.config.HostRoots {
			roots[Canonical(h)] = pem
		}
		for _, l := range s.config.Logins {
			n.logins[Canonical(l.Host)+"/"+l.Repository] = l
		}
	}
	for h, pem := range roots {
		if n.hosts[h] {
			n.own[h] = newClient(dial, true, choose, proxy, pool(last.Roots, pem))
		}
	}
	return n, nil
}

// pool holds the certificates of all texts. Those that do not parse are left out.
func pool(texts ...string) *x509.CertPool {
	p := x509.NewCertPool()
	for _, t := range texts {
		p.AppendCertsFromPEM([]byte(t))
	}
	return p
}

func (n *network) client(host string) *http.Client {
	switch {
	case n.own[host] != nil:
		return n.own[host]
	case n.hosts[host]:
		return n.named
	}
	return n.public
}

func (n *network) close() {
	n.public.CloseIdleConnections()
	n.named.CloseIdleConnections()
	for _, c := range n.own {
		c.CloseIdleConnections()
	}
}

// Canonical is the one name of a registry that has several, as containerd says it.
func Canonical(host string) string {
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

// endpoint is where a registry's API is.
func endpoint(host string) string {
	if host == "docker.io" {
		return "registry-1.docker.io"
	}
	return host
}

// mirror is the repository of the store that holds the copies.
func mirror(host, repository string) string { return layout.Mirror(host, repository) }
