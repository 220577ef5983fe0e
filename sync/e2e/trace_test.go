//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/sync/transport"
)

// A trace remembers what a mirror does, to say where the time went when that was much.
type trace struct {
	transport.Dialer

	mu    sync.Mutex
	lines []string
	begun time.Time
}

// again forgets what was, and counts time from now on.
func (tr *trace) again() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines, tr.begun = nil, time.Now()
}

func (tr *trace) note(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, fmt.Sprintf("%6d ms  ", time.Since(tr.begun).Milliseconds())+fmt.Sprintf(format, args...))
}

func (tr *trace) show(t testing.TB) {
	t.Helper()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, l := range tr.lines {
		t.Log(l)
	}
}

func (tr *trace) event(e mirror.Event) {
	tr.note("%s/%s %s %d, %d files, took %s, %v", e.Pod, e.Container, e.Kind, e.Generation, e.Files, e.Took.Round(time.Millisecond), e.Problem)
}

func (tr *trace) Dial(ctx context.Context, namespace, pod, container string) (io.ReadWriteCloser, error) {
	began := time.Now()
	conn, err := tr.Dialer.Dial(ctx, namespace, pod, container)
	tr.note("%s/%s dialled for %s: %v", pod, container, time.Since(began).Round(time.Millisecond), err)
	if conn != nil {
		conn = &tracedConn{conn, tr, pod + "/" + container}
	}
	return conn, err
}

// A tracedConn notes its end, and writes that had to wait.
type tracedConn struct {
	io.ReadWriteCloser
	tr   *trace
	name string
}

func (c *tracedConn) Read(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(b)
	if err != nil {
		c.tr.note("%s read: %v", c.name, err)
	}
	return n, err
}

func (c *tracedConn) Write(b []byte) (int, error) {
	began := time.Now()
	n, err := c.ReadWriteCloser.Write(b)
	if took := time.Since(began); err != nil || took > 100*time.Millisecond {
		c.tr.note("%s write of %d bytes took %s: %v", c.name, len(b), took.Round(time.Millisecond), err)
	}
	return n, err
}

func (c *tracedConn) Close() error {
	began := time.Now()
	err := c.ReadWriteCloser.Close()
	c.tr.note("%s closed in %s", c.name, time.Since(began).Round(time.Millisecond))
	return err
}
