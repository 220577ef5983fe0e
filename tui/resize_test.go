package tui

import (
	"fmt"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
)

// TestResized: after each resize the scrolling region is the whole screen, before it is
// painted anew.
func TestResized(t *testing.T) {
	m, _ := open(day(), newDesk(), 40, 10)
	cmd := m.take(tea.WindowSizeMsg{Width: 200, Height: 60})
	if cmd == nil {
		t.Fatal("nothing follows")
	}
	steps := fmt.Sprintf("%T", cmd())
	if !strings.Contains(steps, "sequence") {
		t.Errorf("what follows is a %s", steps)
	}
	if raw, ok := tea.Raw(wholeScreen)().(tea.RawMsg); !ok || raw.Msg != "\x1b[r" {
		t.Errorf("%+v", raw)
	}
}
