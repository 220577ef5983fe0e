package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/session"
)

// View draws the frame.
func (m *Model) View() tea.View {
	v := tea.NewView(m.Frame())
	v.AltScreen = true
	v.WindowTitle = m.title()
	v.ProgressBar = m.progress()
	if m.mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	if c := m.cursor(); c != nil {
		v.Cursor = c
	}
	return v
}

// Frame is the whole screen: exactly height rows, none wider than width.
func (m *Model) Frame() string {
	l := m.layout()
	rows := make([]string, 0, m.height)
	rows = append(rows, m.header())
	if l.strip > 0 {
		rows = append(rows, m.strip())
	}
	rows = append(rows, m.alarms(l.alarm)...)
	rows = append(rows, m.drawServices(l.services)...)
	rows = append(rows, m.drawDetail(l.detail)...)
	if l.footer > 0 {
		rows = append(rows, m.footer())
	}
	if m.overlay != nil {
		rows = m.overlay.draw(m, rows)
	}
	for len(rows) < m.height {
		rows = append(rows, "")
	}
	rows = rows[:m.height]
	for i, r := range rows {
		// Rows of few bytes cannot be too wide.
		if len(r) > m.width && ansi.StringWidth(r) > m.width {
			rows[i] = ansi.Truncate(r, m.width, "…")
		}
	}
	return strings.Join(rows, "\n")
}

// footer is the outcome of the last action, else the most useful keys.
func (m *Model) footer() string {
	t := m.theme
	if m.said != "" {
		if m.badly {
			return " " + t.Bad.Paint("✗ "+oneLine(m.said))
		}
		return " " + t.Good.Paint("✓ ") + oneLine(m.said)
	}
	hints := m.hints()
	for {
		var parts []string
		for _, b := range hints {
			parts = append(parts, t.Key.Paint(keyNames(b.keys[:1]))+" "+t.Faint.Paint(b.name))
		}
		row := " " + strings.Join(parts, "   ")
		if len(hints) <= 1 || ansi.StringWidth(row) <= m.width {
			return row
		}
		// How to leave goes last.
		i := max(0, slices.IndexFunc(hints, func(b binding) bool { return b.hint >= fixedHint })-1)
		hints = slices.Delete(hints, i, i+1)
	}
}

// title is the terminal's.
func (m *Model) title() string {
	failed := 0
	for i := range m.state.Services {
		if m.state.Services[i].Phase == session.FailedPhase {
			failed++
		}
	}
	// Words of ASCII alone: to some terminals, a byte inside of a glyph ends the
	// title.
	word := "at work"
	switch {
	case failed > 0:
		word = fmt.Sprintf("%d failed", failed)
	case len(m.state.Troubles()) > 0:
		word = "failed"
	case m.state.Ready:
		word = "ready"
	}
	return "kdev " + safe(m.state.Project) + ": " + word
}

// progress is what a terminal shows on its tab or icon (OSC 9;4).
func (m *Model) progress() *tea.ProgressBar {
	ready, total, failed := 0, len(m.state.Services), len(m.state.Troubles()) > 0
	for i := range m.state.Services {
		switch m.state.Services[i].Phase {
		case session.Ready, session.Paused, session.Sleeping, session.Stopped:
			ready++
		case session.FailedPhase:
			failed = true
		}
	}
	switch {
	case failed:
		return tea.NewProgressBar(tea.ProgressBarError, 100*ready/max(1, total))
	case ready < total:
		return tea.NewProgressBar(tea.ProgressBarDefault, 100*ready/max(1, total))
	}
	return nil
}

// cursor is where a person types; nil where nothing is typed.
func (m *Model) cursor() *tea.Cursor {
	if p, ok := m.overlay.(interface{ cursor(*Model) (x, y int) }); ok {
		x, y := p.cursor(m)
		return tea.NewCursor(x, y)
	}
	return nil
}

// announce tells a person who looks elsewhere that something failed or
// recovered.
func (m *Model) announce(before *session.State) tea.Cmd {
	if before == nil {
		return nil
	}
	m.failing = m.failing || anyFailed(before)
	text := news(before, m.state, m.failing)
	if m.state.Ready && !anyFailed(m.state) {
		m.failing = false
	}
	if m.quiet {
		return nil
	}
	if text == "" {
		return nil
	}
	// A bell, which every terminal knows, and the notification of OSC 9, which
	// others ignore.
	return tea.Raw("\a\x1b]9;kdev " + safe(m.state.Project) + ": " + text + "\a")
}

// news is what changed for better or worse from one snapshot to the next. failed says
// that something has failed since all was ready: what heals is not ready at once.
func news(before, now *session.State, failed bool) string {
	var parts []string
	for i := range now.Services {
		svc := &now.Services[i]
		old, ok := before.Service(svc.Name)
		if !ok {
			continue
		}
		if svc.Phase == session.FailedPhase && old.Phase != session.FailedPhase {
			parts = append(parts, svc.Name+" failed")
		}
	}
	known := map[string]bool{}
	for _, p := range before.Troubles() {
		known[p.Error()] = true
	}
	for _, p := range now.Troubles() {
		if !known[p.Error()] {
			parts = append(parts, oneLine(p.Error()))
		}
	}
	if len(parts) > 0 {
		return safe(strings.Join(parts, ", "))
	}
	if now.Ready && failed && !anyFailed(now) {
		return "everything is ready again"
	}
	return ""
}

func anyFailed(st *session.State) bool {
	for i := range st.Services {
		if st.Services[i].Phase == session.FailedPhase {
			return true
		}
	}
	return len(st.Troubles()) > 0
}
