package buildkit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"k8s.io/klog/v2"

	"github.com/kdev-io/kdev/internal/kube"
)

// A container in which buildctl can reach a buildkitd.
type container struct{ namespace, pod, name string }

// into makes the connection out of the standard streams of `buildctl dial-stdio`.
func (s *Server) into(kc *kube.Client, at container) []client.ClientOpt {
	return []client.ClientOpt{client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return s.exec(ctx, kc, at), nil
	})}
}

// leaveLimit is how long the command may take to leave when its stdin has ended.
const leaveLimit = 300 * time.Millisecond

// exec starts the command; that it cannot be started is the error of the first Read.
// The connection outlives the dialling, and ends when it is closed.
func (s *Server) exec(dialing context.Context, kc *kube.Client, at container) net.Conn {
	// The executor logs each copy that ends with the stream.
	ctx, cancel := context.WithCancel(klog.NewContext(context.WithoutCancel(dialing), klog.Logger{}))
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &conn{PipeReader: outR, in: inW, closed: make(chan struct{}), at: at}
	done := make(chan struct{})
	s.running.Go(func() {
		defer close(done)
		said := &tail{}
		err := kc.Exec(ctx, at.namespace, at.pod, at.name, []string{"buildctl", "dial-stdio"}, inR, outW, said)
		if err == nil {
			err = io.EOF
		} else if text := said.String(); text != "" {
			err = errors.New(text)
		}
		outW.CloseWithError(err)
		inR.CloseWithError(err)
	})
	s.running.Go(func() {
		defer cancel()
		select {
		case <-done:
			return
		case <-c.closed:
		}
		// A stream that ends by itself leaves nothing behind; one that is cut leaves
		// client-go's heartbeat for some seconds.
		leave := time.NewTimer(leaveLimit)
		defer leave.Stop()
		select {
		case <-done:
		case <-leave.C:
		}
	})
	return c
}

// A conn is the streams of a command as gRPC wants them.
type conn struct {
	*io.PipeReader
	in     *io.PipeWriter
	once   sync.Once
	closed chan struct{}
	at     container
}

func (c *conn) Write(b []byte) (int, error) { return c.in.Write(b) }

// Close does not wait: Server.Close does.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.in.Close()
		c.PipeReader.CloseWithError(net.ErrClosed)
		close(c.closed)
	})
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.at }
func (c *conn) RemoteAddr() net.Addr { return c.at }

// There are no deadlines: gRPC closes a connection that it has given up.
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c container) Network() string { return "exec" }
func (c container) String() string  { return c.namespace + "/" + c.pod }

// A tail is the end of what a command said. It is written by one goroutine and read
// by another.
type tail struct {
	mu  sync.Mutex
	end []byte
}

// tailSize is how much of it is kept.
const tailSize = 2048

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if more := len(t.end) - tailSize; more > 0 {
		t.end = append(t.end[:0], t.end[more:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(bytes.ToValidUTF8(t.end, nil)))
}
