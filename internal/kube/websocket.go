package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	gwebsocket "github.com/gorilla/websocket"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/streaming/pkg/httpstream"
)

// A handshake upgrades one request to a WebSocket. It replaces client-go's
// websocket.RoundTripper because gorilla's dialer watches its context only for a
// deadline while it waits for the answer: a server that accepts and says nothing
// would hold Ctrl-C for ever.
type handshake struct {
	dialer gwebsocket.Dialer
	conn   *gwebsocket.Conn
}

// dialWebSocket opens url with config's TLS and credentials. A server that
// answers without upgrading gives an httpstream.UpgradeFailureError.
func dialWebSocket(ctx context.Context, config *rest.Config, url, protocol string) (*gwebsocket.Conn, error) {
	settings, err := config.TransportConfig()
	if err != nil {
		return nil, err
	}
	tls, err := transport.TLSConfigFor(settings)
	if err != nil {
		return nil, err
	}
	proxy := config.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	h := &handshake{dialer: gwebsocket.Dialer{
		Proxy:           proxy,
		TLSClientConfig: tls,
		Subprotocols:    []string{protocol},
		ReadBufferSize:  32 << 10,
		WriteBufferSize: 32 << 10,
	}}
	var cut func() bool
	h.dialer.NetDialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		cut = context.AfterFunc(ctx, func() { _ = conn.Close() })
		return conn, nil
	}
	authenticated, err := transport.HTTPWrappersForConfig(settings, h)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	_, err = authenticated.RoundTrip(req) //nolint:bodyclose // an upgraded answer has none
	if cut != nil && !cut() {
		if h.conn != nil {
			_ = h.conn.Close()
		}
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return h.conn, nil
}

// RoundTrip is called by the wrappers that add credentials to the request.
func (h *handshake) RoundTrip(req *http.Request) (*http.Response, error) {
	url := *req.URL
	url.Scheme = strings.Replace(url.Scheme, "http", "ws", 1)
	conn, resp, err := h.dialer.DialContext(req.Context(), url.String(), req.Header)
	switch {
	case err == nil:
		h.conn = conn
		if conn.Subprotocol() != h.dialer.Subprotocols[0] {
			_ = conn.Close()
			return nil, &httpstream.UpgradeFailureError{Cause: fmt.Errorf("the server chose protocol %q", conn.Subprotocol())}
		}
		return resp, nil
	case errors.Is(err, gwebsocket.ErrBadHandshake) && resp != nil:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // gorilla keeps 1 KB of it
		_ = resp.Body.Close()
		return nil, &httpstream.UpgradeFailureError{Cause: fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))}
	default:
		return nil, err
	}
}
