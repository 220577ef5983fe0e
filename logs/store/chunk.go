package store

import (
	"context"
	"unsafe"
)

// Chunk sizes: a quiet container costs 4 KiB, a busy one writes 256 KiB at a
// time, which makes some 1,700 lines of 150 bytes per allocation.
const (
	minChunk = 4 << 10
	maxChunk = 256 << 10
	maxSpare = 4 * maxChunk
)

// A chunk is memory that one source writes from its start to its end.
type chunk struct {
	source   *Source
	data     []byte
	lines    []Line
	segments int  // segments of the store that point into it; under the store's lock
	open     bool // the source still writes to it; under the store's lock
	size     int64
}

// An Appender writes the lines of one source. It belongs to one goroutine.
//
// Use: read bytes into [Appender.Free], call [Appender.Grow] with how many; find
// lines in [Appender.Pending], [Appender.Add] each, [Appender.Consume] the bytes
// looked at; then [Appender.Commit] what was added.
type Appender struct {
	store *Store
	chunk *chunk
	from  int // first line not committed
	start int // first byte not consumed
	end   int // first free byte
}

// Appender makes the writer of a source.
func (s *Store) Appender(src *Source) *Appender {
	a := &Appender{store: s}
	a.chunk = s.newChunk(src, minChunk, 0)
	return a
}

// Free is memory to read into, at least want bytes. It may move the pending bytes
// to a new chunk, so what [Appender.Pending] returned before is void; all added
// lines must have been committed.
func (a *Appender) Free(want int) []byte {
	if len(a.chunk.data)-a.end >= want {
		return a.chunk.data[a.end:]
	}
	rest := a.chunk.data[a.start:a.end]
	size := max(minChunk, min(len(a.chunk.data)*4, a.store.share()))
	for size < len(rest)+want || size < 2*len(rest) {
		size *= 2 // one line that is longer than a chunk
	}
	old := a.chunk
	a.chunk = a.store.newChunk(old.source, size, len(old.lines))
	a.end = copy(a.chunk.data, rest)
	a.start, a.from = 0, 0
	a.store.closeChunk(old)
	return a.chunk.data[a.end:]
}

// Grow says that n bytes of Free were filled.
func (a *Appender) Grow(n int) { a.end += n }

// Pending is what was read and not consumed.
func (a *Appender) Pending() []byte { return a.chunk.data[a.start:a.end] }

// Add makes Pending()[off:off+n] a line.
func (a *Appender) Add(l Line, off, n int) {
	l.Off, l.Len = uint32(a.start+off), uint32(n)
	a.chunk.lines = append(a.chunk.lines, l)
}

// Added are the lines that were added and not committed, and the data that they
// point into: to be changed in place before they are seen by others.
func (a *Appender) Added() ([]Line, []byte) { return a.chunk.lines[a.from:], a.chunk.data }

// Consume says that the first n pending bytes were looked at.
func (a *Appender) Consume(n int) {
	a.start += n
	if a.start == a.end && a.from == len(a.chunk.lines) && a.from == 0 {
		a.start, a.end = 0, 0 // nothing of this chunk was kept: write it again
	}
}

// Truncate drops the pending bytes behind the first n.
func (a *Appender) Truncate(n int) { a.end = a.start + n }

// Commit shows the added lines to readers. It waits while lossless cursors are
// too far behind, until ctx is done; the lines then stay added.
func (a *Appender) Commit(ctx context.Context) error { return a.commit(ctx, true) }

// CommitNow is Commit without waiting: the store may pass its limit.
func (a *Appender) CommitNow() { _ = a.commit(context.Background(), false) }

func (a *Appender) commit(ctx context.Context, wait bool) error {
	to := len(a.chunk.lines)
	if a.from == to {
		return nil
	}
	if err := a.store.commit(ctx, a.chunk, a.from, to, wait); err != nil {
		return err
	}
	a.from = to
	return nil
}

// Discard forgets the added lines that were not committed.
func (a *Appender) Discard() { a.chunk.lines = a.chunk.lines[:a.from] }

// Close ends the source's writing. Its lines stay.
func (a *Appender) Close() {
	a.Discard()
	a.store.closeChunk(a.chunk)
	a.store = nil
}

func (s *Store) newChunk(src *Source, size, lines int) *chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	var c *chunk
	if list := s.free[size]; len(list) > 0 {
		c = list[len(list)-1]
		s.free[size] = list[:len(list)-1]
		s.spare -= size
		c.source, c.open = src, true
	} else {
		// As many lines as the last chunk held for its size, and some more, so that
		// the table is not copied while it grows.
		c = &chunk{source: src, data: make([]byte, size), lines: make([]Line, 0, max(16, lines+lines/8)), open: true}
	}
	c.size = int64(len(c.data)) + int64(cap(c.lines))*int64(unsafe.Sizeof(Line{}))
	s.bytes += c.size
	return c
}

// share is the largest chunk that a source may take now: with many sources,
// half-filled chunks must not eat what the store may hold.
func (s *Store) share() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	size := maxChunk
	for size > minChunk && int64(size)*int64(s.open) > s.limit/2 {
		size /= 2
	}
	return size
}

func (s *Store) closeChunk(c *chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.open = false
	s.open--
	s.retire(c)
}

// retire frees a chunk that nobody writes and no segment points into.
func (s *Store) retire(c *chunk) {
	if c.segments > 0 || c.open {
		return
	}
	s.bytes -= c.size
	// Nobody reads it any more: views copy under the lock, and cursors hold back
	// the dropping of what they were given. So it can be written again.
	if len(c.data) <= maxChunk && s.spare+len(c.data) <= maxSpare {
		c.source = nil
		c.lines = c.lines[:0]
		s.free[len(c.data)] = append(s.free[len(c.data)], c)
		s.spare += len(c.data)
	}
}
