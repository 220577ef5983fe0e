//go:build unix

package layout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// flock takes a whole-file lock that the kernel drops with the descriptor,
// however the process ends. With wait false a held lock is an error at once.
func flock(f *os.File, exclusive, wait bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			return err
		}
	}
}

// lock opens and locks one of the store's lock files; the caller closes it.
func (s *Store) lock(name string, exclusive, wait bool) (*os.File, error) {
	path := filepath.Join(s.dir, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if os.IsNotExist(err) {
		if err = s.ensure(); err == nil {
			f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f, exclusive, wait); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Lock takes the named lock of the store for this process alone; the returned
// function lets go, as does the end of the process. It waits until ctx ends.
func (s *Store) Lock(ctx context.Context, name string) (func(), error) {
	// flock cannot be told to stop waiting, so it is asked again and again.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := s.lock(name+".lock", true, false)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
