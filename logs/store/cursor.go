package store

// A Cursor reads every line once, in order. It belongs to one goroutine.
type Cursor struct {
	store    *Store
	lossless bool
	next     uint64 // first line not handed out, or being read when held
	held     uint64 // end of what was handed out last; 0 when nothing is
	lost     uint64
	buf      []Segment
}

// Cursor starts reading at the oldest line held. A lossless one makes sources
// wait that are a store's limit ahead of it; another one loses the oldest lines
// and is told how many.
func (s *Store) Cursor(lossless bool) *Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Cursor{store: s, lossless: lossless, next: s.first}
	s.cursors = append(s.cursors, c)
	return c
}

// reading says whether lines before end were handed out and are still in use.
func (c *Cursor) reading(end uint64) bool { return c.held != 0 && c.next < end }

// Next gives up to some thousand lines that follow the last ones, and how many
// were lost before them. They are valid until Next or Close is called again.
// It gives none where there are none: wait for [Cursor.Changed].
func (c *Cursor) Next() (segs []Segment, lost uint64) {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	c.done()
	c.buf = c.buf[:0]
	lines := 0
	for i := s.find(c.next); i < len(s.segs) && lines < 4096; i++ {
		g := s.segs[i].clip(c.next, s.next)
		c.buf = append(c.buf, g)
		lines += len(g.Lines)
	}
	if lines > 0 {
		last := c.buf[len(c.buf)-1]
		c.held = last.First + uint64(len(last.Lines))
	}
	lost, c.lost = c.lost, 0
	return c.buf, lost
}

// Changed returns a channel that is closed when there is more to read.
func (c *Cursor) Changed() <-chan struct{} {
	s := c.store
	s.mu.RLock()
	next := max(c.next, c.held)
	s.mu.RUnlock()
	return s.Changed(next)
}

// Position is the number of the line that Next gives next.
func (c *Cursor) Position() uint64 {
	c.store.mu.RLock()
	defer c.store.mu.RUnlock()
	return max(c.next, c.held)
}

// Done gives back what Next gave, so that it can be dropped. Next does it too.
func (c *Cursor) Done() {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.done()
}

func (c *Cursor) done() {
	if c.held == 0 {
		return
	}
	c.next, c.held = c.held, 0
	close(c.store.room)
	c.store.room = make(chan struct{})
}

// Close ends the cursor; it holds nothing back any more.
func (c *Cursor) Close() {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	c.done()
	for i, other := range s.cursors {
		if other == c {
			s.cursors = append(s.cursors[:i], s.cursors[i+1:]...)
			break
		}
	}
}
