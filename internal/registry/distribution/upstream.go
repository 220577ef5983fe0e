package distribution

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// An origin is the registry and repository that a request wants a copy of.
type origin struct {
	cache      *pullthrough.Cache // nil: nothing is fetched
	host, name string
}

func (o origin) manifest(ctx context.Context, ref string) {
	if o.cache != nil {
		o.cache.Manifest(ctx, o.host, o.name, ref)
	}
}

func (o origin) blob(ctx context.Context, d layout.Digest) (io.ReadSeekCloser, bool) {
	if o.cache == nil {
		return nil, false
	}
	return o.cache.Blob(ctx, o.host, o.name, d)
}

// UpstreamPath begins the path under which a project's pullthrough.Config is
// put; what follows is a key of the project's own.
const UpstreamPath = "/kdev/upstream/"

var upstreamKey = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

// upstream takes a project's configuration of upstream registries. It is never
// given back: who asks learns its hash, as the ETag.
func (h *handler) upstream(w http.ResponseWriter, r *http.Request, key string) {
	if h.opts.Token == "" || h.opts.Upstream == nil || !upstreamKey.MatchString(key) {
		fail(w, http.StatusNotFound, "NAME_UNKNOWN", "no such path")
		return
	}
	if !h.allowed(r) {
		h.challenge(w, r, "")
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		hash := h.opts.Upstream.Configured(key)
		if hash == "" {
			fail(w, http.StatusNotFound, "NAME_UNKNOWN", "this project has said nothing yet")
			return
		}
		w.Header().Set("ETag", strconv.Quote(hash))
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPut:
		doc, err := io.ReadAll(io.LimitReader(r.Body, pullthrough.MaxConfig+1))
		switch {
		case err != nil:
		case len(doc) > pullthrough.MaxConfig:
			fail(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", fmt.Sprintf("a configuration may have %d bytes", pullthrough.MaxConfig))
			return
		default:
			err = h.opts.Upstream.Configure(key, doc)
		}
		if err != nil {
			fail(w, http.StatusBadRequest, "UNSUPPORTED", err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "only GET, HEAD and PUT here")
	}
}
