package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	httpspdy "k8s.io/streaming/pkg/httpstream/spdy"
)

// pingPeriod keeps idle connections alive through load balancers and finds dead
// ones; kubectl uses the same.
const pingPeriod = 10 * time.Second

// DialPod opens a stream to a TCP port of a pod, through the API server. The
// upgraded connection to the pod is kept and shared by later calls; it goes with
// the pod, with the API server's connection, or with [Client.Close].
//
// The returned stream also has CloseWrite() error, as a *net.TCPConn has. A port
// on which nothing listens shows as an error of the first Read, since the
// protocol reports it only then.
func (c *Client) DialPod(ctx context.Context, namespace, pod string, port int) (io.ReadWriteCloser, error) {
	key := podKey{namespace, pod}
	for {
		conn, fresh, err := c.pods.get(ctx, key, func(ctx context.Context) (httpstream.Connection, error) {
			return c.dialForward(ctx, namespace, pod)
		})
		if err != nil {
			// Another caller's dial that we waited for may have ended with its context.
			if !fresh && ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
				continue
			}
			return nil, fmt.Errorf("connect to %s/%s: %w", namespace, pod, err)
		}
		stream, err := conn.open(port)
		if err == nil {
			return stream, nil
		}
		c.pods.retire(conn)
		// A kept connection may have died since; a new one that fails is the answer.
		if fresh {
			return nil, fmt.Errorf("connect to %s/%s port %d: %w", namespace, pod, port, err)
		}
	}
}

// dialForward upgrades a request to the pod's portforward subresource: SPDY
// tunnelled in a WebSocket where the server can, else SPDY alone.
func (c *Client) dialForward(ctx context.Context, namespace, pod string) (httpstream.Connection, error) {
	target := c.podRequest(namespace, pod, "portforward").URL()

	ws, err := dialWebSocket(ctx, c.Config, target.String(), tunnelPrefix+portforward.PortForwardProtocolV1Name)
	if err == nil {
		return httpspdy.NewClientConnectionWithPings(quietConn{portforward.NewTunnelingConnection("kdev", ws)}, pingPeriod)
	}
	if !wantsSPDY(err) {
		return nil, err
	}
	roundTripper, upgrader, err := spdy.RoundTripperFor(c.Config)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return nil, err
	}
	conn, protocol, err := spdy.NegotiateStreaming(upgrader, &http.Client{Transport: roundTripper}, req, portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		_ = conn.Close()
		return nil, fmt.Errorf("the server speaks %q instead of %q", protocol, portforward.PortForwardProtocolV1Name)
	}
	return conn, nil
}

// quietConn closes without an error: spdystream holds a goroutine for a second
// when closing a connection fails, as it does for one that the server cut.
type quietConn struct{ net.Conn }

func (c quietConn) Close() error {
	_ = c.Conn.Close()
	return nil
}

// tunnelPrefix marks SPDY in WebSocket (KEP-4006).
const tunnelPrefix = "SPDY/3.1+"

type podKey struct{ namespace, pod string }

// podPool keeps one upgraded connection per pod for new streams. A connection
// that reported a fault is retired: it serves the streams that it has and closes
// with the last of them.
type podPool struct {
	mu     sync.Mutex
	conns  map[podKey]*podConn
	all    map[*podConn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// A podConn is dialled once; ready is closed when conn or err is set.
type podConn struct {
	pool  *podPool
	key   podKey
	ready chan struct{}
	conn  httpstream.Connection
	err   error

	// guarded by pool.mu
	next    int // request id: pairs a data stream with its error stream
	streams int
	retired bool
}

var errClosed = errors.New("the client is closed")

// get returns the pod's connection and whether this call dialled it.
func (p *podPool) get(ctx context.Context, key podKey, dial func(context.Context) (httpstream.Connection, error)) (*podConn, bool, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, true, errClosed
	}
	if c := p.conns[key]; c != nil {
		p.mu.Unlock()
		select {
		case <-c.ready:
			return c, false, c.err
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	if p.conns == nil {
		p.conns, p.all = map[podKey]*podConn{}, map[*podConn]struct{}{}
	}
	c := &podConn{pool: p, key: key, ready: make(chan struct{})}
	p.conns[key], p.all[c] = c, struct{}{}
	p.wg.Add(1) // until the connection has ended
	p.mu.Unlock()

	c.conn, c.err = dial(ctx)
	close(c.ready)
	if c.err != nil {
		p.forget(c)
		return nil, true, c.err
	}
	go func() {
		<-c.conn.CloseChan()
		p.forget(c)
	}()
	return c, true, nil
}

// forget ends the pool's interest in a connection that is gone or never was.
func (p *podPool) forget(c *podConn) {
	p.mu.Lock()
	delete(p.all, c)
	if p.conns[c.key] == c {
		delete(p.conns, c.key)
	}
	p.mu.Unlock()
	p.wg.Done()
}

// retire takes a connection out of use for new streams.
func (p *podPool) retire(c *podConn) {
	p.mu.Lock()
	c.retired = true
	if p.conns[c.key] == c {
		delete(p.conns, c.key)
	}
	unused := c.streams == 0
	p.mu.Unlock()
	if unused {
		_ = c.conn.Close()
	}
}

func (p *podPool) close() {
	p.mu.Lock()
	p.closed = true
	open := make([]*podConn, 0, len(p.all))
	for c := range p.all {
		open = append(open, c)
	}
	p.mu.Unlock()
	for _, c := range open {
		<-c.ready
		if c.err == nil {
			_ = c.conn.Close()
		}
	}
	p.wg.Wait()
}

// open makes the pair of streams that one forwarded connection is.
func (c *podConn) open(port int) (*podStream, error) {
	c.pool.mu.Lock()
	id := c.next
	c.next++
	c.streams++
	c.pool.mu.Unlock()

	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(id))
	fault, err := c.conn.CreateStream(headers)
	if err != nil {
		c.release()
		return nil, err
	}
	_ = fault.Close() // we never write to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := c.conn.CreateStream(headers)
	if err != nil {
		_ = fault.Reset()
		c.conn.RemoveStreams(fault)
		c.release()
		return nil, err
	}
	s := &podStream{of: c, data: data, fault: fault, port: port, faultRead: make(chan struct{})}
	s.unread = time.AfterFunc(unreadLimit, func() { c.pool.retire(c) })
	s.unread.Stop()
	go s.readFault()
	return s, nil
}

func (c *podConn) release() {
	c.pool.mu.Lock()
	c.streams--
	unused := c.retired && c.streams == 0
	c.pool.mu.Unlock()
	if unused {
		_ = c.conn.Close()
	}
}

// unreadLimit is how long what came for one stream may lie: the streams of a connection
// are read one frame after the other, so that a client that stopped reading, as a browser
// does that holds a download, stops them all. New ones get a connection of their own then.
const unreadLimit = 500 * time.Millisecond

// A podStream is one forwarded connection.
type podStream struct {
	of          *podConn
	data, fault httpstream.Stream
	port        int

	faultRead chan struct{} // closed when faultText is final
	faultText string
	unread    *time.Timer // runs between two reads
	once      sync.Once
}

// readFault ends when the server closes the error stream, which it does after
// the data stream, or with Close, which resets it and waits.
func (s *podStream) readFault() {
	defer close(s.faultRead)
	text, _ := io.ReadAll(io.LimitReader(s.fault, 64<<10))
	s.faultText = strings.TrimSpace(string(text))
	if s.faultText != "" {
		// After an error the runtime may leave the connection unusable (the reason
		// why kubectl drops it), so the next dial makes a new one.
		s.of.pool.retire(s.of)
	}
}

func (s *podStream) Read(p []byte) (int, error) {
	s.unread.Stop()
	n, err := s.data.Read(p)
	if n > 0 || err == nil {
		s.unread.Reset(unreadLimit)
		return n, err
	}
	// The reason for an early end is on the other stream.
	select {
	case <-s.faultRead:
	case <-s.of.conn.CloseChan():
		<-s.faultRead
	}
	if s.faultText != "" {
		return 0, fmt.Errorf("port %d of the pod: %s", s.port, s.faultText)
	}
	return 0, err
}

func (s *podStream) Write(p []byte) (int, error) { return s.data.Write(p) }

// CloseWrite tells the pod that nothing more comes; reading goes on.
func (s *podStream) CloseWrite() error { return s.data.Close() }

// Close ends both directions and waits until the stream's goroutine is gone.
func (s *podStream) Close() error {
	s.once.Do(func() {
		s.unread.Stop()
		// Reset, not Close: data that the pod still sends must not fill the
		// window that all streams of the connection share.
		_ = s.data.Reset()
		_ = s.fault.Reset()
		s.of.conn.RemoveStreams(s.data, s.fault)
		s.of.release()
	})
	<-s.faultRead
	return nil
}
