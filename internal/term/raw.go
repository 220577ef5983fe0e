package term

import (
	"os"
	"sync"

	"golang.org/x/term"
)

// A Raw terminal hands every key to whoever reads it: for a shell that runs
// elsewhere.
type Raw struct {
	fd      int
	before  *term.State
	resized chan struct{}
	stop    func()
	ended   chan struct{}
	first   sync.Once
}

// MakeRaw makes the terminal of in and out raw. ok is false, and nothing was
// done, where one of them is no terminal. Restore has to be called.
func MakeRaw(in, out any) (r *Raw, ok bool, err error) {
	from, isFile := in.(*os.File)
	to, alsoFile := out.(*os.File)
	if !isFile || !alsoFile || !term.IsTerminal(int(from.Fd())) || !term.IsTerminal(int(to.Fd())) {
		return nil, false, nil
	}
	r = &Raw{fd: int(from.Fd()), resized: make(chan struct{}, 1), ended: make(chan struct{})}
	if r.before, err = term.MakeRaw(r.fd); err != nil {
		return nil, false, err
	}
	r.stop = onResize(func() {
		select {
		case r.resized <- struct{}{}:
		default:
		}
	})
	return r, true, nil
}

// Size returns the size at once when it is called first, then each time it has
// changed; false after Restore.
func (r *Raw) Size() (width, height uint16, ok bool) {
	first := false
	r.first.Do(func() { first = true })
	if !first {
		select {
		case <-r.resized:
		case <-r.ended:
			return 0, 0, false
		}
	}
	w, h, err := term.GetSize(r.fd)
	if err != nil || w <= 0 || h <= 0 {
		w, h = 80, 24
	}
	return uint16(min(w, 1<<16-1)), uint16(min(h, 1<<16-1)), true
}

// Restore gives the terminal back as it was.
func (r *Raw) Restore() {
	r.stop()
	close(r.ended)
	_ = term.Restore(r.fd, r.before) // nothing more can be done
}
