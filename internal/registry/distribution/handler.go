package distribution

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"syscall"

	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// Options say who may do what.
type Options struct {
	// Token allows writes to who presents it, as a bearer token or as the
	// password of basic authentication. Empty: nobody writes.
	Token string
	// Challenge answers GET /v2/ without credentials with 401. Docker's engine
	// sends the credentials that it has only to a registry that asks for them
	// there; clients without any get an anonymous token and may read. The
	// cluster's side is served without it.
	Challenge bool
	// Upstream fetches what the store lacks from the registry that the request
	// names; nil: nothing is. Who has the token says how registries are reached.
	Upstream *pullthrough.Cache
}

// Handler serves the store.
func Handler(store *layout.Store, opts Options) http.Handler {
	// A pushed blob is nobody's until its manifest comes.
	lease := store.NewLease()
	store = store.WithLease(lease)
	return &handler{store: store, lease: lease, opts: opts, uploads: newUploads(store)}
}

type handler struct {
	store   *layout.Store
	lease   *layout.Lease
	opts    Options
	uploads *uploads
}

// route is the tail of a path below /v2/<name>/: a repository's name may hold
// slashes, so the path is read from its end.
var route = regexp.MustCompile(`^/v2/(.+)/(manifests/([^/]+)|blobs/uploads/?|blobs/uploads/([^/]+)|blobs/([^/]+)|tags/list|referrers/([^/]+))$`)

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	switch r.URL.Path {
	case "/v2", "/v2/":
		h.ping(w, r)
		return
	case "/token":
		h.token(w, r)
		return
	case "/v2/_catalog":
		h.read(w, r, h.catalog)
		return
	}
	if key, ok := strings.CutPrefix(r.URL.Path, UpstreamPath); ok {
		h.upstream(w, r, key)
		return
	}
	m := route.FindStringSubmatch(r.URL.Path)
	if m == nil {
		fail(w, http.StatusNotFound, "NAME_UNKNOWN", "no such path")
		return
	}
	name := m[1]
	if !layout.ValidRepository(name) {
		fail(w, http.StatusBadRequest, "NAME_INVALID", fmt.Sprintf("%q cannot name a repository", name))
		return
	}
	// containerd asks for other hosts' images under the plain name with the host
	// in ?ns=. Our own name on the nodes is localhost:PORT, see Endpoint.Host.
	var from origin
	if ns := r.URL.Query().Get("ns"); ns != "" && !strings.HasPrefix(ns, "localhost:") {
		from = origin{h.opts.Upstream, ns, name}
		name = layout.Mirror(ns, name)
		if !layout.ValidRepository(name) {
			fail(w, http.StatusNotFound, "NAME_UNKNOWN", fmt.Sprintf("no copy of anything from %q", ns))
			return
		}
	}
	switch {
	case m[3] != "":
		h.manifests(w, r, name, m[3], from)
	case strings.HasPrefix(m[2], "blobs/uploads"):
		if !h.write(w, r, name) {
			return
		}
		h.upload(w, r, name, m[4])
	case m[5] != "":
		h.blobs(w, r, name, m[5], from)
	case m[2] == "tags/list":
		h.read(w, r, func(w http.ResponseWriter, r *http.Request) { h.tags(w, r, name) })
	default:
		h.read(w, r, func(w http.ResponseWriter, r *http.Request) { h.referrers(w, r, name, m[6]) })
	}
}

func (h *handler) ping(w http.ResponseWriter, r *http.Request) {
	if h.opts.Challenge && !h.known(r) {
		h.challenge(w, r, "")
		return
	}
	h.read(w, r, func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, struct{}{}) })
}

// anonymous is the token of a reader. It proves nothing; it lets clients that
// insist on one go on.
const anonymous = "anonymous"

// known says whether the request carries a token at all; a wrong one is not known.
func (h *handler) known(r *http.Request) bool {
	return h.allowed(r) || bearer(r) == anonymous
}

// allowed says whether the request may write.
func (h *handler) allowed(r *http.Request) bool {
	given := bearer(r)
	if _, password, ok := r.BasicAuth(); ok {
		given = password
	}
	return h.opts.Token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(h.opts.Token)) == 1
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// token is the endpoint of the token protocol that the challenge points to.
// `docker login` sends the password here too.
func (h *handler) token(w http.ResponseWriter, r *http.Request) {
	t := anonymous
	if _, password, ok := r.BasicAuth(); ok && password != "" {
		if !h.allowed(r) {
			fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "the password is not the registry's token")
			return
		}
		t = h.opts.Token
	}
	answer(w, http.StatusOK, map[string]any{"token": t, "access_token": t, "expires_in": 86400})
}

func (h *handler) challenge(w http.ResponseWriter, r *http.Request, scope string) {
	c := fmt.Sprintf(`Bearer realm="http://%s/token",service="kdev-registry"`, r.Host)
	if scope != "" {
		c += fmt.Sprintf(`,scope=%q`, scope)
	}
	w.Header().Set("WWW-Authenticate", c)
	fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// write answers for who may not, and says whether the caller goes on.
func (h *handler) write(w http.ResponseWriter, r *http.Request, name string) bool {
	if h.opts.Token == "" {
		fail(w, http.StatusForbidden, "DENIED", "this side of the registry is read-only")
		return false
	}
	if !h.allowed(r) {
		h.challenge(w, r, "repository:"+name+":pull,push")
		return false
	}
	return true
}

func (h *handler) read(w http.ResponseWriter, r *http.Request, f http.HandlerFunc) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "only GET and HEAD here")
		return
	}
	f(w, r)
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

// fail writes the spec's error document.
func fail(w http.ResponseWriter, status int, code, message string) {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	answer(w, status, map[string][]entry{"errors": {{code, message}}})
}

// Full is what a client reads where the store has no room for what it sends.
const Full = "the disk that holds the image store is full"

// failure maps a store's error to an answer; unknown is the code for what is missing.
func failure(w http.ResponseWriter, err error, unknown string) {
	var damaged *layout.DamagedError
	var missing *layout.MissingError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fail(w, http.StatusNotFound, unknown, err.Error())
	case errors.As(err, &missing):
		fail(w, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", err.Error())
	case errors.As(err, &damaged):
		fail(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
	case errors.Is(err, syscall.ENOSPC):
		// Not 507, which an engine takes for a moment's weakness: it tries again for a
		// minute. What it is denied by an answer of the spec's form it leaves at once
		// (retryOnError in distribution/errors.go of moby), and repeats the message.
		fail(w, http.StatusRequestEntityTooLarge, "DENIED", Full)
	default:
		fail(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
	}
}
