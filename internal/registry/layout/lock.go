package layout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// errHeld is flock's answer when it was not to wait.
var errHeld = errors.New("somebody else holds the lock")

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
		if !errors.Is(err, errHeld) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
