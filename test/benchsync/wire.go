package main

import (
	"context"
	"io"
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
	turns   atomic.Int64 // messages that wait for an answer, but signs of life
	sent    atomic.Int64 // bytes
	last    atomic.Int64 // when the last bytes were sent, in Unix nanoseconds
}

// counts is a wire's state at one time.
type counts struct{ execs, batches, turns, sent int64 }

func (w *wire) now() counts {
	return counts{w.execs.Load(), w.batches.Load(), w.turns.Load(), w.sent.Load()}
}

func (c counts) since(before counts) counts {
	return counts{c.execs - before.execs, c.batches - before.batches, c.turns - before.turns, c.sent - before.sent}
}

func (w *wire) Dial(ctx context.Context, namespace, pod, container string) (io.ReadWriteCloser, error) {
	w.execs.Add(1)
	conn, err := w.inner.Dial(ctx, namespace, pod, container)
	if err != nil {
		return nil, err
	}
	pr, pw := io.Pipe()
	t := &tapped{conn, w, pw, make(chan struct{})}
	go func() {
		defer close(t.counted)
		w.count(pr)
		// A frame of another kind must not hold up what is measured.
		_, _ = io.Copy(io.Discard, pr)
	}()
	return t, nil
}

// count reads along what is sent.
func (w *wire) count(r io.Reader) {
	frames := protocol.NewReader(r)
	for {
		m, err := frames.Receive()
		if err != nil {
			return
		}
		switch m.(type) {
		case *protocol.Begin:
			w.batches.Add(1)
		case *protocol.Hello, *protocol.End, *protocol.Ask, *protocol.Fetch:
			w.turns.Add(1)
		}
	}
}

// tapped is a stream whose writes are read along.
type tapped struct {
	io.ReadWriteCloser
	wire    *wire
	to      *io.PipeWriter
	counted chan struct{}
}

func (t *tapped) Write(b []byte) (int, error) {
	n, err := t.ReadWriteCloser.Write(b)
	t.wire.sent.Add(int64(n))
	t.wire.last.Store(time.Now().UnixNano())
	_, _ = t.to.Write(b[:n])
	return n, err
}

func (t *tapped) Close() error {
	err := t.ReadWriteCloser.Close()
	t.to.Close()
	<-t.counted
	return err
}
