package mirror

import (
	"compress/flate"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/protocol"
)

// Times of a connection. The heartbeat is well below the 30 s after which load
// balancers begin to drop what is idle, and short enough that a dead connection is
// found while the network is still away: what follows is a dial every second.
const (
	heartbeat   = 3 * time.Second
	probeLimit  = 5 * time.Second  // as patient as the heartbeat is: a busy machine is slow
	answerLimit = 10 * time.Second // for the first answers, which may have to hash a lot
	slowBatch   = 20 * time.Second // after which a batch without an answer is news
	bigBatch    = 5 << 20          // bytes that earn an agent another second to answer
	retryFull   = time.Second / 2  // a full disk, or another failure that may pass
	retryLocal  = 100 * time.Millisecond
	maxMismatch = 5
)

// What an agent can make us hold and do. Whoever is root in a container can put another
// program in its place.
const (
	stateLimit  = 128 << 20 // bytes of what it says that it holds: half a million paths
	learnLimit  = 2 * time.Minute
	noticeLimit = 100 // a second
)

// A conversation is one connection to an agent.
type conversation struct {
	w    *worker
	conn io.ReadWriteCloser
	out  *protocol.Writer
	in   chan protocol.Message
	err  error // of the reader; set before in is closed

	welcome *protocol.Welcome
	near    time.Duration // the shortest round trip so far
	z       *flate.Writer // made when it is first needed
	pings   uint64
	pinged  time.Time // when the last one was sent
	sign    time.Time // the last sign of life
	waiting bool      // for something from the agent
	unacked int64     // bytes of the batch that is under way
	notices int       // that came in the second since noticed
	noticed time.Time

	// claims are what the image or kdev put at paths that may hold something else now,
	// from learn until lookAtUnknown.
	claims map[string][]engine.File

	retry *time.Timer // runs while something waits to be tried again
}

// converse serves the container over conn until either ends.
func (w *worker) converse(ctx context.Context, conn io.ReadWriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &conversation{w: w, in: make(chan protocol.Message, 16)}
	c.conn = &guarded{conn, w.patience()}
	c.out = protocol.NewWriter(c.conn)
	var readers sync.WaitGroup
	readers.Go(func() {
		<-ctx.Done()
		conn.Close()
	})
	readers.Go(func() { c.read(ctx) })
	defer readers.Wait()
	defer cancel()
	if err := c.begin(ctx); err != nil {
		return err
	}
	w.setConnected(true)
	w.told, w.failing = "", time.Time{}
	w.event(Event{Kind: Connected, Unsynced: c.welcome.Unsynced, Alone: !c.welcome.Run, Starts: c.welcome.Process.Starts})
	w.phase(c.welcome.Process)
	defer func() {
		w.setConnected(false)
		w.event(Event{Kind: Lost})
	}()
	return c.serve(ctx)
}

// read hands messages on until the stream ends.
func (c *conversation) read(ctx context.Context) {
	defer close(c.in)
	r := protocol.NewReader(c.conn)
	for {
		m, err := r.Receive()
		if err != nil {
			c.err = err
			return
		}
		select {
		case c.in <- m:
		case <-ctx.Done():
			c.err = ctx.Err()
			return
		}
	}
}

// mountOf finds the mount that p is on, nil for the container's root.
func (c *conversation) mountOf(p string) *protocol.Mount {
	var found *protocol.Mount
	for i := range c.welcome.Mounts {
		m := &c.welcome.Mounts[i]
		if (p == m.Path || strings.HasPrefix(p, m.Path+"/")) && (found == nil || len(m.Path) > len(found.Path)) {
			found = m
		}
	}
	return found
}

// serve sends batches until the connection ends.
func (c *conversation) serve(ctx context.Context) error {
	beat := time.NewTicker(c.w.m.opts.Heartbeat)
	defer beat.Stop()
	c.retry = time.NewTimer(time.Hour)
	c.retry.Stop()
	defer c.retry.Stop()
	if c.far() {
		if err := c.beat(); err != nil { // perhaps it is not
			return err
		}
	}
	first := true // the gate waits for a batch, even for an empty one
	for {
		for {
			p, ok := c.w.next(first)
			if !ok {
				break
			}
			if err := c.batch(ctx, p, first, beat.C); err != nil {
				return err
			}
			first = false
		}
		if c.w.takeRepair() {
			if _, err := c.verify(ctx, true); err != nil {
				return err
			}
			continue
		}
		if err := c.idle(ctx, beat.C); err != nil {
			return err
		}
	}
}

// idle waits for something to do.
func (c *conversation) idle(ctx context.Context, beat <-chan time.Time) error {
	select {
	case <-c.w.wake:
		return nil
	case <-c.retry.C:
		c.w.itIsTime()
		return nil
	case a := <-c.w.asks:
		return a.answer(a.do(ctx, c))
	case <-c.w.redo:
		return c.probe(ctx)
	case m, ok := <-c.in:
		return c.other(m, ok)
	case <-beat:
		return c.beat()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// beat asks for a sign of life, or ends a connection that gave none.
func (c *conversation) beat() error {
	if c.waiting && time.Since(c.sign) > c.w.patience()+time.Duration(c.unacked/bigBatch)*time.Second {
		return errors.New("the agent does not answer")
	}
	if !c.waiting {
		c.waiting, c.sign = true, time.Now()
	}
	c.pings++
	c.pinged = time.Now()
	return c.send(&protocol.Ping{N: c.pings})
}

// probe finds out whether this is the agent of the container that was just started: the
// end of a stream to the one before may never come.
func (c *conversation) probe(ctx context.Context) error {
	c.waiting = false
	if err := c.beat(); err != nil {
		return err
	}
	limit := time.NewTimer(probeLimit)
	defer limit.Stop()
	for c.waiting {
		select {
		case m, ok := <-c.in:
			if err := c.other(m, ok); err != nil {
				return err
			}
		case <-limit.C:
			return errors.New("the agent of the container before does not answer")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// other handles what may come at any time.
func (c *conversation) other(m protocol.Message, ok bool) error {
	if !ok {
		return c.err
	}
	c.waiting = false
	switch m := m.(type) {
	case *protocol.Pong:
		if m.N == c.pings {
			c.near = min(c.near, time.Since(c.pinged))
		}
		return nil
	case *protocol.Notice:
		return c.notice(m)
	case *protocol.Refuse:
		return &refusedError{m.Code, m.Text}
	}
	return protocol.ErrFrame
}

// notice takes one in, or ends a connection over which they come without end.
func (c *conversation) notice(n *protocol.Notice) error {
	if now := time.Now(); now.Sub(c.noticed) > time.Second {
		c.noticed, c.notices = now, 0
	}
	if c.notices++; c.notices > noticeLimit {
		return protocol.ErrFrame
	}
	c.w.noticed(n)
	return nil
}

// far says that the network is slower than compression. The first answer alone does
// not: the agent may have just begun, on a busy machine.
func (c *conversation) far() bool { return c.near > farAway }

// receive waits for an answer.
func (c *conversation) receive(ctx context.Context) (protocol.Message, error) {
	timer := time.NewTimer(answerLimit)
	defer timer.Stop()
	for {
		select {
		case m, ok := <-c.in:
			switch n := m.(type) {
			case *protocol.Notice:
				if err := c.notice(n); err != nil {
					return nil, err
				}
				continue
			case *protocol.Pong:
				continue
			}
			if !ok {
				return nil, c.err
			}
			return m, nil
		case <-timer.C:
			return nil, errors.New("the agent does not answer")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *conversation) send(m protocol.Message) error {
	if err := c.out.Send(m); err != nil {
		return err
	}
	return c.out.Flush()
}

// patience is how long a connection may give no sign of life after it was asked.
func (w *worker) patience() time.Duration { return w.m.opts.Heartbeat * 5 / 3 }

// guarded ends a connection whose peer takes nothing for a while.
type guarded struct {
	io.ReadWriteCloser
	limit time.Duration
}

func (g *guarded) Write(b []byte) (int, error) {
	timer := time.AfterFunc(g.limit, func() { g.Close() })
	defer timer.Stop()
	return g.ReadWriteCloser.Write(b)
}

// fileOf turns the agent's description into the engine's; false when there is
// nothing.
func fileOf(f protocol.File) (engine.File, bool) {
	switch f.Type {
	case protocol.Absent:
		return engine.File{}, false
	case protocol.Regular:
		return engine.File{Mode: modeOf(f.Perm), Size: f.Size, Digest: f.Digest}, true
	case protocol.Directory:
		return engine.File{Mode: fs.ModeDir | modeOf(f.Perm)}, true
	case protocol.Symlink:
		return engine.File{Mode: fs.ModeSymlink | 0o777, Link: f.Link}, true
	}
	return engine.Uncertain(), true
}

// expected is the agent's description of what the engine knows.
func expected(f *engine.File) protocol.File {
	if f == nil {
		return protocol.File{Type: protocol.Unknown}
	}
	switch {
	case *f == (engine.File{}):
		return protocol.File{}
	case f.Mode&fs.ModeType == fs.ModeSymlink:
		return protocol.File{Type: protocol.Symlink, Link: f.Link}
	case f.Mode.IsDir():
		return protocol.File{Type: protocol.Directory, Perm: permOf(f.Mode)}
	case f.Mode.IsRegular():
		return protocol.File{Type: protocol.Regular, Perm: permOf(f.Mode), Size: f.Size, Digest: f.Digest}
	}
	return protocol.File{Type: protocol.Unknown}
}

func modeOf(perm uint32) fs.FileMode {
	m := fs.FileMode(perm & 0o777)
	for bit, flag := range specialBits {
		if perm&bit != 0 {
			m |= flag
		}
	}
	return m
}

func permOf(m fs.FileMode) uint32 {
	p := uint32(m.Perm())
	for bit, flag := range specialBits {
		if m&flag != 0 {
			p |= bit
		}
	}
	return p
}

var specialBits = map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky}

// relative is a path below its root.
func relative(root, p string) string {
	return strings.TrimPrefix(path.Clean(p)[len(strings.TrimSuffix(root, "/")):], "/")
}
