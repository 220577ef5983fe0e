package kube

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// ownConnections is how many streams have a connection of their own at once. Each costs
// the API server a handshake and some 50 KB; past this many they share one by HTTP/2.
const ownConnections = 100

// A dead connection is noticed as soon as HTTP/2's pings would: after 15 s without a
// byte it is asked every 5 s, six times.
var alive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 6}

// sessions is how many TLS sessions are remembered: one API server has one or a few names.
const sessions = 8

// Streams is Core for answers that last, such as logs: each has a connection of its own
// while there are few. HTTP/2 cuts a stream into frames, hands each through a buffer to its
// reader and accounts for every byte: reading costs more than twice as much as from a
// connection that is one stream's alone (docs/decisions.md).
//
// The caller closes what it opens; Close of the Client closes idle connections.
func (c *Client) Streams() kubernetes.Interface {
	c.streamsOnce.Do(func() {
		c.streams = c.Core
		if c.http == nil || c.Config == nil || c.Config.Transport != nil {
			return // put together by hand
		}
		own := rest.CopyConfig(c.Config)
		own.NextProtos = []string{"http/1.1"}
		if own.Dial == nil {
			own.Dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAliveConfig: alive}).DialContext
		}
		if own.Proxy == nil {
			own.Proxy = http.ProxyFromEnvironment
		}
		single, err := rest.HTTPClientFor(own)
		if err != nil {
			return // Core's own could be made; this one only lacks speed
		}
		if t := transportOf(single.Transport); t != nil && t.TLSClientConfig != nil {
			// A hundred handshakes are one, and its resumption.
			t.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
		}
		split := &splitTransport{single: single.Transport, shared: c.http.Transport}
		core, err := kubernetes.NewForConfigAndClient(c.Config, &http.Client{Transport: split})
		if err != nil {
			return
		}
		c.streams, c.single = core, single
	})
	return c.streams
}

// splitTransport gives the first requests that are open at once connections of their own.
type splitTransport struct {
	single, shared http.RoundTripper
	open           atomic.Int32
}

func (t *splitTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.open.Add(1) > ownConnections {
		t.open.Add(-1)
		return t.shared.RoundTrip(r)
	}
	resp, err := t.single.RoundTrip(r)
	if err != nil {
		t.open.Add(-1)
		return nil, err
	}
	resp.Body = &countedBody{ReadCloser: resp.Body, done: func() { t.open.Add(-1) }}
	return resp, nil
}

// countedBody calls done when it is closed.
type countedBody struct {
	io.ReadCloser
	once sync.Once
	done func()
}

func (b *countedBody) Close() error {
	b.once.Do(b.done)
	return b.ReadCloser.Close()
}

// transportOf is the transport below all wrappers, or nil.
func transportOf(rt http.RoundTripper) *http.Transport {
	for {
		switch t := rt.(type) {
		case *http.Transport:
			return t
		case interface{ WrappedRoundTripper() http.RoundTripper }:
			rt = t.WrappedRoundTripper()
		default:
			return nil
		}
	}
}
