package store

import (
	"context"
	"sort"
	"sync"
	"unsafe"
)

// A Line is one line or one record in a chunk. 24 bytes, no pointer.
type Line struct {
	Time  int64  // nanoseconds since 1970; 0 where unknown
	Off   uint32 // of the message in the chunk's data
	Len   uint32 // bytes, without the newline
	Level uint8  // of package level; 0 where not looked for
	Flags Flags
}

// Flags say what is special about a line.
type Flags uint8

const (
	NoStamp   Flags = 1 << iota // the API sent it without a time: text of the kubelet, not of the container
	Truncated                   // longer than the limit; the rest was dropped
	Continues                   // belongs to the record that the line before it began
	Notice                      // said by kdev about this source
)

// A Segment is a run of lines of one source that arrived together.
type Segment struct {
	First  uint64 // number of the first line; numbers start at 1 and have no gap
	Source *Source
	Lines  []Line
	Data   []byte // what Line.Off points into
	chunk  *chunk
}

// Text is the message of a line of this segment.
func (g *Segment) Text(l Line) []byte { return g.Data[l.Off : l.Off+l.Len] }

// Stats are counted since the store was made.
type Stats struct {
	First   uint64 // oldest line held
	Next    uint64 // number that the next line will get
	Bytes   int64  // memory held in chunks
	Dropped uint64 // lines that were pushed out before a lossy cursor read them
}

// A Store holds lines. It is safe for concurrent use.
type Store struct {
	limit int64

	mu      sync.RWMutex
	segs    []Segment
	head    int // segs[:head] are gone
	first   uint64
	next    uint64
	bytes   int64
	dropped uint64
	cursors []*Cursor
	room    chan struct{} // closed and replaced when a cursor moved or lines were dropped
	moved   chan struct{} // closed and replaced when lines arrived
	waiting bool          // somebody waits on moved
	sources []*Source
	open    int              // chunks that sources write to
	free    map[int][]*chunk // to write again, by size
	spare   int              // bytes in free
}

// New makes a store that holds about limit bytes of lines.
func New(limit int64) *Store {
	return &Store{limit: limit, first: 1, next: 1, free: map[int][]*chunk{},
		room: make(chan struct{}), moved: make(chan struct{})}
}

// Stats returns counters and bounds.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return Stats{First: s.first, Next: s.next, Bytes: s.held(), Dropped: s.dropped}
}

// Changed returns a channel that is closed once the store holds a line with a
// number of next or above.
func (s *Store) Changed(next uint64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next > next {
		return closed
	}
	s.waiting = true
	return s.moved
}

// Range calls fn for the lines from..to (to excluded) that are held, in order, a
// segment at a time, until fn returns false. What fn is given is valid until it
// returns. New lines wait meanwhile, so fn should be brief: ask for what is on
// the screen, or scan some thousand lines at a time.
func (s *Store) Range(from, to uint64, fn func(*Segment) bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	from = max(from, s.first)
	to = min(to, s.next)
	for i := s.find(from); i < len(s.segs) && from < to; i++ {
		g := s.segs[i].clip(from, to)
		if !fn(&g) {
			return
		}
		from = g.First + uint64(len(g.Lines))
	}
}

// find returns the index of the segment that holds the line.
func (s *Store) find(line uint64) int {
	live := s.segs[s.head:]
	return s.head + sort.Search(len(live), func(i int) bool {
		return live[i].First+uint64(len(live[i].Lines)) > line
	})
}

// clip cuts the segment to the numbers from..to.
func (g Segment) clip(from, to uint64) Segment {
	if g.First < from {
		g.Lines = g.Lines[from-g.First:]
		g.First = from
	}
	if end := g.First + uint64(len(g.Lines)); end > to {
		g.Lines = g.Lines[:uint64(len(g.Lines))-(end-to)]
	}
	return g
}

// commit makes lines[from:to] of the chunk visible. With wait it first waits until
// lossless cursors have left room, or ctx is done, which returns its error and
// commits nothing. Without, it drops the lines, counted, once a stuck reader has
// made the store grow to twice its limit.
func (s *Store) commit(ctx context.Context, c *chunk, from, to int, wait bool) error {
	s.mu.Lock()
	for s.makeRoom(); wait && s.held() > s.limit && s.behind(); s.makeRoom() {
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if !wait && s.held() > 2*s.limit && s.behind() {
		s.dropped += uint64(to - from)
		for _, cur := range s.cursors {
			cur.lost += uint64(to - from)
		}
		return nil
	}
	if last := len(s.segs) - 1; last >= s.head && s.segs[last].chunk == c {
		// The same source goes on: nobody was in between, so one segment does.
		g := &s.segs[last]
		g.Lines = c.lines[from-len(g.Lines) : to]
	} else {
		s.segs = append(s.segs, Segment{First: s.next, Source: c.source, Lines: c.lines[from:to], Data: c.data, chunk: c})
		c.segments++
	}
	s.next += uint64(to - from)
	if s.waiting {
		s.waiting = false
		close(s.moved)
		s.moved = make(chan struct{})
	}
	return nil
}

// held is the memory that lines take: chunks, and the list of segments, which is as long
// as there are lines where sources take turns line by line.
func (s *Store) held() int64 {
	return s.bytes + int64(len(s.segs)-s.head)*int64(unsafe.Sizeof(Segment{}))
}

// behind says whether a lossless cursor still has lines to read, so that waiting
// for it can end.
func (s *Store) behind() bool {
	for _, c := range s.cursors {
		if c.lossless && c.next < s.next {
			return true
		}
	}
	return false
}

// makeRoom drops the oldest segments while too much is held.
func (s *Store) makeRoom() {
	for s.held() > s.limit && s.head < len(s.segs) {
		g := &s.segs[s.head]
		end := g.First + uint64(len(g.Lines))
		for _, c := range s.cursors {
			if c.lossless && c.next < end || c.reading(end) {
				return
			}
		}
		if g.chunk.segments == 1 && g.chunk.open {
			// Its source still writes to this chunk: dropping the segment frees
			// nothing yet, but the ones behind it may.
			if s.head == len(s.segs)-1 {
				return
			}
		}
		for _, c := range s.cursors {
			if c.next < end {
				s.dropped += end - c.next
				c.lost += end - c.next
				c.next = end
			}
		}
		s.first = end
		s.release(g.chunk)
		*g = Segment{}
		s.head++
	}
	if s.head > 1024 && s.head > len(s.segs)/2 {
		n := copy(s.segs, s.segs[s.head:])
		clear(s.segs[n:])
		s.segs, s.head = s.segs[:n], 0
	}
}

// release takes one segment off the chunk and frees it with the last one.
func (s *Store) release(c *chunk) {
	c.segments--
	s.retire(c)
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
