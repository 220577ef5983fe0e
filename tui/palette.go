package tui

import (
	"cmp"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/session"
)

// A chooser is the palette: everything that can be done here, narrowed by what
// a person types.
type chooser struct {
	title  string
	from   func(*Model) []binding
	input  input
	chosen int
}

func (m *Model) openPalette() {
	title := "commands"
	if m.selected != "" {
		title += " · " + m.selected
	}
	m.overlay = &chooser{title: title, from: (*Model).keys}
}

func (m *Model) openTasks() {
	m.overlay = &chooser{title: "tasks of kdev.yaml", from: (*Model).tasks}
}

// tasks are what the project's tasks are as things to do.
func (m *Model) tasks() []binding {
	var all []binding
	for _, t := range m.state.Tasks {
		help := "in " + safe(t.Service) + ": " + oneLine(t.Command)
		if t.Running {
			help = "runs now, " + help
		}
		all = append(all, binding{name: safe(t.Name), help: help, in: palette, run: func(m *Model) tea.Cmd {
			return m.ask(session.Command{Verb: session.DoTask, Task: t.Name})
		}})
	}
	return all
}

// found is what matches, the best first.
func (c *chooser) found(m *Model) []*binding {
	type hit struct {
		b          *binding
		rank, near int
	}
	var hits []hit
	all := c.from(m)
	for i := range all {
		b := &all[i]
		if b.name == "commands" || b.run == nil || !b.possible(m) {
			continue
		}
		if rank, ok := fuzzy(b.name, b.help, c.input.String()); ok {
			hits = append(hits, hit{b, rank, m.near(b)})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Or(a.rank-b.rank, a.near-b.near) })
	out := make([]*binding, len(hits))
	for i, h := range hits {
		out[i] = h.b
	}
	return out
}

// near says how early something comes where what was typed does not tell: what the
// pane with the focus can do, before what has no key, before the rest.
func (m *Model) near(b *binding) int {
	switch {
	case b.in == palette:
		return 1
	case b.in == everywhere:
		return 3
	case m.here(b.in):
		return 0
	}
	return 2
}

// fuzzy ranks a name against what was typed: the same beginning before the same
// text inside, before its letters in their order, before the description.
func fuzzy(name, help, typed string) (rank int, ok bool) {
	typed = strings.ToLower(strings.TrimSpace(typed))
	switch {
	case strings.HasPrefix(name, typed):
		return 0, true
	case strings.Contains(name, typed):
		return 1, true
	case inOrder(strings.ToLower(name), typed):
		return 2, true
	case strings.Contains(strings.ToLower(help), typed):
		return 3, true
	}
	return 0, false
}

func inOrder(text, letters string) bool {
	for _, r := range letters {
		i := strings.IndexRune(text, r)
		if i < 0 {
			return false
		}
		text = text[i+len(string(r)):]
	}
	return true
}

func (c *chooser) key(m *Model, msg tea.KeyPressMsg) tea.Cmd {
	found := c.found(m)
	switch msg.String() {
	case "esc", "ctrl+c":
		m.overlay = nil
		return nil
	case "enter":
		m.overlay = nil
		if c.chosen < len(found) {
			b := found[c.chosen]
			if b.in == inLogs {
				m.focus = detailPane
			}
			return b.run(m)
		}
		return nil
	case "up", "ctrl+p":
		c.chosen--
	case "down", "ctrl+n", "tab":
		c.chosen++
	default:
		if c.input.key(msg) {
			c.chosen = 0
		}
	}
	c.chosen = max(0, min(c.chosen, len(c.found(m))-1))
	return nil
}

func (c *chooser) paste(_ *Model, text string) tea.Cmd {
	c.input.insert(text)
	c.chosen = 0
	return nil
}

// width is that of the longest row, of those too that what is typed leaves out: the box
// does not jump.
func (c *chooser) width(m *Model) int {
	width := 0
	all := c.from(m)
	for i := range all {
		width = max(width, ansi.StringWidth(all[i].help))
	}
	return 2 + 24 + 1 + 10 + 1 + width
}

func (c *chooser) draw(m *Model, rows []string) []string {
	t := m.theme
	found := c.found(m)
	room := max(1, min(len(found), m.height-7))
	from := max(0, c.chosen-room+1)
	width := min(c.width(m), m.width-6)
	lines := []string{t.Title.Paint(":") + c.input.String() + "▏", ""}
	for i := from; i < min(len(found), from+room); i++ {
		b := found[i]
		name := fit(b.name, 24)
		row := name + " " + fit(keyNames(b.keys), 10) + " " + t.Faint.Paint(b.help)
		if i == c.chosen {
			row = "› " + t.Title.Paint(name) + " " + t.Key.Paint(fit(keyNames(b.keys), 10)) + " " + b.help
		} else {
			row = "  " + row
		}
		lines = append(lines, fit(row, width))
	}
	if len(found) == 0 {
		lines = append(lines, t.Faint.Paint("nothing is called that"))
	}
	return m.box(rows, c.title, lines)
}
