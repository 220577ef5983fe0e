package main

import (
	"net/http"
	"sync/atomic"
)

// traffic counts what is asked of the API server.
type traffic struct{ requests, writes atomic.Int64 }

func (t *traffic) count(rt http.RoundTripper) http.RoundTripper { return counted{rt, t} }

// reset begins anew.
func (t *traffic) reset() {
	t.requests.Store(0)
	t.writes.Store(0)
}

type counted struct {
	http.RoundTripper
	traffic *traffic
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.traffic.requests.Add(1)
	// A dry run changes nothing: that is how unchanged objects are told.
	if r.Method != http.MethodGet && r.URL.Query().Get("dryRun") == "" {
		c.traffic.writes.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

// WrappedRoundTripper is what client-go looks for behind a wrapper.
func (c counted) WrappedRoundTripper() http.RoundTripper { return c.RoundTripper }
