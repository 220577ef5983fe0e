package logs

import (
	"testing"
	"time"

	"github.com/kdev-io/kdev/logs/store"
)

// A log that opens late has its place among those that were there at once.
func TestMergeWaitsForLogsThatAreNotOpenYet(t *testing.T) {
	now := time.Unix(1000, 0)
	behind, got := true, ""
	m := &merger{now: func() time.Time { return now }, start: now.UnixNano(), behind: func() bool { return behind },
		emit: func(_ *store.Source, _ store.Line, msg []byte) { got += string(msg) }}
	at := func(s int64) store.Line { return store.Line{Time: time.Unix(s, 0).UnixNano()} }
	m.push(nil, at(10), []byte("b"))
	now = now.Add(2 * mergeWindow)
	m.flush(false)
	m.push(nil, at(5), []byte("a"))
	behind = false
	m.flush(false)
	now = now.Add(mergeWindow)
	m.flush(false)
	if got != "ab" {
		t.Errorf("got %q", got)
	}
	// One that cannot be opened holds nobody up for ever.
	m = &merger{now: m.now, start: now.UnixNano(), behind: func() bool { return true }, emit: m.emit}
	m.push(nil, at(11), []byte("c"))
	now = now.Add(mergeStart + time.Second)
	m.flush(false)
	now = now.Add(mergeWindow)
	m.flush(false)
	if got != "abc" {
		t.Errorf("got %q", got)
	}
}
