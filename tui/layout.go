package tui

import (
	"github.com/kdev-io/kdev/tui/logview"
	"github.com/kdev-io/kdev/tui/theme"
)

// A size is how much of the screen the pane with the focus takes.
type size int

const (
	normal size = iota // services as many as they are, up to two fifths
	half
	full
)

var sizeNames = []string{"normal", "half", "full"}

// A layout is how many rows each part has. A part without rows is not drawn.
type layout struct {
	header   int // what runs where
	strip    int // the last change
	alarm    int // problems of the project as a whole
	services int // with their title
	detail   int // with its tabs
	footer   int
}

// layout shares the rows out.
func (m *Model) layout() layout {
	l := layout{header: 1, footer: 1}
	if m.height < 3 {
		return layout{header: 1, detail: m.height - 1}
	}
	left := m.height - 2
	if left >= 12 {
		l.strip = 1
		left--
	}
	if n := len(m.state.Troubles()); n > 0 && left > 6 {
		l.alarm = min(n, 2)
		left -= l.alarm
	}
	want := max(1, len(m.rows())) + 1 // one says why there are none
	switch {
	case m.size == full && m.focus == servicesPane:
		l.services = left
	case m.size == full:
	case m.size == half:
		l.services = left / 2
	default:
		l.services = min(want, max(3, left*2/5))
	}
	if left-l.services < 3 && m.size != full {
		l.services = max(0, left-3)
	}
	l.detail = left - l.services
	return l
}

// page is how many rows a page of the pane with the focus has.
func (m *Model) page() int {
	l := m.layout()
	if m.focus == servicesPane {
		return max(1, l.services-2)
	}
	if m.lines() {
		l.detail -= len(m.head)
	}
	return max(1, l.detail-2)
}

// Memory is what the dashboard remembers from one `up` of a project to the next.
type Memory struct {
	Theme    string `json:"theme,omitempty"`
	Size     string `json:"size,omitempty"`
	Wrap     bool   `json:"wrap,omitempty"`
	Pretty   bool   `json:"pretty,omitempty"`
	Stamps   int    `json:"stamps,omitempty"`
	One      bool   `json:"one,omitempty"` // lines of the selected service alone
	Mouse    bool   `json:"mouse,omitempty"`
	Quiet    bool   `json:"quiet,omitempty"`
	Selected string `json:"selected,omitempty"`
}

// recall puts the dashboard as it was left. What makes no sense is ignored: the
// file may be of another version.
func (m *Model) recall(mem Memory) {
	var err error
	if m.theme, err = theme.ByName(mem.Theme); err != nil {
		m.theme, _ = theme.ByName(theme.Names()[0])
	}
	for i, name := range sizeNames {
		if name == mem.Size {
			m.size = size(i)
		}
	}
	m.wrap, m.pretty, m.all, m.mouse, m.quiet = mem.Wrap, mem.Pretty, !mem.One, mem.Mouse, mem.Quiet
	if mem.Stamps >= 0 && mem.Stamps < 3 {
		m.stamps = logview.Stamps(mem.Stamps)
	}
	m.selected = mem.Selected
}

// Memory is what is to be remembered.
func (m *Model) Memory() Memory {
	name := m.theme.Name
	if m.opts.Plain && name == "none" {
		name = m.opts.Memory.Theme // that was the terminal's choice, not the person's
	}
	return Memory{
		Theme: name, Size: sizeNames[m.size], Wrap: m.wrap, Pretty: m.pretty, Stamps: int(m.stamps),
		One: !m.all, Mouse: m.mouse, Quiet: m.quiet, Selected: m.selected,
	}
}
