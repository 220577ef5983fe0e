package tui

import tea "charm.land/bubbletea/v2"

func (m *Model) toggleMouse() {
	m.mouse = !m.mouse
	if m.mouse {
		m.say("the mouse chooses and scrolls here; the terminal's own selection mostly takes Shift", false)
		return
	}
	m.say("the mouse is the terminal's: its own selection works", false)
}

// click chooses the row, the tab or the line under the mouse.
func (m *Model) click(_, y int) tea.Cmd {
	if m.overlay != nil {
		m.overlay = nil
		return nil
	}
	l := m.layout()
	y -= l.header + l.strip + l.alarm
	switch {
	case y < 0:
	case y < l.services:
		m.focus = servicesPane
		if i := y - 1; i >= 0 && i < len(m.rowsShown) && m.rowsShown[i].group == "" {
			r := m.rowsShown[i]
			if r.pod == "" && r.service == m.selected && m.pod == "" {
				m.fold()
			}
			m.selectRow(r)
		}
	case y < l.services+l.detail:
		m.focus = detailPane
		if m.lines() {
			if id := m.logs.LineAt(y - l.services - 1 - len(m.head)); id != 0 {
				m.logs.SetCursor(m.worker.shown.List(), id)
			}
		}
	}
	return nil
}

// wheelRows is how far one notch goes.
const wheelRows = 3

func (m *Model) wheel(y int, b tea.MouseButton) {
	n := wheelRows
	switch b {
	case tea.MouseWheelUp:
		n = -n
	case tea.MouseWheelDown:
	default:
		return
	}
	l := m.layout()
	before := m.focus
	m.focus = detailPane
	if y < l.header+l.strip+l.alarm+l.services {
		m.focus = servicesPane
	}
	m.move(n)
	m.focus = before
}
