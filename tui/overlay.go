package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// An overlay takes all keys while it is there.
type overlay interface {
	key(*Model, tea.KeyPressMsg) tea.Cmd
	paste(*Model, string) tea.Cmd
	draw(*Model, []string) []string
}

// An input is one row of text that a person types.
type input struct {
	text []rune
	at   int // from the end
	// chosen says that all of it is selected: what is typed takes its place.
	chosen bool
	takes  func(rune) bool // what may be typed; nil is everything
}

func (in *input) String() string { return string(in.text) }

// insert puts text where the cursor is, as one line.
func (in *input) insert(s string) {
	add := []rune(safe(strings.NewReplacer("\r", "", "\n", " ").Replace(s)))
	if in.takes != nil {
		add = slices.DeleteFunc(add, func(r rune) bool { return !in.takes(r) })
	}
	if len(add) == 0 {
		return
	}
	if in.chosen {
		in.text, in.at, in.chosen = nil, 0, false
	}
	at := len(in.text) - in.at
	in.text = append(in.text[:at:at], append(add, in.text[at:]...)...)
}

// key edits, and says whether the key was one for it.
func (in *input) key(msg tea.KeyPressMsg) bool {
	if in.chosen && msg.Text == "" {
		in.chosen = false
		switch msg.String() {
		case "backspace", "ctrl+h", "delete", "ctrl+w":
			in.text, in.at = nil, 0
			return true
		}
	}
	at := len(in.text) - in.at
	switch msg.String() {
	case "backspace", "ctrl+h":
		if at > 0 {
			in.text = append(in.text[:at-1:at-1], in.text[at:]...)
		}
	case "delete":
		if in.at > 0 {
			in.text = append(in.text[:at:at], in.text[at+1:]...)
			in.at--
		}
	case "ctrl+u":
		in.text = in.text[at:]
	case "ctrl+w":
		from := at
		for from > 0 && in.text[from-1] == ' ' {
			from--
		}
		for from > 0 && in.text[from-1] != ' ' {
			from--
		}
		in.text = append(in.text[:from:from], in.text[at:]...)
	case "left":
		in.at = min(len(in.text), in.at+1)
	case "right":
		in.at = max(0, in.at-1)
	case "home", "ctrl+a":
		in.at = len(in.text)
	case "end", "ctrl+e":
		in.at = 0
	default:
		if msg.Text == "" {
			return false
		}
		in.insert(msg.Text)
	}
	return true
}

// A prompt asks for one row of text at the bottom of the screen.
type prompt struct {
	label  string
	input  input
	toggle string // what Ctrl-R switches; empty is nothing
	on     bool
	check  func(text string, on bool) string // what is wrong with it
	change func(*Model, string)
	accept func(*Model, string) tea.Cmd
	cancel func(*Model)
}

func (p *prompt) key(m *Model, msg tea.KeyPressMsg) tea.Cmd {
	switch msg.String() {
	case "esc", "ctrl+c":
		m.overlay = nil
		if p.cancel != nil {
			p.cancel(m)
		}
		return nil
	case "enter":
		if p.check != nil && p.check(p.input.String(), p.on) != "" {
			return nil
		}
		cmd := p.accept(m, p.input.String())
		if m.overlay == overlay(p) {
			m.overlay = nil
		}
		return cmd
	case "ctrl+r":
		p.on = !p.on && p.toggle != ""
	default:
		if !p.input.key(msg) {
			return nil
		}
	}
	if p.change != nil {
		p.change(m, p.input.String())
	}
	return nil
}

func (p *prompt) paste(m *Model, text string) tea.Cmd {
	p.input.insert(text)
	if p.change != nil {
		p.change(m, p.input.String())
	}
	return nil
}

func (p *prompt) draw(m *Model, rows []string) []string {
	t := m.theme
	typed := p.input.String()
	if p.input.chosen {
		typed = t.Selected.Paint(typed)
	}
	text := " " + t.Title.Paint(p.label+": ") + typed
	if p.check != nil {
		if wrong := p.check(p.input.String(), p.on); wrong != "" {
			text += "  " + t.Bad.Paint("✗ "+oneLine(wrong))
		}
	}
	if p.toggle != "" {
		state := " (off)"
		if p.on {
			state = " (on)"
		}
		text += "   " + t.Faint.Paint(p.toggle+state)
	}
	return append(rows[:len(rows)-1:len(rows)-1], text)
}

// cursor is where the next character goes.
func (p *prompt) cursor(m *Model) (x, y int) {
	before := string(p.input.text[:len(p.input.text)-p.input.at])
	return 1 + ansi.StringWidth(p.label) + 2 + ansi.StringWidth(before), m.height - 1
}

// overlayOn says whether the switch of the prompt is on.
func (m *Model) overlayOn() bool {
	p, ok := m.overlay.(*prompt)
	return ok && p.on
}

// A question asks before something is destroyed.
type question struct {
	text string
	loss []string // what will be lost, or how to have it back
	yes  func(*Model) tea.Cmd
}

func (q *question) key(m *Model, msg tea.KeyPressMsg) tea.Cmd {
	switch msg.String() {
	case "y", "Y":
		m.overlay = nil
		return q.yes(m)
	case "n", "N", "esc", "q", "ctrl+c", "enter":
		m.overlay = nil
		m.say("nothing was done", false)
	}
	return nil
}

func (q *question) paste(*Model, string) tea.Cmd { return nil }

func (q *question) draw(m *Model, rows []string) []string {
	lines := []string{m.theme.Title.Paint(q.text)}
	for _, l := range q.loss {
		lines = append(lines, wrapText(l, min(60, m.width-8))...)
	}
	lines = append(lines, "", m.theme.Key.Paint("y")+" yes   "+m.theme.Key.Paint("n")+" no")
	return m.box(rows, "", lines)
}

// box lays a frame with lines over the middle of the screen.
func (m *Model) box(rows []string, title string, lines []string) []string {
	width := ansi.StringWidth(title) + 4
	for _, l := range lines {
		width = max(width, ansi.StringWidth(l))
	}
	width = min(width, m.width-4)
	if width < 1 {
		return rows
	}
	lines = lines[:min(len(lines), max(0, len(rows)-2))]
	t := m.theme
	frame := make([]string, 0, len(lines)+2)
	head := ""
	if title != "" {
		head = " " + title + " "
	}
	frame = append(frame, t.Frame.Paint("╭─")+t.Title.Paint(head)+t.Frame.Paint(strings.Repeat("─", max(0, width+1-ansi.StringWidth(head)))+"╮"))
	for _, l := range lines {
		frame = append(frame, t.Frame.Paint("│ ")+fit(l, width)+t.Frame.Paint(" │"))
	}
	frame = append(frame, t.Frame.Paint("╰"+strings.Repeat("─", width+2)+"╯"))
	x, y := max(0, (m.width-width-4)/2), max(0, (len(rows)-len(frame))/2)
	out := append([]string(nil), rows...)
	for i, f := range frame {
		if y+i >= len(out) {
			break
		}
		under := fit(out[y+i], m.width)
		out[y+i] = ansi.Truncate(under, x, "") + resetAll + f + ansi.TruncateLeft(under, x+width+4, "")
	}
	return out
}

const resetAll = "\x1b[m"

// A page shows what a person reads and leaves: the help.
type page struct {
	title string
	lines []string
	from  int
}

func (p *page) key(m *Model, msg tea.KeyPressMsg) tea.Cmd {
	room := max(1, m.height-4)
	switch msg.String() {
	case "up", "k":
		p.from--
	case "down", "j":
		p.from++
	case "pgup", "b":
		p.from -= room
	case "pgdown", "space", "f":
		p.from += room
	case "home", "g":
		p.from = 0
	case "end", "G":
		p.from = len(p.lines)
	default:
		m.overlay = nil
	}
	p.from = max(0, min(p.from, len(p.lines)-room))
	return nil
}

func (p *page) paste(*Model, string) tea.Cmd { return nil }

func (p *page) draw(m *Model, rows []string) []string {
	room := max(1, m.height-4)
	shown := p.lines[p.from:min(len(p.lines), p.from+room)]
	title := p.title
	if len(p.lines) > room {
		title += fmt.Sprintf(" %d–%d of %d", p.from+1, p.from+len(shown), len(p.lines))
	}
	return m.box(rows, title, shown)
}

// openHelp shows every key, from the table that they work by.
func (m *Model) openHelp() {
	m.overlay = &page{title: "keys · any other key closes", lines: m.helpLines()}
}

func (m *Model) helpLines() []string {
	var out []string
	all := m.keys()
	for s := everywhere; s <= palette; s++ {
		var rows []string
		for i := range all {
			if b := &all[i]; b.in == s {
				rows = append(rows, m.theme.Key.Paint(fit(keyNames(b.keys), 12))+" "+fit(b.name, 23)+" "+m.theme.Faint.Paint(b.help))
			}
		}
		if len(rows) > 0 {
			if len(out) > 0 {
				out = append(out, "")
			}
			out = append(out, m.theme.Title.Paint(scopeNames[s]))
			out = append(out, rows...)
		}
	}
	return out
}
