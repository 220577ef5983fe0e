// Package step prints what a long procedure is doing and runs the programs that it calls.
//
// In: named steps and command lines. Out: one line per step (with a second one when it takes long), and a problem that
// carries the end of a failed program's output. A child never outlives the process that started it, whatever ends that.
package step

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// patience is how long a step may take before its name is printed in advance.
const patience = 2 * time.Second

// A Log writes the lines of a procedure, whose steps may run at the same time.
type Log struct {
	out io.Writer
	now func() time.Time

	mu sync.Mutex
}

// NewLog returns a Log that writes to out.
func NewLog(out io.Writer) *Log { return &Log{out: out, now: time.Now} }

// Cached is what a step returns as its note when there was nothing to do.
const Cached = "cached"

// Do runs f as the step what of area, and prints how it went: f's note where it has one, else the time it took.
func (l *Log) Do(area, what string, f func() (note string, err error)) error {
	start := l.now()
	slow := time.AfterFunc(patience, func() { l.line(area, what, "…") })
	note, err := f()
	slow.Stop()
	took := l.now().Sub(start)
	switch {
	case err != nil:
		note = fmt.Sprintf("failed after %.1f s", took.Seconds())
	case note == "":
		note = fmt.Sprintf("%.1f s", took.Seconds())
	case note != Cached && took > patience:
		note = fmt.Sprintf("%.1f s, %s", took.Seconds(), note)
	}
	l.line(area, what, note)
	return err
}

// Say prints a line that belongs to no step.
func (l *Log) Say(area, text string) { l.line(area, text, "") }

func (l *Log) line(area, what, note string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if note == "" {
		fmt.Fprintf(l.out, "%-12s %s\n", area, what)
		return
	}
	fmt.Fprintf(l.out, "%-12s %-52s %s\n", area, what, note)
}
