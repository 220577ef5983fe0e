package pullthrough

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// A pod can have this program ask any registry. So which addresses it connects
// to is decided where the address is known, at the dial: names prove nothing.

// errRefused is an address or name that is not asked, at no cost of time.
var errRefused = errors.New("not an address of a registry")

// never are addresses that are of use only to who wants to get at a machine's
// own services: metadata of clouds, and what RFC 6890 gives to no host.
var never = prefixes("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "168.63.129.16/32", "100.100.100.200/32", "240.0.0.0/4", "fd00:ec2::/32", "fe80::/10")

// unnamed are private addresses: a registry there must be named by a project.
var unnamed = prefixes("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "fc00::/7", "fec0::/10")

// translated addresses hold one of IPv4 in their last four bytes (RFC 6052).
var translated = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

// allowed says whether a registry may be at addr; named: a project names it.
func allowed(addr netip.Addr, named bool) bool {
	addr = addr.Unmap().WithZone("")
	if translated.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() || within(never, addr) {
		return false
	}
	return named || !within(unnamed, addr)
}

func within(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// ours says whether the address is one of this container's own.
func ours(addr netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == addr.Unmap() {
			return true
		}
	}
	return false
}

var hostname = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]{1,5})?$`)

// localNames end the names of what is near. A proxy resolves names itself, so
// that the address cannot be judged here.
var localNames = []string{".localhost", ".local", ".localdomain", ".internal", ".lan", ".home.arpa", ".svc", ".test", ".invalid"}

// askable says whether a registry may have this name.
func askable(host string, named bool) bool {
	if len(host) > 255 || !hostname.MatchString(host) {
		return false
	}
	name, _, _ := strings.Cut(host, ":")
	if addr, err := netip.ParseAddr(name); err == nil {
		return named && allowed(addr, true)
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || name == "metadata.google.internal" {
		return false
	}
	if named {
		return true
	}
	for _, suffix := range localNames {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	return strings.Contains(name, ".")
}

// dialing is what tests change of how connections are made.
type dialing struct {
	at     func(addr string) string  // where addr really is; nil: there
	permit func(netip.AddrPort) bool // although it would be refused; nil: none
}

// Each step of a connection is short: while it lasts, a node waits that could
// ask the registry itself.
const (
	dialTakes      = 2 * time.Second
	handshakeTakes = 3 * time.Second
	answerTakes    = 8 * time.Second
)

// newClient is a client that connects to registries only.
func newClient(d dialing, named bool, proxy func(*http.Request) (*url.URL, error), through *url.URL, roots *x509.CertPool) *http.Client {
	connect := func(ctx context.Context, network, addr string) (net.Conn, error) {
		// Our proxy is where this machine says, which may well be a private network.
		named := named || through != nil && addr == withPort(through)
		dialer := net.Dialer{Timeout: dialTakes, ControlContext: func(_ context.Context, _, at string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(at)
			if err != nil {
				return err
			}
			if d.permit != nil && d.permit(to) {
				return nil
			}
			if !allowed(to.Addr(), named) || ours(to.Addr()) {
				return fmt.Errorf("%s: %w", to.Addr(), errRefused)
			}
			return nil
		}}
		if d.at != nil {
			addr = d.at(addr)
		}
		return dialer.DialContext(ctx, network, addr)
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: proxy, DialContext: connect, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: handshakeTakes, ResponseHeaderTimeout: answerTakes, IdleConnTimeout: time.Minute,
			MaxIdleConnsPerHost: 8, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		},
		// Blobs are often elsewhere. What opens the registry is not for them.
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= 5 || req.URL.Scheme != "https" || !askable(strings.ToLower(req.URL.Host), named) {
				return fmt.Errorf("redirect to %s: %w", req.URL.Host, errRefused)
			}
			if req.URL.Host != via[0].URL.Host {
				req.Header.Del("Authorization")
			}
			req.Header.Del("Referer") // may hold a signature
			return nil
		},
	}
}

// withPort is a URL's address as the transport dials it.
func withPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// chooser sends requests through the proxy but those to what except lists, by
// the rules that curl and Go have for NO_PROXY.
func chooser(proxy *url.URL, except string) func(*http.Request) (*url.URL, error) {
	if proxy == nil {
		return nil
	}
	list := strings.Split(except, ",")
	return func(r *http.Request) (*url.URL, error) {
		if excepted(r.URL.Hostname(), r.URL.Port(), list) {
			return nil, nil
		}
		return proxy, nil
	}
}

func excepted(host, port string, list []string) bool {
	if port == "" {
		port = "443"
	}
	addr, _ := netip.ParseAddr(host)
	for _, rule := range list {
		rule = strings.ToLower(strings.TrimSpace(rule))
		if rule == "*" {
			return true
		}
		if p, err := netip.ParsePrefix(rule); err == nil {
			if p.Contains(addr) {
				return true
			}
			continue
		}
		if name, p, err := net.SplitHostPort(rule); err == nil {
			if p != port {
				continue
			}
			rule = name
		}
		if rule == "" {
			continue
		}
		if a, err := netip.ParseAddr(rule); err == nil {
			if a == addr {
				return true
			}
			continue
		}
		if suffix, ok := strings.CutPrefix(strings.TrimPrefix(rule, "*"), "."); ok {
			if strings.HasSuffix(host, "."+suffix) {
				return true
			}
			continue
		}
		if host == rule || strings.HasSuffix(host, "."+rule) {
			return true
		}
	}
	return false
}
