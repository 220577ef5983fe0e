package session

import (
	"slices"
	"time"

	"github.com/kdev-io/kdev/build"
)

// shownLines is how much of a build's or a process's output a snapshot holds.
const shownLines = 60

// shownSteps is how many of a build's steps a snapshot holds.
const shownSteps = 100

// with is the build after one more event. The build itself is in snapshots that
// were handed out and does not change.
func (b *Build) with(e build.Event) *Build {
	next := *b
	switch {
	case e.Line != "":
		next.Lines = lastLines(b.Lines, e.Line)
	case e.Step != "" && !e.Done:
		next.Step = e.Step
	case e.Step != "":
		next.Steps = append(slices.Clip(b.Steps), Step{Name: e.Step, Cached: e.Cached, Bytes: e.Bytes, Took: Millis(e.Took)})
		if n := len(next.Steps) - shownSteps; n > 0 {
			next.Steps, next.Earlier = slices.Clone(next.Steps[n:]), b.Earlier+n
		}
	}
	return &next
}

// ended is the build after its end.
func (b *Build) ended(how BuildPhase, took time.Duration) *Build {
	next := *b
	next.Phase, next.Took, next.Step = how, Millis(took), ""
	return &next
}

// rung says how an image was made.
func rung(r *build.Result) string {
	if r.Why == "" {
		return r.Rung
	}
	return r.Rung + ": " + r.Why
}

// lastLines is lines with one more, without the oldest when there are too many.
// It shares nothing that it writes with lines.
func lastLines(lines []string, line string) []string {
	if len(lines) >= shownLines {
		lines = slices.Clone(lines[len(lines)-shownLines+1:])
	}
	return append(slices.Clip(lines), line)
}
