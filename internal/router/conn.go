package router

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// writing bounds one write: whoever takes nothing for so long is given up. A
// connection on which nothing is written lives on.
const writing = time.Minute

// A podConn is a stream to a pod as a connection. Streams know no deadlines: one
// whose write takes too long is closed, which ends the write.
type podConn struct {
	io.ReadWriteCloser
	patience time.Duration
	late     atomic.Bool
}

func newPodConn(s io.ReadWriteCloser) net.Conn {
	return &podConn{ReadWriteCloser: s, patience: writing}
}

var errLate = errors.New("the pod took nothing for a minute")

func (c *podConn) Write(b []byte) (int, error) {
	timeout := time.AfterFunc(c.patience, func() {
		c.late.Store(true)
		c.Close()
	})
	defer timeout.Stop()
	n, err := c.ReadWriteCloser.Write(b)
	if err != nil && c.late.Load() {
		err = errLate
	}
	return n, err
}

// CloseWrite ends one direction, as an upgraded connection may.
func (c *podConn) CloseWrite() error { return closeWrite(c.ReadWriteCloser) }

func (c *podConn) LocalAddr() net.Addr              { return podAddr{} }
func (c *podConn) RemoteAddr() net.Addr             { return podAddr{} }
func (c *podConn) SetDeadline(time.Time) error      { return nil }
func (c *podConn) SetReadDeadline(time.Time) error  { return nil }
func (c *podConn) SetWriteDeadline(time.Time) error { return nil }

type podAddr struct{}

func (podAddr) Network() string { return "pod" }
func (podAddr) String() string  { return "pod" }

// A clientConn gives each write its deadline, and ends with the router: one that was
// upgraded is no longer the server's to close.
type clientConn struct {
	net.Conn
	stop func() bool // it need not be ended any more
}

func (c *clientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writing)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// Bounded gives each write to a client its deadline.
func Bounded(c net.Conn) io.Writer { return &clientConn{Conn: c} }

func (c *clientConn) CloseWrite() error { return closeWrite(c.Conn) }

func (c *clientConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

func closeWrite(s io.Closer) error {
	if half, ok := s.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
