package logs

import (
	"math"
	"sync"
	"time"
)

const forEver = time.Duration(math.MaxInt64)

// ends keeps back what is told of sources that have ended until the writer has written
// their last lines: on a terminal the one stands behind the other.
type ends struct {
	mu      sync.Mutex
	writing bool // somebody calls wrote
	written uint64
	queue   []endNotice
}

type endNotice struct {
	line uint64 // number of the first line that may be written behind it
	at   time.Time
	tell func()
}

// later takes a notice that is told once all lines before line are written; false
// where that is so already, or nobody writes.
func (e *ends) later(line uint64, tell func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.writing || e.written >= line {
		return false
	}
	e.queue = append(e.queue, endNotice{line, time.Now(), tell})
	return true
}

// waiting says whether somebody waits for lines to be written.
func (e *ends) waiting() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue) > 0
}

// wrote tells what waited for the lines before line, which are written but for those that
// came less than held ago.
func (e *ends) wrote(line uint64, held time.Duration) {
	e.mu.Lock()
	if held == 0 {
		e.written = line
	}
	n := 0
	for n < len(e.queue) && e.queue[n].line <= line && (held == 0 || time.Since(e.queue[n].at) >= held) {
		n++
	}
	due := e.queue[:n:n]
	e.queue = e.queue[n:]
	e.mu.Unlock()
	for _, d := range due {
		d.tell()
	}
}

// begin and end enclose the writer's work; end tells what is left.
func (e *ends) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writing = true
}

func (e *ends) end() {
	e.wrote(math.MaxUint64, 0)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writing = false
}
