package main

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kdev-io/kdev/sync/protocol"
	"github.com/kdev-io/kdev/sync/transport"
)

// A wire is a Dialer that counts what goes over it.
type wire struct {
	inner transport.Dialer

	execs   atomic.Int64 // streams that were opened
	batches atomic.Int64
	ends    atomic.Int64 // of batches: round trips
	others  atomic.Int64 // other messages that wait for an answer, but signs of life
	sent    atomic.Int64 // bytes
	last    atomic.Int64 // when the last bytes were sent, in Unix nanoseconds
}

// counts is a wire's state at one time.
type counts struct{ execs, batches, ends, others, sent int64 }

// turns are the round trips.
func (c counts) turns() int64 { return c.ends + c.others }

func (w *wire) now() counts {
	return counts{w.execs.Load(), w.batches.Load(), w.ends.Load(), w.others.Load(), w.sent.Load()}
}

func (c counts) since(before counts) counts {
	return counts{c.execs - before.execs, c.batches - before.batches, c.ends - before.ends, c.others - before.others, c.sent - before.sent}
}

func (w *wire) Dial(ctx context.Context, namespace, pod, container string) (io.ReadWriteCloser, error) {
	w.execs.Add(1)
	conn, err := w.inner.Dial(ctx, namespace, pod, container)
	if err != nil {
		return nil, err
	}
	t := &tapped{ReadWriteCloser: conn, wire: w, counted: make(chan struct{})}
	t.more.L = &t.mu
	go func() {
		defer close(t.counted)
		w.count(t)
	}()
	return t, nil
}

// count reads along what is sent.
func (w *wire) count(t *tapped) {
	frames := protocol.NewReader(copied{t})
	for {
		m, err := frames.Receive()
		if err != nil {
			return
		}
		switch m.(type) {
		case *protocol.Begin:
			w.batches.Add(1)
		case *protocol.End:
			w.ends.Add(1)
		case *protocol.Hello, *protocol.Ask, *protocol.Fetch:
			w.others.Add(1)
		}
	}
}

// tapped is a stream whose writes are read along, later: the decoding must not
// hold up what is measured.
type tapped struct {
	io.ReadWriteCloser
	wire    *wire
	counted chan struct{}

	mu     sync.Mutex
	more   sync.Cond
	sent   []byte
	closed bool
}

func (t *tapped) Write(b []byte) (int, error) {
	n, err := t.ReadWriteCloser.Write(b)
	t.wire.sent.Add(int64(n))
	t.wire.last.Store(time.Now().UnixNano())
	t.mu.Lock()
	t.sent = append(t.sent, b[:n]...)
	t.mu.Unlock()
	t.more.Signal()
	return n, err
}

func (t *tapped) Close() error {
	err := t.ReadWriteCloser.Close()
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.more.Signal()
	<-t.counted
	return err
}

// copied reads what was written.
type copied struct{ *tapped }

func (c copied) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.sent) == 0 {
		if c.closed {
			return 0, io.EOF
		}
		c.more.Wait()
	}
	n := copy(b, c.sent)
	if c.sent = c.sent[n:]; len(c.sent) == 0 {
		c.sent = nil
	}
	return n, nil
}
