package mirror

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/kdev-io/kdev/sync/engine"
)

// A doubt is about a stream that gives no sign of life. One that a network has cut gives
// none either: what is sent over it is sent again by the system, ever more seldom, and
// goes on long after the network is back. So when an answer that takes milliseconds does
// not come, a second stream is dialled, and when that is open while the first one is
// still silent, it takes its place. The agent knows us by our name and leaves the first.
type doubt struct {
	due    *time.Timer        // of an answer
	busy   bool               // the agent may have more to do than answer at once
	spare  chan spare         // of the second dial
	dials  bool               // it is out, wanted or not
	recall context.CancelFunc // of it; nil when nobody wants it
	dial   sync.WaitGroup
}

// A spare is what came of a second dial.
type spare struct {
	conn io.ReadWriteCloser
	err  error
}

const (
	doubtAfter = 600 * time.Millisecond // of silence
	littleOps  = 16                     // of a batch that is carried out at once,
	littleSize = 1 << 20                // and bytes that it has an agent write and compare
)

// errSilent ends a conversation whose place another stream takes.
var errSilent = errors.New("the stream is silent while another one could be opened")

func newDoubt() *doubt {
	d := &doubt{due: time.NewTimer(time.Hour), spare: make(chan spare, 1)}
	d.due.Stop()
	return d
}

// little says whether a batch takes an agent no time to speak of.
func little(ops []engine.Op) bool {
	size := int64(0)
	for _, op := range ops {
		if size += op.File.Size; op.Old != nil {
			size += op.Old.Size
		}
	}
	return len(ops) <= littleOps && size <= littleSize
}

// expect notes that something was sent which is answered at once.
func (d *doubt) expect() {
	if !d.busy {
		d.due.Reset(doubtAfter)
	}
}

// alive notes a sign of life.
func (c *conversation) alive() {
	c.waiting = false
	c.due.Stop()
	if c.recall != nil {
		c.recall()
		c.recall = nil
	}
}

// dialAgain begins the second dial.
func (c *conversation) dialAgain(ctx context.Context) {
	if c.dials {
		c.expect() // it is the one before, recalled a moment ago
		return
	}
	c.dials = true
	ctx, c.recall = context.WithCancel(ctx)
	c.dial.Go(func() {
		conn, err := c.w.dial(ctx, c.w.describe())
		c.spare <- spare{conn, err}
	})
}

// compare decides between the stream and the one that was opened beside it.
func (c *conversation) compare(s spare) error {
	silent := c.recall != nil && len(c.in) == 0
	c.dials = false
	if c.recall != nil {
		c.recall()
		c.recall = nil
	}
	switch {
	case s.err != nil:
		if silent {
			c.expect()
		}
	case silent:
		c.w.spare = s.conn
		return errSilent
	default:
		s.conn.Close()
	}
	return nil
}

// end waits for a second dial that nobody waits for any more.
func (d *doubt) end() {
	d.due.Stop()
	if d.recall != nil {
		d.recall()
	}
	d.dial.Wait()
	select {
	case s := <-d.spare:
		if s.conn != nil {
			s.conn.Close()
		}
	default:
	}
}
