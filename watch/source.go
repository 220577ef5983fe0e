package watch

import "errors"

// A source delivers the system's events for directories below one root.
type source interface {
	// Add listens to one directory, relative to the root. The caller reads the
	// directory after that, so that nothing falls between.
	Add(dir string) error
	// Remove ends that; of a directory that has none it does nothing.
	Remove(dir string)
	// Recursive says that Add(".") was enough for all.
	Recursive() bool
	// Close ends the source and waits for what it started.
	Close() error
}

// A sink takes a source's events. Its methods never wait.
type sink interface {
	event(path string, m mark)
	uncertain(why string)
}

// errNoRoom is the cause when the system allows no more watches; for a source
// as a whole, when it allows no more of these.
var errNoRoom = errors.New("no watches left")

// silent is the source of a tree that is only polled.
type silent struct{}

func (silent) Add(string) error { return nil }
func (silent) Remove(string)    {}
func (silent) Recursive() bool  { return true }
func (silent) Close() error     { return nil }
