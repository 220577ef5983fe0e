package watch

import (
	"maps"
	"slices"
	"time"
)

// A storm is one file that changes again and again, each time just too late for the
// batch before: a loop of chmod, a progress file, an editor on a busy machine. From the
// third change on its batches wait for a longer pause.
type storm struct {
	paths []string  // of the flush before
	last  time.Time // its last event
	times int       // flushes in a row that went on where the one before had ended
}

const (
	stormGap   = 20 * time.Millisecond // between two events of one storm, at most
	stormTimes = 2
)

// flushed notes a flush.
func (s *storm) flushed(l load) {
	var few []string
	if len(l.dirty) <= fewPaths {
		few = slices.Collect(maps.Keys(l.dirty))
	}
	if s.goesOn(few, l.first) {
		s.times++
	} else {
		s.times = 0
	}
	s.paths, s.last = few, l.last
}

// goesOn reports whether an event of few, the first since the last flush, follows it at once.
func (s *storm) goesOn(few []string, first time.Time) bool {
	return first.Sub(s.last) < stormGap && slices.ContainsFunc(few, func(p string) bool { return slices.Contains(s.paths, p) })
}

// on reports whether few go on with a storm.
func (s *storm) on(few []string, first time.Time) bool {
	return s.times >= stormTimes && s.goesOn(few, first)
}
