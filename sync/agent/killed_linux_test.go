package agent_test

import (
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/protocol"
)

// An agent that is killed within a batch changes nothing, and the next one removes what it
// had begun to write.
func TestKilledWithinABatch(t *testing.T) {
	c := agenttest.Alone(t)
	dir := t.TempDir()
	cl := dial(t, c)
	big := strings.Repeat("x", 200<<10)
	stream := put("big", "")
	stream.Stream, stream.Inline, stream.Size, stream.Digest = true, nil, int64(len(big)), sha256.Sum256([]byte(big))
	cl.send(&protocol.Begin{Generation: 1, Roots: []string{dir}}, put("small", "1"), stream, &protocol.Data{Bytes: []byte(big[:100<<10])})
	temporary := func() int {
		n := 0
		for _, name := range strings.Fields(names(t, dir)) {
			if !strings.HasPrefix(name, ".kdev-") {
				t.Errorf("%s is there before the batch has ended", name)
			}
			n++
		}
		return n
	}
	eventually(t, "both files are being written", func() bool { return temporary() == 2 })
	c.Cut()
	if _, err := cl.r.Receive(); err == nil {
		t.Error("it lives")
	}
	if n := temporary(); n != 2 {
		t.Errorf("%d temporary files, want what a killed agent leaves", n)
	}
	next := dial(t, c)
	next.done(next.batch(dir, nil, put("small", "2")))
	if got := names(t, dir); got != "small" {
		t.Errorf("there is %q", got)
	}
	if b, err := os.ReadFile(dir + "/small"); err != nil || string(b) != "2" {
		t.Errorf("%q, %v", b, err)
	}
}
