package tunnel

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A frame is a kind, the number of its connection, the size of what follows, and
// that.
type kind byte

const (
	kindOpen   kind = iota + 1 // a connection to a port: two bytes
	kindData                   // some bytes of it
	kindEnd                    // no more comes in this direction
	kindReset                  // it is over in both
	kindCredit                 // so many more bytes may be sent: four bytes
	kindPing                   // the stream lives
)

const (
	headerSize = 7
	longest    = 32 << 10      // bytes in a frame
	window     = 256 << 10     // bytes of a connection that may be under way
	mostConns  = 4096          // at once
	mostServed = 2 * mostConns // with those that were closed and are still served
)

// Proxies end a stream on which nothing moves for a minute or two, and a machine
// that was asleep finds a stream that nobody reads.
const (
	pingEvery = 5 * time.Second
	silent    = 4 * pingEvery
)

// Why a tunnel has ended, other than by the error of its stream.
var (
	ErrClosed = errors.New("the tunnel is closed")
	ErrFrame  = errors.New("what came is no frame of a tunnel")
	ErrSilent = errors.New("nothing was heard of the other end")
)

// A Tunnel is one end.
type Tunnel struct {
	stream io.ReadWriteCloser
	serve  func(*Conn)
	heard  atomic.Int64 // Unix nanoseconds
	work   sync.WaitGroup
	served sync.WaitGroup
	done   chan struct{}
	up     chan struct{}
	once   sync.Once // of up

	writing sync.Mutex // of stream's writing side, and of frame
	frame   [headerSize + longest]byte

	mu      sync.Mutex
	conns   map[uint32]*Conn
	serving int // calls of serve
	next    uint32
	err     error // set before done is closed
}

// New makes an end of a stream, which it closes. Connections that the other end
// opens are handed to serve, each in a goroutine; nil: there are none.
func New(stream io.ReadWriteCloser, serve func(*Conn)) *Tunnel {
	t := &Tunnel{stream: stream, serve: serve, done: make(chan struct{}), up: make(chan struct{}), conns: map[uint32]*Conn{}}
	t.heard.Store(time.Now().UnixNano())
	t.work.Go(t.read)
	t.work.Go(t.keepAlive)
	t.work.Go(t.watch)
	return t
}

// Up is closed when something was first heard of the other end, which says something
// as soon as it is there.
func (t *Tunnel) Up() <-chan struct{} { return t.up }

// Done is closed when the tunnel has ended.
func (t *Tunnel) Done() <-chan struct{} { return t.done }

// Err is why it has ended, once Done is closed.
func (t *Tunnel) Err() error { return t.err }

// Close ends the tunnel and its connections, and returns when nothing of it is
// left, serve included.
func (t *Tunnel) Close() error {
	t.fail(ErrClosed)
	t.work.Wait()
	t.served.Wait()
	return nil
}

// Open carries a connection that a port has accepted.
func (t *Tunnel) Open(port int) (*Conn, error) {
	t.mu.Lock()
	if t.err != nil {
		t.mu.Unlock()
		return nil, t.err
	}
	if len(t.conns) >= mostConns {
		t.mu.Unlock()
		return nil, errors.New("too many connections")
	}
	t.next++
	c := newConn(t, t.next, port)
	t.conns[c.id] = c
	t.mu.Unlock()
	if err := t.send(kindOpen, c.id, binary.BigEndian.AppendUint16(nil, uint16(port))); err != nil {
		return nil, err
	}
	return c, nil
}

// send writes one frame. The stream's error ends the tunnel.
func (t *Tunnel) send(k kind, id uint32, payload []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.frame[0] = byte(k)
	binary.BigEndian.PutUint32(t.frame[1:], id)
	binary.BigEndian.PutUint16(t.frame[5:], uint16(len(payload)))
	n := copy(t.frame[headerSize:], payload)
	if _, err := t.stream.Write(t.frame[:headerSize+n]); err != nil {
		t.fail(err)
		return err
	}
	return nil
}

// read takes frames until the stream ends. It never writes: two ends that wait
// for each other to read would wait for ever.
func (t *Tunnel) read() {
	var header [headerSize]byte
	payload := make([]byte, longest)
	for {
		if _, err := io.ReadFull(t.stream, header[:]); err != nil {
			t.fail(err)
			return
		}
		size := int(binary.BigEndian.Uint16(header[5:]))
		if size > longest {
			t.fail(ErrFrame)
			return
		}
		if _, err := io.ReadFull(t.stream, payload[:size]); err != nil {
			t.fail(err)
			return
		}
		t.heard.Store(time.Now().UnixNano())
		t.once.Do(func() { close(t.up) })
		if !t.take(kind(header[0]), binary.BigEndian.Uint32(header[1:]), payload[:size]) {
			t.fail(ErrFrame)
			return
		}
	}
}

// take does what a frame says, and says whether it may say that.
func (t *Tunnel) take(k kind, id uint32, payload []byte) bool {
	if k == kindPing {
		return true
	}
	t.mu.Lock()
	c := t.conns[id]
	if k == kindOpen {
		defer t.mu.Unlock()
		if c != nil || t.serve == nil || len(payload) != 2 || len(t.conns) >= mostConns || t.serving >= mostServed {
			return false
		}
		if t.err != nil {
			return true
		}
		c = newConn(t, id, int(binary.BigEndian.Uint16(payload)))
		t.conns[id] = c
		t.serving++
		t.served.Go(func() {
			t.serve(c)
			c.Close()
			t.mu.Lock()
			t.serving--
			t.mu.Unlock()
		})
		return true
	}
	t.mu.Unlock()
	switch {
	case k < kindOpen || k > kindPing:
		return false
	case c == nil:
		return true // it was closed here, and that has not yet been heard there
	}
	return c.take(k, payload)
}

// keepAlive says something while nobody else does.
func (t *Tunnel) keepAlive() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		_ = t.send(kindPing, 0, nil) // its failure has ended the tunnel
		select {
		case <-t.done:
			return
		case <-tick.C:
		}
	}
}

// watch ends a tunnel of whose other end nothing is heard. It never writes: a write
// to an end that is gone may block for as long as there is somebody to end it.
func (t *Tunnel) watch() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.done:
			return
		case <-tick.C:
		}
		if time.Since(time.Unix(0, t.heard.Load())) > silent {
			t.fail(ErrSilent)
			return
		}
	}
}

// fail ends the tunnel, once.
func (t *Tunnel) fail(err error) {
	t.mu.Lock()
	if t.err != nil {
		t.mu.Unlock()
		return
	}
	t.err = err
	conns := t.conns
	t.conns = map[uint32]*Conn{}
	t.mu.Unlock()
	for _, c := range conns {
		c.cut(err)
	}
	close(t.done)
	t.stream.Close()
}

func (t *Tunnel) forget(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns[c.id] == c {
		delete(t.conns, c.id)
	}
}
