package agent_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/protocol"
)

func TestMain(m *testing.M) {
	agenttest.Main()
	os.Exit(m.Run())
}

// bounded is a context for a test that hangs, not a measure.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks again and again; for what nothing can tell.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := bounded(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// A client speaks the protocol without any intelligence.
type client struct {
	t       *testing.T
	conn    io.ReadWriteCloser
	r       *protocol.Reader
	w       *protocol.Writer
	welcome *protocol.Welcome
	state   []protocol.Entry
	notices []*protocol.Notice
	gen     uint64
}

var anybody = [16]byte{1}

func dial(t *testing.T, c *agenttest.Container) *client {
	t.Helper()
	cl := connect(t, c)
	if err := cl.hello(&protocol.Hello{Protocol: protocol.Version, Client: anybody}); err != nil {
		t.Fatal(err)
	}
	return cl
}

func connect(t *testing.T, c *agenttest.Container) *client {
	t.Helper()
	conn, err := c.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, r: protocol.NewReader(conn), w: protocol.NewWriter(conn)}
}

func (c *client) hello(h *protocol.Hello) error {
	c.send(h)
	switch m := c.receive().(type) {
	case *protocol.Welcome:
		c.welcome = m
	case *protocol.Refuse:
		return errors.New(m.Code)
	default:
		return fmt.Errorf("%T instead of a welcome", m)
	}
	for !c.welcome.Same {
		st, ok := c.receive().(*protocol.State)
		if !ok {
			return errors.New("no state")
		}
		c.state = append(c.state, st.Entries...)
		if st.Last {
			break
		}
	}
	return nil
}

func (c *client) send(ms ...protocol.Message) {
	c.t.Helper()
	for _, m := range ms {
		if err := c.w.Send(m); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.w.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

// receive returns the next message that is no notice.
func (c *client) receive() protocol.Message {
	c.t.Helper()
	for {
		m, err := c.r.Receive()
		if err != nil {
			c.t.Fatalf("receiving: %v", err)
		}
		n, ok := m.(*protocol.Notice)
		if !ok {
			return m
		}
		c.notices = append(c.notices, n)
	}
}

// notice waits for the next notice of a kind.
func (c *client) notice(what protocol.NoticeKind) *protocol.Notice {
	c.t.Helper()
	for {
		for i, n := range c.notices {
			if n.What == what {
				c.notices = c.notices[i+1:]
				return n
			}
		}
		m, err := c.r.Receive()
		if err != nil {
			c.t.Fatalf("waiting for a notice: %v", err)
		}
		n, ok := m.(*protocol.Notice)
		if !ok {
			c.t.Fatalf("%T while waiting for a notice", m)
		}
		c.notices = append(c.notices, n)
	}
}

// batch sends operations below one root and returns the answer.
func (c *client) batch(root string, end *protocol.End, ops ...protocol.Message) *protocol.Ack {
	c.t.Helper()
	c.gen++
	if end == nil {
		end = &protocol.End{}
	}
	c.send(&protocol.Begin{Generation: c.gen, Roots: []string{root}})
	c.send(ops...)
	c.send(end)
	ack, ok := c.receive().(*protocol.Ack)
	if !ok || ack.Generation != c.gen {
		c.t.Fatalf("no acknowledgement of %d: %+v", c.gen, ack)
	}
	return ack
}

func put(path, content string) *protocol.Put {
	return &protocol.Put{
		Target: protocol.Target{Path: path, Old: protocol.File{Type: protocol.Unknown}}, Perm: 0o644, SetPerm: true,
		Size: int64(len(content)), Digest: sha256.Sum256([]byte(content)), Inline: []byte(content),
	}
}

func regular(content string) protocol.File {
	return protocol.File{Type: protocol.Regular, Perm: 0o644, Size: int64(len(content)), Digest: sha256.Sum256([]byte(content))}
}

func (c *client) only(ack *protocol.Ack, code protocol.Code) *protocol.Result {
	c.t.Helper()
	if len(ack.Results) != 1 || ack.Results[0].Code != code {
		c.t.Fatalf("results %+v, want one with code %d", ack.Results, code)
	}
	return &ack.Results[0]
}

func (c *client) done(ack *protocol.Ack) {
	c.t.Helper()
	if len(ack.Results) != 0 {
		c.t.Fatalf("not done: %+v", ack.Results)
	}
}

func content(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
