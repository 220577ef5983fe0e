package tui

import (
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/session"
)

// TestWayOfAFailure: the strip names the stage that was not reached, and after how long.
func TestWayOfAFailure(t *testing.T) {
	m := &Model{}
	failed := change(time.Minute, session.ActBuild, session.Failed, "web/Dockerfile", 15)
	failed.Ended = failed.Saved.Add(915 * time.Millisecond)
	kept := change(time.Minute, session.ActBuild, session.Nothing, "web/Dockerfile", 15)
	for _, c := range []struct {
		change session.Change
		want   string
	}{
		{failed, " ▸ web web/Dockerfile saved → batched 15 ms ✗ not built: failed after 915 ms"},
		{kept, " ▸ web web/Dockerfile saved → batched 15 ms nothing to do: the image is current"},
	} {
		if got := ansi.Strip(m.way(&session.Service{Name: "web"}, &c.change, true, true)); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
