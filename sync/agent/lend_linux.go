package agent

import (
	"os"
	"time"

	"github.com/kdev-io/kdev/sync/protocol"
)

// A lease has the container's ports for a program that runs elsewhere: on the
// machine of a developer, from where carry's stream comes. As long as it lasts,
// the application does not run.
type lease struct {
	hold  *os.File      // socket of carry, which ends with it
	aside chan struct{} // closed when the application has ended and left nothing behind
	given bool          // aside is closed
}

// returnAfter is how long a lease that ended may be taken up again before the
// application is started: the network may have been cut for a moment.
const returnAfter = 3 * time.Second

// lend serves one carry until it ends. A newer one takes the place of an older
// one, whose stream may be dead without anybody having told.
func (r *runner) lend(hold *os.File) {
	defer hold.Close()
	l := &lease{hold: hold, aside: make(chan struct{})}
	r.do(func() {
		if old := r.lease; old != nil {
			_ = old.hold.Close()
			old.give() // it finds out
		}
		r.lease, r.back = l, nil
		r.standAside()
	})
	defer r.do(func() {
		if r.lease == l {
			r.lease = nil
			r.back = time.After(r.limits.Return)
		}
	})
	select {
	case <-l.aside:
	case <-r.done:
		return
	}
	if _, err := hold.Write([]byte{1}); err != nil {
		return
	}
	var b [1]byte
	_, _ = hold.Read(b[:]) // until carry has ended
}

// standAside ends the application for a lease.
func (r *runner) standAside() {
	switch {
	case r.ending:
	case r.phase == protocol.PhaseAside:
		r.stoodAside()
	default:
		r.gate = nil
		r.doRestart(0, &protocol.End{})
	}
}

// stoodAside tells the lease that nothing of the application is left.
func (r *runner) stoodAside() {
	r.phase = protocol.PhaseAside
	r.lease.give()
}

func (l *lease) give() {
	if !l.given {
		l.given = true
		close(l.aside)
	}
}

// takeBack starts the application again when nobody has its place any more.
func (r *runner) takeBack() {
	r.back = nil
	if r.phase == protocol.PhaseAside && r.lease == nil {
		r.start(0, false)
	}
}
