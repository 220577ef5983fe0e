package watch

import "sync"

// coverage knows which directories have a watch, and which are polled instead.
// A directory is known by its inode too: fsnotify hands the descriptor of a
// renamed directory to its new path, so before a path is added, whatever other
// path the same directory had must have been removed.
type coverage struct {
	mu     sync.Mutex
	inodes map[uint64]string
	polled map[string]string // directory -> why it is not covered by events
	kinds  map[uint64]string // file system -> why its events are not enough, or ""
	full   bool              // the system has said in this round that it allows no more
}

func newCoverage() *coverage {
	return &coverage{inodes: map[uint64]string{}, polled: map[string]string{}, kinds: map[uint64]string{}}
}

// holder returns the other path under which the directory is watched.
func (c *coverage) holder(inode uint64, dir string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.inodes[inode]
	return p, ok && p != dir && inode != 0
}

// covered notes that dir has a watch. It returns the path that is known to have
// the same directory's, which then is not dir's at all.
func (c *coverage) covered(dir string, inode uint64) (other string, aliased bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	other, aliased = c.inodes[inode]
	c.inodes[inode] = dir
	delete(c.polled, dir)
	return other, aliased && other != dir && inode != 0
}

// device reports whether a file system tells of all changes; ask is asked once,
// or each time where file systems have no numbers.
func (c *coverage) device(number uint64, ask func() (kind string, ok bool)) (kind string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kind, known := c.kinds[number]; known && number != 0 {
		return kind, kind == ""
	}
	kind, ok = ask()
	if ok {
		kind = ""
	}
	c.kinds[number] = kind
	return kind, ok
}

func (c *coverage) uncovered(dir, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polled[dir] = why
}

// dropped forgets a directory that is not watched any more.
func (c *coverage) dropped(dir string, inode uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inodes[inode] == dir {
		delete(c.inodes, inode)
	}
	delete(c.polled, dir)
}

// toPoll returns the directories that have to be looked at, and lets watches be
// tried again.
func (c *coverage) toPoll() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = false
	dirs := make([]string, 0, len(c.polled))
	for d := range c.polled {
		dirs = append(dirs, d)
	}
	return dirs
}

// counts returns how many directories are watched and how many polled.
func (c *coverage) counts() (watched, polled int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.inodes), len(c.polled)
}

// exhausted notes that the system has no room, and reports whether that was
// known in this round.
func (c *coverage) exhausted() (known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, c.full = c.full, true
	return known
}

func (c *coverage) isFull() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full
}
