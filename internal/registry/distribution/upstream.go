package distribution

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/registry/pullthrough"
)

// An origin is the registry and repository that a request wants a copy of.
type origin struct {
	cache      *pullthrough.Cache // nil: nothing is fetched
	host, name string
}

// manifest has the store hold it, and says why its host was silent.
func (o origin) manifest(ctx context.Context, ref string) error {
	if o.cache == nil {
		return nil
	}
	return o.cache.Manifest(ctx, o.host, o.name, ref)
}

// silent answers a pull where there is no copy and the origin said nothing. A
// node goes on to the origin after any answer. If nothing is there either, then
// of all errors containerd reports a 404 before one of the network (priorities
// in core/remotes/docker/resolver.go): a person would read that there is no such
// image. So this answer says what happened, in the one place of it that
// containerd repeats: the words after the status.
func (o origin) silent(w http.ResponseWriter, r *http.Request, err error) {
	why := printable(fmt.Sprintf("%s does not answer: %v", o.host, err))
	server, ok := w.(http.Hijacker)
	if !ok || r.ProtoMajor != 1 {
		fail(w, http.StatusBadGateway, "UNAVAILABLE", why)
		return
	}
	conn, _, herr := server.Hijack()
	if herr != nil {
		fail(w, http.StatusBadGateway, "UNAVAILABLE", why)
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(answering))
	// A client that has gone needs no answer.
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", http.StatusBadGateway, why)
}

// answering bounds the write of one line.
const answering = 5 * time.Second

// printable is text for a status line (RFC 9112, 4): one line of ASCII, short.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, text)
	return text[:min(300, len(text))]
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
