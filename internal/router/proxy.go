package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// patience is how long a request that may be sent twice goes on asking: a pod
	// without a readiness probe counts as Ready before its process listens.
	patience = 10 * time.Second
	// redial is the time between two tries.
	redial = 100 * time.Millisecond
)

// A Dial opens a connection to a Ready pod of a Service, waiting for one as long
// as there is a prospect of it. Where there is none, its error is an [Unavailable].
type Dial func(ctx context.Context, to Backend) (io.ReadWriteCloser, error)

// Unavailable says why a Service has no pod that could answer.
type Unavailable struct{ Cause string }

func (u *Unavailable) Error() string { return u.Cause }

// A Router answers requests by the table that it was given last.
type Router struct {
	dial      Dial
	table     atomic.Pointer[Table]
	proxy     *httputil.ReverseProxy
	transport *http.Transport
	patience  time.Duration
}

// New makes a router without a rule.
func New(dial Dial) *Router {
	r := &Router{dial: dial, patience: patience}
	r.Swap(NewTable("", nil, nil))
	// No connection is kept: each request goes to a pod that is Ready now, and a new
	// one is but a stream of a connection that is there already. And no deadline but
	// the dial's: an answer may begin, and end, as late as it wants.
	r.transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: dialPassage}
	r.proxy = &httputil.ReverseProxy{
		Rewrite:       rewrite,
		Transport:     again{r},
		FlushInterval: -1, // what a pod has sent is sent on: events, progress
		ErrorHandler:  failed,
		ErrorLog:      log.New(io.Discard, "", 0), // into the dashboard, else
	}
	return r
}

// Swap gives the router another table. Requests under way keep the one they have.
func (r *Router) Swap(t *Table) { r.table.Store(t) }

// A passage is one request on its way.
type passage struct {
	match
	ctx  context.Context // of the request
	dial Dial
}

type passageKey struct{}

func passageOf(ctx context.Context) *passage {
	p, _ := ctx.Value(passageKey{}).(*passage)
	return p
}

func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	table := r.table.Load()
	m := table.match(req, rand.IntN)
	switch {
	case !m.known:
		table.unknownHost(w, req)
	case m.rule == nil:
		table.unknownPath(w, req)
	case m.rule.Refused != "":
		answer(w, req, http.StatusNotImplemented, m.rule.From+": "+m.rule.Refused)
	case m.rule.Edit.Redirect != nil:
		http.Redirect(w, req, m.rule.redirect(req, table.serves), m.rule.Edit.Redirect.Code)
	case m.backend.Refused != "":
		answer(w, req, http.StatusNotImplemented, m.backend.Refused)
	default:
		ctx := req.Context()
		ctx = context.WithValue(ctx, passageKey{}, &passage{match: m, ctx: ctx, dial: r.dial})
		r.proxy.ServeHTTP(w, req.WithContext(ctx))
	}
}

// rewrite prepares the request that a pod gets: as the client sent it, with what
// the rule changes and who asked.
func rewrite(p *httputil.ProxyRequest) {
	to := passageOf(p.In.Context())
	// A name for the transport only: where it goes, the passage says.
	p.Out.URL.Scheme, p.Out.URL.Host = "http", to.backend.Service+"."+to.backend.Port.String()
	p.Out.Host = p.In.Host
	p.Out.URL.RawQuery = p.In.URL.RawQuery // as it was, what Go cannot parse too
	p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
	p.SetXForwarded()
	if port := portOf(p.In); port != 0 {
		p.Out.Header.Set("X-Forwarded-Port", strconv.Itoa(port))
	}
	to.rule.edit(p.Out)
}

// dialPassage opens what a request goes over.
func dialPassage(ctx context.Context, _, _ string) (net.Conn, error) {
	p := passageOf(ctx)
	// With the request's context: the transport's own goes on when that is over.
	stream, err := p.dial(p.ctx, p.backend)
	if err != nil {
		return nil, err
	}
	return newPodConn(stream), nil
}

// again sends a request to another pod, or once more, where nothing was lost by
// the first try.
type again struct{ r *Router }

func (a again) RoundTrip(req *http.Request) (*http.Response, error) {
	retry := time.NewTimer(0)
	<-retry.C
	defer retry.Stop()
	for began := time.Now(); ; {
		resp, err := a.r.transport.RoundTrip(req)
		var none *Unavailable
		if err == nil || errors.As(err, &none) || !repeatable(req) || time.Since(began) > a.r.patience {
			return resp, err
		}
		retry.Reset(redial)
		select {
		case <-retry.C:
		case <-req.Context().Done():
			return nil, err
		}
	}
}

// repeatable says whether a request may be sent again when no answer came.
func repeatable(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return req.Body == nil || req.Body == http.NoBody
	}
	return false
}

// failed answers for a pod that did not.
func failed(w http.ResponseWriter, req *http.Request, err error) {
	if req.Context().Err() != nil {
		return // nobody is there to read it
	}
	service := passageOf(req.Context()).backend.Service
	var none *Unavailable
	if errors.As(err, &none) {
		w.Header().Set("Retry-After", "1")
		answer(w, req, http.StatusServiceUnavailable, service+" cannot answer: "+none.Cause)
		return
	}
	answer(w, req, http.StatusBadGateway, fmt.Sprintf("%s did not answer: %v", service, err))
}
