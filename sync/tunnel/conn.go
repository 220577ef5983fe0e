package tunnel

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// A Conn is one carried connection.
type Conn struct {
	Port int // that accepted it

	t  *Tunnel
	id uint32

	mu     sync.Mutex
	moved  sync.Cond
	unread []byte
	taken  int   // bytes that were read and for which no credit was given yet
	credit int   // bytes that may be sent
	ended  bool  // the other end sends no more
	closed bool  // nor do we
	err    error // both directions are over
	done   chan struct{}
}

func newConn(t *Tunnel, id uint32, port int) *Conn {
	c := &Conn{Port: port, t: t, id: id, credit: window, done: make(chan struct{})}
	c.moved.L = &c.mu
	return c
}

// Done is closed when both directions are over before their ends: by Close, by the
// other end, or with the tunnel.
func (c *Conn) Done() <-chan struct{} { return c.done }

// end says, once, why both directions are over. The lock is held.
func (c *Conn) end(err error) {
	if c.err == nil {
		c.err = err
		close(c.done)
	}
}

// Read reads what came, and io.EOF when the other end has sent all.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	for len(c.unread) == 0 && !c.ended && c.err == nil {
		c.moved.Wait()
	}
	if len(c.unread) == 0 {
		defer c.mu.Unlock()
		if c.err != nil {
			return 0, c.err
		}
		return 0, io.EOF
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	c.taken += n
	credit := 0
	if c.taken >= window/2 && !c.ended {
		credit, c.taken = c.taken, 0
	}
	c.mu.Unlock()
	if credit > 0 {
		// A failure is the tunnel's: the next Read says so, after what is here.
		_ = c.t.send(kindCredit, c.id, binary.BigEndian.AppendUint32(nil, uint32(credit)))
	}
	return n, nil
}

// Write sends b, as fast as it is read at the other end.
func (c *Conn) Write(b []byte) (int, error) {
	sent := 0
	for len(b) > 0 {
		c.mu.Lock()
		for c.credit == 0 && c.err == nil && !c.closed {
			c.moved.Wait()
		}
		if c.err != nil || c.closed {
			err := c.err
			c.mu.Unlock()
			if err == nil {
				err = io.ErrClosedPipe
			}
			return sent, err
		}
		n := min(len(b), c.credit, longest)
		c.credit -= n
		c.mu.Unlock()
		if err := c.t.send(kindData, c.id, b[:n]); err != nil {
			return sent, err
		}
		sent += n
		b = b[n:]
	}
	return sent, nil
}

// CloseWrite says that no more is sent; what comes can still be read.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if c.closed || c.err != nil {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	over := c.ended
	c.moved.Broadcast()
	c.mu.Unlock()
	err := c.t.send(kindEnd, c.id, nil)
	if over {
		c.t.forget(c)
	}
	return err
}

// Close ends both directions.
func (c *Conn) Close() error {
	c.mu.Lock()
	over := c.err != nil || c.closed && c.ended
	c.end(io.ErrClosedPipe)
	c.unread = nil
	c.moved.Broadcast()
	c.mu.Unlock()
	c.t.forget(c)
	if over {
		return nil
	}
	return c.t.send(kindReset, c.id, nil)
}

// take does what a frame says, and says whether it may say that.
func (c *Conn) take(k kind, payload []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.moved.Broadcast()
	switch k {
	case kindData:
		switch {
		case c.err != nil:
			return true // closed here, which has not yet been heard there
		case c.ended || len(c.unread)+c.taken+len(payload) > window:
			return false
		}
		c.unread = append(c.unread, payload...)
	case kindCredit:
		if len(payload) != 4 {
			return false
		}
		more := binary.BigEndian.Uint32(payload)
		if more > window || c.credit+int(more) > window {
			return false
		}
		c.credit += int(more)
	case kindEnd:
		c.ended = true
		if c.closed {
			c.t.forget(c)
		}
	case kindReset:
		c.end(io.ErrUnexpectedEOF)
		c.t.forget(c)
	default:
		return false
	}
	return true
}

// cut ends the connection with its tunnel.
func (c *Conn) cut(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // of the stream, not of the connection
	}
	c.end(err)
	c.moved.Broadcast()
}

// A Half is a connection whose directions end one by one.
type Half interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Join makes two connections one, and returns when both directions have ended.
func Join(a, b Half) {
	var copies sync.WaitGroup
	carry := func(to, from Half) {
		_, err := io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
		if err == nil {
			err = to.CloseWrite()
		}
		if err != nil { // neither end can make sense of half of it
			a.Close()
			b.Close()
		}
	}
	copies.Go(func() { carry(a, b) })
	carry(b, a)
	copies.Wait()
	a.Close()
	b.Close()
}
