package registry

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"
)

const errNoSpace = syscall.ENOSPC

func newToken() ([]byte, error) { return []byte(rand.Text()), nil }

// An Endpoint is the registry as it runs: who reaches it by which name.
type Endpoint struct {
	Host     string // what goes into pod specs: "localhost:5001"; stays the same when the port has to change
	PushHost string // where this machine and its engine reach it: "127.0.0.1:5001"
	Token    string // password for writes through PushHost
	// Shared says that the registry serves the Store's own folder: what is in
	// the store can be pulled at once. Otherwise it must be published.
	Shared bool
	// Container is the registry's container, which is also its name on the
	// nodes' network.
	Container string

	http *http.Client
}

// Ref is the reference of an image for a pod spec. The tag is for people; the
// digest is what is pulled.
func (e *Endpoint) Ref(repo, tag, digest string) string {
	ref := e.Host + "/" + repo
	if tag != "" {
		ref += ":" + tag
	}
	return ref + "@" + digest
}

// Short is the tag that kdev gives to an image: the head of its digest.
func Short(digest string) string {
	h := strings.TrimPrefix(digest, "sha256:")
	return h[:min(12, len(h))]
}

// newHTTP is a client for 127.0.0.1: no proxy, no cookies, no surprise.
func newHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy: nil, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second, DisableCompression: true,
	}}
}

func (e *Endpoint) url(format string, args ...any) string {
	return "http://" + e.PushHost + "/v2/" + fmt.Sprintf(format, args...)
}
