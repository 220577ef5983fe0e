package agent

import (
	"os"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/sync/protocol"
)

// busyFor is how long another kdev may be silent before a new one takes its
// place. kdev says something every 3 s.
const busyFor = 15 * time.Second

// accept serves connections, each in its goroutine, one at a time in effect.
func (r *runner) accept(l *listener) {
	for {
		in, out, hold, err := l.accept()
		switch {
		case err != nil:
			say(r.stderr, "kdev can no longer connect: "+err.Error())
			return
		case in == nil:
			go r.lend(hold)
		default:
			go r.connection(in, out, hold)
		}
	}
}

// refused is told of a peer that is not of this container.
func (r *runner) refused(err error) { say(r.stderr, "a connection was refused: "+err.Error()) }

// connection serves one serve process; hold is its socket, whose end it waits
// for.
func (r *runner) connection(in, out, hold *os.File) {
	s := newSession(r.store, r, r.version, in, out)
	defer hold.Close()
	defer s.hangUp()
	go func() {
		// serve was killed: the exec is over even if its pipes are still open.
		var b [1]byte
		hold.Read(b[:])
		s.hangUp()
	}()
	h, err := s.hello()
	if err != nil {
		return
	}
	if h.Observe {
		_ = s.serve(h) // it is told what is wrong, or is gone
		return
	}
	if !r.take(s) {
		s.refuse("busy", "another kdev is connected to this container")
		return
	}
	go s.tell()
	defer r.leave(s)
	r.do(r.called)
	if err := s.serve(h); err == protocol.ErrFrame {
		s.refuse("protocol", "what came is no message of this protocol")
	}
}

// take makes s the session. The same kdev takes over from its own dead
// connection; another one only from one that has fallen silent.
func (r *runner) take(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.session; old != nil {
		if old.client != s.client && old.idle() < busyFor {
			return false
		}
		old.hangUp()
	}
	r.session = s
	return true
}

func (r *runner) current() *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session
}

// restarts implements program.
func (r *runner) restarts() bool { return true }

// syncs implements program.
func (r *runner) syncs() bool { return r.current() != nil }

// repair implements program.
func (r *runner) repair() bool {
	s := r.current()
	if s != nil {
		r.do(func() { r.notice(&protocol.Notice{What: protocol.NoticeRepair}) })
	}
	return s != nil
}

func (r *runner) leave(s *session) {
	r.mu.Lock()
	if r.session == s {
		r.session = nil
	}
	r.mu.Unlock()
	s.endNotices()
}

// farewell lets the last notices go.
func (r *runner) farewell() {
	if s := r.current(); s != nil {
		s.endNotices()
		select {
		case <-s.told:
		case <-time.After(100 * time.Millisecond): // the container's end must not wait
		}
	}
}

// Serve joins kdev's exec to run, and returns the exit code.
func Serve(opts Options) int {
	fd, err := connect(opts.socket(), 2*time.Second)
	if err == errNoRun {
		s := newSession(newStore(false), alone{}, opts.Version, pollable(0), pollable(1))
		h, err := s.hello()
		if err == nil {
			err = s.serve(h)
		}
		if err != nil && !isEOF(err) {
			say(os.Stderr, err.Error())
			return 1
		}
		return 0
	}
	if err != nil {
		say(os.Stderr, err.Error())
		return 1
	}
	if err := syscall.Sendmsg(fd, []byte{wantSync}, syscall.UnixRights(0, 1), nil, 0); err != nil {
		say(os.Stderr, "handing over the connection: "+err.Error())
		return 1
	}
	// run has the stream now; it closes the socket when it is done with it.
	var b [1]byte
	for {
		n, err := syscall.Read(fd, b[:])
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 {
			return 0
		}
	}
}
