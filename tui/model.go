package tui

import (
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/session"
)

// keptLines bounds what the log pane remembers.
const keptLines = 5000

// StateMsg is a new snapshot.
type StateMsg struct{ State *session.State }

// LineMsg is one or more new lines, oldest first.
type LineMsg struct{ Lines []Line }

// Line is one line of a log or a notice, without its newline and already
// cleaned of control sequences.
type Line struct {
	Service string // empty: the session as a whole
	Text    string
}

// clockMsg lets running times move.
type clockMsg time.Time

// Model is the dashboard. It is a bubbletea model: hand it messages, draw its
// View.
type Model struct {
	state    *session.State
	lines    []Line
	now      time.Time
	width    int
	height   int
	selected int
	only     bool // the log pane shows the selected service alone
	back     int  // lines scrolled back from the newest
	leaving  bool
}

// New makes a dashboard that shows state until a newer one comes.
func New(state *session.State, now time.Time) Model {
	return Model{state: state, now: now, width: 80, height: 24}
}

// Left says whether the person asked to leave.
func (m Model) Left() bool { return m.leaving }

// Init starts the clock.
func (m Model) Init() tea.Cmd { return clock() }

func clock() tea.Cmd {
	return tea.Tick(time.Second, func(t time.Time) tea.Msg { return clockMsg(t) })
}

// Update takes one message.
func (m Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case StateMsg:
		m.state = msg.State
		m.selected = min(m.selected, max(0, len(m.state.Services)-1))
	case LineMsg:
		m.lines = append(m.lines, msg.Lines...)
		if extra := len(m.lines) - keptLines; extra > 0 {
			m.lines = append([]Line(nil), m.lines[extra:]...)
		}
		if m.back > 0 {
			m.back += m.matching(msg.Lines) // what is being read stays where it is
		}
	case clockMsg:
		m.now = time.Time(msg)
		return m, clock()
	case tea.KeyPressMsg:
		return m.key(msg.String())
	}
	return m, nil
}

func (m Model) key(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "q", "ctrl+c":
		m.leaving = true
		return m, tea.Quit
	case "up", "k":
		m.selected = max(0, m.selected-1)
		m.back = 0
	case "down", "j":
		m.selected = max(0, min(len(m.state.Services)-1, m.selected+1))
		m.back = 0
	case "enter", "space":
		m.only = !m.only
		m.back = 0
	case "pgup", "b":
		m.back = min(m.back+m.logHeight(), max(0, m.matching(m.lines)-m.logHeight()))
	case "pgdown", "f":
		m.back = max(0, m.back-m.logHeight())
	case "end", "G":
		m.back = 0
	case "home", "g":
		m.back = max(0, m.matching(m.lines)-m.logHeight())
	}
	return m, nil
}

// shows says whether the log pane shows a line.
func (m Model) shows(l Line) bool {
	return !m.only || m.selected >= len(m.state.Services) || l.Service == m.state.Services[m.selected].Name
}

func (m Model) matching(lines []Line) int {
	n := 0
	for _, l := range lines {
		if m.shows(l) {
			n++
		}
	}
	return n
}
