package source

import "math"

// windowSize is how many different times a window remembers. It has to cover
// what arrives out of order: stdout and stderr of a container are stamped by two
// goroutines of the runtime before they take the lock on the file, and one of
// them may have to wait for a processor in between.
const windowSize = 512

// A window remembers the times of the last lines of a container, so that a
// stream that is opened again in the middle tells lines that were seen from new
// ones. The API's sinceTime has a granularity of one second; the window's is the
// single line. Lines of the same nanosecond are counted.
type window struct {
	times  [windowSize]int64
	counts [windowSize]uint32
	n      int // entries in use
	at     int // the newest one

	whole  bool // the log is wanted from its first line
	forgot bool // entries were pushed out
}

// add remembers a line that was passed on.
func (w *window) add(t int64) {
	if w.n > 0 && w.times[w.at] == t {
		w.counts[w.at]++
		return
	}
	if w.n > 0 {
		w.at = (w.at + 1) % windowSize
	}
	w.forgot = w.forgot || w.n == windowSize
	w.n = min(w.n+1, windowSize)
	w.times[w.at], w.counts[w.at] = t, 1
}

// last is the time of the newest line.
func (w *window) last() int64 { return w.times[w.at] }

// A replay is a window that lines of a stream opened again are held against.
type replay struct {
	window
	low, high int64
}

// replay returns nil where nothing was seen.
func (w *window) replay() *replay {
	if w.n == 0 {
		return nil
	}
	r := &replay{window: *w, low: w.times[w.at], high: w.times[w.at]}
	for _, t := range w.times[:w.n] {
		r.low, r.high = min(r.low, t), max(r.high, t)
	}
	if w.whole && !w.forgot {
		// All that was passed on is remembered, and nothing before it was left out.
		r.low = math.MinInt64
	}
	return r
}

// known says that the line was passed on before; each line is known once.
func (r *replay) known(t int64) bool {
	if r == nil || t > r.high {
		return false
	}
	if t < r.low {
		return true // read long ago, or before the first line that was wanted
	}
	for i := range r.n {
		if r.times[i] == t && r.counts[i] > 0 {
			r.counts[i]--
			return true
		}
	}
	return false
}

// A drainRule tells lines of an ended run that were passed on from those that were
// not; see [Reader.drain].
type drainRule struct {
	seen  *window // where its lines are remembered
	again *replay
	// Where it is not sure that what was read was of the run after it, and not of
	// this one, its lines are held against that too: after holds them all, or those
	// from first on.
	after *replay
	first int64
}

func (d *drainRule) known(t int64) bool {
	return d.again.known(t) || d.after != nil && (!d.after.forgot || t >= d.first) && d.after.known(t)
}
