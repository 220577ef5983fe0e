//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
)

// Not a test of a bound: it prints what a save costs on this machine.
func TestSaveLatency(t *testing.T) {
	b := newBench(t, nil)
	pod := b.pod("latency", "scratch", nil)
	b.start(nil)
	content := []byte(strings.Repeat("x", 10<<10))
	var took []time.Duration
	for i := range 300 {
		copy(content, fmt.Sprint(i, "."))
		f := b.write("f", string(content), 0o644)
		began := time.Now()
		b.update(map[string]*engine.File{"/app/f": f})
		b.synced()
		took = append(took, time.Since(began))
	}
	if got := b.get(pod.Name, "/app/f"); got != string(content) {
		t.Error("the file in the container is not the last one")
	}
	slices.Sort(took)
	t.Logf("10 KB, update to acknowledgement: p50 %s, p95 %s, max %s", took[len(took)/2], took[len(took)*95/100], took[len(took)-1])
	c := b.awaitEvent("connected", func(e mirror.Event) bool { return e.Kind == mirror.Connected })
	t.Logf("connected: unsynced %v", c.Unsynced)
}
