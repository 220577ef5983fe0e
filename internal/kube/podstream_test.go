package kube

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	gwebsocket "github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	httpspdy "k8s.io/streaming/pkg/httpstream/spdy"
)

// forwardServer stands in for API server and kubelet: it upgrades portforward
// requests and echoes on port 7, refuses every other port.
type forwardServer struct {
	*httptest.Server
	noWebSocket bool
	upgrades    atomic.Int32

	mu    sync.Mutex
	conns []io.Closer
	wg    sync.WaitGroup
}

func newForwardServer(t *testing.T, noWebSocket bool) *forwardServer {
	s := &forwardServer{noWebSocket: noWebSocket}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.cut()
		s.Close()
		s.wg.Wait()
	})
	return s
}

// cut ends every upgraded connection, as a restarting API server does.
func (s *forwardServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func (s *forwardServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/v1/namespaces/shop/pods/web-0/portforward" {
		http.NotFound(w, r)
		return
	}
	streams := make(chan httpstream.Stream)
	accept := func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	}
	var conn httpstream.Connection
	if gwebsocket.IsWebSocketUpgrade(r) {
		if s.noWebSocket {
			http.Error(w, "no websockets here", http.StatusBadRequest)
			return
		}
		up := gwebsocket.Upgrader{Subprotocols: []string{tunnelPrefix + portforward.PortForwardProtocolV1Name}}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		conn, err = httpspdy.NewServerConnection(quietConn{portforward.NewTunnelingConnection("server", ws)}, accept)
		if err != nil {
			return
		}
	} else {
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return
		}
		conn = httpspdy.NewResponseUpgrader().UpgradeResponse(w, r, accept)
		if conn == nil {
			return
		}
	}
	s.upgrades.Add(1)
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	s.wg.Go(func() { s.serve(conn, streams) })
}

func (s *forwardServer) serve(conn httpstream.Connection, streams <-chan httpstream.Stream) {
	faults := map[string]httpstream.Stream{}
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-conn.CloseChan():
			return
		case stream := <-streams:
			id := stream.Headers().Get(corev1.PortForwardRequestIDHeader)
			if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				faults[id] = stream
				continue
			}
			fault := faults[id]
			wg.Go(func() {
				defer fault.Close()
				defer stream.Close()
				if port := stream.Headers().Get(corev1.PortHeader); port != "7" {
					fmt.Fprintf(fault, "dial tcp4 127.0.0.1:%s: connect: connection refused", port)
					return
				}
				_, _ = io.Copy(stream, stream)
			})
		}
	}
}

func TestDialPod(t *testing.T) {
	for _, tc := range []struct {
		name        string
		noWebSocket bool
	}{{"websocket", false}, {"spdy when websocket is refused", true}} {
		t.Run(tc.name, func(t *testing.T) {
			server := newForwardServer(t, tc.noWebSocket)
			c := clientFor(t, server.URL)

			for i := range 3 {
				got, err := echo(t.Context(), c, strings.Repeat("x", 100_000+i))
				if err != nil || len(got) != 100_000+i {
					t.Fatalf("echo %d: %d bytes, %v", i, len(got), err)
				}
			}
			if n := server.upgrades.Load(); n != 1 {
				t.Errorf("three streams took %d connections, want 1", n)
			}
		})
	}
}

func TestDialPodSaysWhyAPortFails(t *testing.T) {
	server := newForwardServer(t, false)
	c := clientFor(t, server.URL)

	kept, err := c.DialPod(t.Context(), "shop", "web-0", 7)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()

	refused, err := c.DialPod(t.Context(), "shop", "web-0", 81)
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	_, err = refused.Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Read of a closed port: %v, want the reason", err)
	}

	// The stream that was there before the fault still works.
	if _, err := kept.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(kept, buf); err != nil || string(buf) != "hello" {
		t.Errorf("kept stream: %q, %v", buf, err)
	}
}

func TestDialPodAfterALostConnection(t *testing.T) {
	server := newForwardServer(t, false)
	c := clientFor(t, server.URL)

	open, err := c.DialPod(t.Context(), "shop", "web-0", 7)
	if err != nil {
		t.Fatal(err)
	}
	server.cut()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a stream of a lost connection still reads")
	}
	open.Close()
	if got, err := echo(t.Context(), c, "again"); err != nil || got != "again" {
		t.Errorf("after the loss: %q, %v", got, err)
	}
}

// A client that stops reading does not stop those that come after it.
func TestDialPodBesideASlowReader(t *testing.T) {
	server := newForwardServer(t, false)
	c := clientFor(t, server.URL)

	slow, err := c.DialPod(t.Context(), "shop", "web-0", 7)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "first"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := io.ReadFull(slow, buf[:5]); err != nil || n != 5 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	for server.upgrades.Load() < 2 {
		if got, err := echo(t.Context(), c, "beside"); err != nil || got != "beside" {
			t.Fatalf("beside it: %q, %v", got, err)
		}
	}
	// It goes on where it stopped, on the connection that it has.
	if _, err := io.WriteString(slow, "later"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(slow, buf[:5]); err != nil || string(buf[:5]) != "later" {
		t.Errorf("later: %q, %v", buf[:5], err)
	}
}

func TestDialPodEnds(t *testing.T) {
	t.Run("with its context", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		c := clientFor(t, "http://"+listener.Addr().String())
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			_, err := c.DialPod(ctx, "shop", "web-0", 7)
			result <- err
		}()
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		cancel()
		if err := <-result; err == nil {
			t.Error("no error after cancel")
		}
	})
	t.Run("for a pod that is not there", func(t *testing.T) {
		c := clientFor(t, newForwardServer(t, false).URL)
		if _, err := c.DialPod(t.Context(), "shop", "gone", 7); err == nil {
			t.Error("no error")
		}
	})
	t.Run("after Close", func(t *testing.T) {
		c := clientFor(t, newForwardServer(t, false).URL)
		open, err := c.DialPod(t.Context(), "shop", "web-0", 7)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if _, err := open.Read(make([]byte, 1)); err == nil {
			t.Error("a stream outlives Close")
		}
		open.Close()
		if _, err := c.DialPod(t.Context(), "shop", "web-0", 7); err == nil {
			t.Error("a closed client dials")
		}
	})
}

func echo(ctx context.Context, c *Client, text string) (string, error) {
	stream, err := c.DialPod(ctx, "shop", "web-0", 7)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := io.WriteString(stream, text)
		if err == nil {
			err = stream.(interface{ CloseWrite() error }).CloseWrite()
		}
		failed <- err
	}()
	got, err := io.ReadAll(stream)
	if err != nil {
		return "", err
	}
	return string(got), <-failed
}

func clientFor(t *testing.T, url string) *Client {
	t.Helper()
	c, err := ForConfig(&rest.Config{Host: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
