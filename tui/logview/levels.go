package logview

import (
	"sync"

	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// Levels finds the severity of each line once, in the order in which they
// arrived, because a line of a traceback has that of the record it belongs to.
// Step belongs to one goroutine.
type Levels struct {
	store   *store.Store
	sources []*level.Grouper

	mu    sync.RWMutex
	first uint64        // line of known[0]
	known []level.Level // with the mark of a line that continues its record
}

// continues marks, in known, a line that belongs to the record before it.
const continues level.Level = 0x80

// NewLevels looks at nothing yet.
func NewLevels(s *store.Store) *Levels { return &Levels{store: s, first: s.Stats().First} }

// Step looks at some more lines and says whether there are any left.
func (v *Levels) Step() (more bool) {
	v.mu.RLock()
	next := v.first + uint64(len(v.known))
	v.mu.RUnlock()
	st := v.store.Stats()
	from := max(next, st.First)
	var found []level.Level
	v.store.Range(from, min(from+block, st.Next), func(g *store.Segment) bool {
		grouper := v.grouper(g.Source)
		for i := range g.Lines {
			l := &g.Lines[i]
			goesOn, lv := grouper.Next(g.Text(*l))
			if l.Level != 0 {
				lv = level.Level(l.Level)
			}
			if goesOn {
				lv |= continues
			}
			found = append(found, lv)
		}
		return true
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	if from != next { // lines were dropped before anybody looked at them
		v.known, v.first = v.known[:0], from
	}
	v.known = append(v.known, found...)
	// Memory of what the store has dropped goes when it is worth a copy.
	if gone := st.First - v.first; st.First > v.first && gone > uint64(len(v.known)/2) {
		n := copy(v.known, v.known[min(gone, uint64(len(v.known))):])
		v.known, v.first = v.known[:n], st.First
	}
	return v.first+uint64(len(v.known)) < st.Next
}

func (v *Levels) grouper(src *store.Source) *level.Grouper {
	for src.ID >= len(v.sources) {
		v.sources = append(v.sources, nil)
	}
	if v.sources[src.ID] == nil {
		v.sources[src.ID] = &level.Grouper{}
	}
	return v.sources[src.ID]
}

// Of is the severity of a line's record and whether the line goes on with a
// record that began before it. Both are unknown until Step was there.
func (v *Levels) Of(id uint64) (lv level.Level, goesOn bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if id < v.first || id >= v.first+uint64(len(v.known)) {
		return level.Unknown, false
	}
	k := v.known[id-v.first]
	return k &^ continues, k&continues != 0
}

// Seen is the first line that nobody has looked at.
func (v *Levels) Seen() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.first + uint64(len(v.known))
}

// severity is the level that a filter goes by.
func (v *Levels) severity(id uint64, l *store.Line) level.Level {
	lv := level.Level(l.Level)
	if lv == level.Unknown {
		lv, _ = v.Of(id)
	}
	if lv == level.Unknown {
		return level.Info
	}
	return lv
}
