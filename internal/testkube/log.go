package testkube

import (
	"context"
	"io"
	"sync"
	"time"
)

// An Entry is one line of a container's log.
type Entry struct {
	Time time.Time
	Text string
	// Parts cuts the line as the container runtime does with long ones: each part is
	// delivered by itself, and the newline comes with the last.
	Parts []string
	// Bare leaves the time out: text of the kubelet.
	Bare bool
	// Unended has no newline: the container ended in the middle of its last line.
	Unended bool
}

// A Log is the log of one container over its runs. It is safe for concurrent use.
type Log struct {
	mu       sync.Mutex
	changed  chan struct{}
	runs     [][]Entry // the last one is the current
	offset   int       // entries of the current run that rotation took away
	ended    bool
	raw      []byte // served as it is, before the entries
	requests int
	fault    func(request int) Fault
	open     int
}

// A Fault is how one request for a log goes wrong.
type Fault struct {
	Status int    // answer with this code instead
	Text   string // text of that answer, or written raw at the end of a stream
	// CutAfter ends the stream after that many bytes; 0 never, below 0 at once.
	CutAfter int
	// Reset makes the cut a broken connection instead of a clean end.
	Reset bool
	// Chunk writes that many bytes at a time, each flushed; 0 writes whole lines.
	Chunk int
	// NoFollow ends the stream at the end of what there is.
	NoFollow bool
}

func newLog() *Log { return &Log{changed: make(chan struct{}), runs: [][]Entry{nil}} }

// Faults sets what goes wrong with the requests, counted from 0.
func (l *Log) Faults(fn func(request int) Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fn
}

// Preload makes every request begin with raw, lines with their times: for tests of
// speed, in which making the lines must not be what takes time.
func (l *Log) Preload(raw []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw = raw
}

// Append adds lines to the current run.
func (l *Log) Append(entries ...Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.runs) - 1
	l.runs[last] = append(l.runs[last], entries...)
	l.signal()
}

// Print adds a line with a time.
func (l *Log) Print(at time.Time, text string) { l.Append(Entry{Time: at, Text: text}) }

// End ends the current run: streams that follow it come to their end.
func (l *Log) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.signal()
}

// Restart ends the current run and begins the next.
func (l *Log) Restart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, nil)
	l.ended, l.offset = false, 0
	l.signal()
}

// Rotate leaves the last keep lines of the current run; requests that are open have
// read the others or end.
func (l *Log) Rotate(keep int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.runs[len(l.runs)-1])
	l.offset = max(l.offset, n-keep)
	l.signal()
}

// Requests is how many times the log was asked for.
func (l *Log) Requests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

// Open is how many streams are open now.
func (l *Log) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

func (l *Log) signal() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Options are those of a log request.
type Options struct {
	Follow     bool
	Previous   bool
	Timestamps bool
	Since      time.Time
	Tail       int // below 0 is all
	LimitBytes int
}

// begin counts a request and says what goes wrong with it.
func (l *Log) begin() Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.requests
	l.requests++
	l.open++
	if l.fault == nil {
		return Fault{}
	}
	return l.fault(n)
}

func (l *Log) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

// stampLayout is the kubelet's timeFormatOut.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// serve writes the log to w, flushing as it goes, until its end, ctx or the fault.
// It says whether it was cut by the fault.
func (l *Log) serve(ctx context.Context, w io.Writer, flush func(), opts Options, fault Fault) (cut bool) {
	out := &cutter{w: w, left: fault.CutAfter, chunk: fault.Chunk, flush: flush}
	if fault.CutAfter < 0 {
		return true
	}
	run, at := l.start(opts)
	l.mu.Lock()
	raw := l.raw
	l.mu.Unlock()
	for len(raw) > 0 {
		n := min(len(raw), 64<<10)
		if _, err := w.Write(raw[:n]); err != nil {
			return false
		}
		raw = raw[n:]
	}
	for {
		entries, next, more := l.take(run, at)
		at = next
		for _, e := range entries {
			if !opts.Since.IsZero() && e.Time.Before(opts.Since) && !e.Bare {
				continue
			}
			if !out.entry(e, opts.Timestamps) {
				return true
			}
		}
		flush()
		if more == nil || !opts.Follow || fault.NoFollow || opts.Previous {
			if fault.Text != "" {
				_, _ = io.WriteString(w, fault.Text)
			}
			return false
		}
		select {
		case <-more:
		case <-ctx.Done():
			return false
		}
	}
}

// start finds the run and the first entry that a request wants.
func (l *Log) start(opts Options) (run, at int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	run = len(l.runs) - 1
	if opts.Previous {
		run--
		at = 0
	} else {
		at = l.offset
	}
	if run >= 0 && opts.Tail >= 0 {
		at = max(at, len(l.runs[run])-opts.Tail)
	}
	return run, at
}

// take returns the entries of a run from at on, where to go on, and a channel that
// is closed when there may be more; nil when the run has ended.
func (l *Log) take(run, at int) ([]Entry, int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if run < 0 {
		return nil, 0, nil
	}
	entries := l.runs[run]
	if run < len(l.runs)-1 || l.ended {
		return entries[min(at, len(entries)):], len(entries), nil
	}
	return entries[min(at, len(entries)):], len(entries), l.changed
}

// A cutter writes until a number of bytes.
type cutter struct {
	w     io.Writer
	left  int // 0 is no limit
	chunk int
	flush func()
}

func (c *cutter) entry(e Entry, stamps bool) bool {
	line := ""
	if stamps && !e.Bare {
		line = e.Time.Format(stampLayout) + " "
	}
	if e.Unended {
		return c.write(line + e.Text)
	}
	if len(e.Parts) == 0 {
		return c.write(line + e.Text + "\n")
	}
	for i, part := range e.Parts {
		if i == len(e.Parts)-1 {
			part += "\n"
		}
		if !c.write(line + part) {
			return false
		}
		c.flush()
		line = ""
	}
	return true
}

func (c *cutter) write(s string) bool {
	if c.left > 0 && len(s) >= c.left {
		_, _ = io.WriteString(c.w, s[:c.left])
		c.flush()
		return false
	}
	if c.left > 0 {
		c.left -= len(s)
	}
	for c.chunk > 0 && len(s) > c.chunk {
		if _, err := io.WriteString(c.w, s[:c.chunk]); err != nil {
			return false
		}
		c.flush()
		s = s[c.chunk:]
	}
	_, err := io.WriteString(c.w, s)
	return err == nil
}
