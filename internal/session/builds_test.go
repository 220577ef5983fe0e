package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/kdev-io/kdev/build"
)

// TestBuildKeepsItsSteps: those that ended stay in the snapshot, the last of them, and
// snapshots that were handed out do not change.
func TestBuildKeepsItsSteps(t *testing.T) {
	b := &Build{}
	b = b.with(build.Event{Step: "RUN npm ci"})
	early := b.with(build.Event{Step: "FROM node", Done: true, Cached: true})
	b = early.with(build.Event{Step: "RUN npm ci", Done: true, Took: 3 * time.Second, Bytes: 7})
	if len(early.Steps) != 1 || !early.Steps[0].Cached {
		t.Errorf("the earlier snapshot has %v", early.Steps)
	}
	want := Step{Name: "RUN npm ci", Bytes: 7, Took: Millis(3 * time.Second)}
	if len(b.Steps) != 2 || b.Steps[1] != want {
		t.Errorf("steps are %v", b.Steps)
	}
	for i := range 2 * shownSteps {
		b = b.with(build.Event{Step: fmt.Sprint("COPY ", i), Done: true})
	}
	if len(b.Steps) != shownSteps || b.Earlier != shownSteps+2 || b.Steps[shownSteps-1].Name != fmt.Sprint("COPY ", 2*shownSteps-1) {
		t.Errorf("%d steps, %d before them, the last is %v", len(b.Steps), b.Earlier, b.Steps[len(b.Steps)-1])
	}
	if end := b.ended(BuildDone, time.Second); len(end.Steps) != shownSteps {
		t.Error("the end takes the steps away")
	}
}
