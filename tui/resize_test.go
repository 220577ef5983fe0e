package tui

import (
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// TestResizedTwice: after the last of several sizes, and after no other, the whole screen is
// painted once more.
func TestResizedTwice(t *testing.T) {
	m, _ := open(day(), newDesk(), 80, 24)
	m.settling = time.Nanosecond
	var told []tea.Msg
	for _, height := range []int{10, 60} {
		told = append(told, m.take(tea.WindowSizeMsg{Width: 80, Height: height})())
	}
	if cmd := m.take(told[0]); cmd != nil {
		t.Error("painted in between")
	}
	cmd := m.take(told[1])
	if cmd == nil || cmd() != tea.ClearScreen() {
		t.Error("what was painted too early stays where it is")
	}
}
