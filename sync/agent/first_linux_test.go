package agent_test

import (
	"testing"

	"github.com/kdev-io/kdev/sync/agent/agenttest"
	"github.com/kdev-io/kdev/sync/protocol"
)

// A restart of the container ends it, as a failure whatever the application says, so
// that every restart policy but Never starts it again.
func TestRestartOfTheContainer(t *testing.T) {
	for _, c := range []struct {
		name, script string
		code         int
	}{
		{"ends well", "trap 'exit 0' TERM; echo started; while :; do sleep 0.01; done", 128 + 15},
		{"says what", "trap 'exit 7' TERM; echo started; while :; do sleep 0.01; done", 7},
		{"does not listen", "trap '' TERM; echo started; while :; do sleep 0.01; done", 128 + 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := agenttest.StartLimited(t, quick, "sh", "-c", c.script)
			if err := pod.Output.Await(bounded(t), "started", 1); err != nil {
				t.Fatal(err)
			}
			cl := dial(t, pod)
			dir := t.TempDir()
			ack := cl.batch(dir, &protocol.End{Restart: true, Container: true, Hold: true}, put("x", "1"))
			cl.done(ack)
			if code := pod.Wait(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
		})
	}
}

// A container that is held ends too.
func TestRestartOfAHeldContainer(t *testing.T) {
	dir := t.TempDir()
	pod := agenttest.StartLimited(t, quick, "sh", "-c", "echo started; test ! -e "+dir+"/bad || exit 9; exec sleep 1000")
	if err := pod.Output.Await(bounded(t), "started", 1); err != nil {
		t.Fatal(err)
	}
	cl := dial(t, pod)
	cl.done(cl.batch(dir, &protocol.End{Restart: true, Hold: true}, put("bad", "1")))
	cl.notice(protocol.NoticeHeld)
	cl.done(cl.batch(dir, &protocol.End{Restart: true, Container: true}, put("x", "1")))
	if code := pod.Wait(); code != 9 {
		t.Errorf("exit code %d, want the application's", code)
	}
}
