package logview

import (
	"sort"
	"sync"

	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// A Query says which lines are shown.
type Query struct {
	// Show says whether the lines of a source are shown; nil shows all. It is
	// asked from the worker's goroutine, once for each run of lines.
	Show func(*store.Source) bool
	// Level shows records of this severity and above; a record that does not
	// say its severity counts as info.
	Level level.Level
	// Pattern shows lines that match; nil shows all.
	Pattern *filter.Pattern
	// Context shows so many lines around each match.
	Context int
}

// margin is how far context is looked for: lines of others stand between.
const margin = 256

// all says that no line is left out, so that no list has to be kept.
func (q *Query) all() bool { return q.Show == nil && q.Level == level.Unknown && q.Pattern == nil }

// block is how many lines are looked at in one step: a few milliseconds of a
// regular expression without any text that every match holds.
const block = 1024

// An Index is the list of the lines that a query shows. Step extends it and
// belongs to one goroutine; everything else may be called from any.
type Index struct {
	store  *store.Store
	levels *Levels

	mu    sync.Mutex
	query Query
	turn  int // counts queries: what a step found for an older one is dropped
	// older and newer are the numbers of the lines that are shown, seen from
	// where the search began: descending before it, ascending from it on. Both
	// only ever grow at their ends, so that a List can share them.
	older, newer []uint64
	from, to     uint64 // what has been looked at: from..to, to excluded
	start        uint64 // where the search began
}

// NewIndex makes an index that shows everything.
func NewIndex(s *store.Store, levels *Levels) *Index {
	x := &Index{store: s, levels: levels}
	x.Set(Query{}, 0)
	return x
}

// Set changes what is shown. The search begins around line at, which is on the
// screen, and goes on with what is older; zero begins with the newest.
func (x *Index) Set(q Query, at uint64) {
	st := x.store.Stats()
	if at == 0 || at > st.Next {
		at = st.Next
	}
	at = max(at, st.First)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.query = q
	x.turn++
	x.older, x.newer = nil, nil
	x.from, x.to, x.start = at, at, at
}

// Step looks at some more lines. It says whether the list changed and whether
// there is more to look at.
func (x *Index) Step() (changed, more bool) {
	x.mu.Lock()
	q, turn, from, to, none := x.query, x.turn, x.from, x.to, len(x.older) == 0
	x.mu.Unlock()
	st := x.store.Stats()
	if q.all() {
		return false, false
	}
	if q.Level != level.Unknown {
		st.Next = min(st.Next, x.levels.Seen())
	}
	// What is on the screen first, then what arrived, then what is older.
	back := from > st.First && (none || to >= st.Next)
	low, high := to, min(to+block, st.Next)
	if back {
		low, high = from-min(block, from-st.First), from
	}
	if low < st.First {
		low = st.First
	}
	found := x.scan(q, low, high, back)

	x.mu.Lock()
	defer x.mu.Unlock()
	if x.turn != turn {
		return false, true
	}
	if back {
		for i := len(found) - 1; i >= 0; i-- {
			x.older = append(x.older, found[i])
		}
		x.from = low
	} else {
		for _, id := range found {
			if id >= x.start && (len(x.newer) == 0 || id > x.newer[len(x.newer)-1]) {
				x.newer = append(x.newer, id)
			}
		}
		x.to = max(high, x.to)
		if x.from < st.First {
			x.from = st.First
		}
	}
	x.evict(st.First)
	return len(found) > 0, x.from > st.First || x.to < st.Next
}

// scan returns the lines from..to that the query shows, and with them, unless
// it looks back, older ones that are the context of new matches.
func (x *Index) scan(q Query, from, to uint64, back bool) []uint64 {
	if from >= to {
		return nil
	}
	low, high := from, to
	if q.Context > 0 {
		low -= min(margin, low)
		high += margin
	}
	var found, before []uint64
	after := 0
	take := func(id uint64) {
		if id >= from && id < to || !back && id < to {
			found = append(found, id)
		}
	}
	x.store.Range(low, high, func(g *store.Segment) bool {
		if q.Show != nil && !q.Show(g.Source) {
			return true
		}
		for i := range g.Lines {
			l, id := &g.Lines[i], g.First+uint64(i)
			if q.Level != level.Unknown && x.levels.severity(id, l) < q.Level {
				continue
			}
			switch {
			case q.Pattern == nil || q.Pattern.Match(g.Text(*l)):
				for _, b := range before {
					take(b)
				}
				before, after = before[:0], q.Context
				take(id)
			case after > 0:
				after--
				take(id)
			case q.Context > 0:
				if len(before) == q.Context {
					before = append(before[:0], before[1:]...)
				}
				before = append(before, id)
			}
		}
		return true
	})
	return found
}

// evict forgets lines that the store no longer holds.
func (x *Index) evict(first uint64) {
	n := sort.Search(len(x.older), func(i int) bool { return x.older[i] < first })
	if n < len(x.older) {
		// A List may share the array: it must not be written again.
		x.older = x.older[:n:n]
	}
	if len(x.older) == 0 {
		n := sort.Search(len(x.newer), func(i int) bool { return x.newer[i] >= first })
		x.newer = x.newer[n:]
	}
}

// Behind says whether lines of the store have not been looked at.
func (x *Index) Behind() bool {
	st := x.store.Stats()
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.query.all() && (x.from > st.First || x.to < st.Next)
}

// List is the lines that are shown, as far as they are known now. It stays as
// it is while the index goes on.
func (x *Index) List() List {
	st := x.store.Stats()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.query.all() {
		return List{first: st.First, next: st.Next}
	}
	x.evict(st.First)
	return List{older: x.older, newer: x.newer}
}

// A List is numbers of lines, ascending.
type List struct {
	older, newer []uint64 // see Index
	first, next  uint64   // instead of them, where every line is shown
}

// Len is how many lines there are.
func (l List) Len() int {
	return len(l.older) + len(l.newer) + int(l.next-l.first)
}

// At is the number of the i-th line.
func (l List) At(i int) uint64 {
	switch {
	case l.next > 0:
		return l.first + uint64(i)
	case i < len(l.older):
		return l.older[len(l.older)-1-i]
	}
	return l.newer[i-len(l.older)]
}

// Find is the index of the first line with this number or a higher one; Len
// where there is none.
func (l List) Find(id uint64) int {
	return sort.Search(l.Len(), func(i int) bool { return l.At(i) >= id })
}
