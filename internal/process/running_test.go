//go:build unix

package process

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// TestStopWaitsForChildren: a shell ends before what it started, which has the whole
// of the grace all the same.
func TestStopWaitsForChildren(t *testing.T) {
	var mu sync.Mutex
	var said []string
	up := make(chan struct{})
	p, err := Start(Command{Dir: t.TempDir(), Args: []string{"sh", "-c",
		`(trap 'sleep 0.3; echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done) & trap 'exit 0' TERM; wait`}}, func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if said = append(said, line); line == "up" {
			close(up)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	<-up
	p.Stop(time.Minute)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Contains(said, "saved") {
		t.Errorf("the child was killed before its time: %q", said)
	}
}
