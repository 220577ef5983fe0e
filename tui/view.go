package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

var (
	bold    = lipgloss.NewStyle().Bold(true)
	faint   = lipgloss.NewStyle().Faint(true)
	good    = lipgloss.NewStyle().Foreground(lipgloss.Green)
	busy    = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	bad     = lipgloss.NewStyle().Foreground(lipgloss.Red)
	reverse = lipgloss.NewStyle().Reverse(true)
)

// keys is the last line.
const keys = "↑↓ select   enter only its lines   pgup/pgdn scroll   q leave (keeps everything running)"

// View draws the frame.
func (m Model) View() tea.View {
	v := tea.NewView(m.frame())
	v.AltScreen = true
	v.WindowTitle = "kdev " + m.state.Project
	return v
}

// frame is the whole screen: exactly height lines, none wider than width.
func (m Model) frame() string {
	lines := append(m.top(), m.logLines()...)
	lines = append(lines, faint.Render(keys))
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, "…")
	}
	if len(lines) > m.height {
		lines = append(lines[:max(0, m.height-1)], lines[len(lines)-1])
	}
	return strings.Join(lines, "\n")
}

// top is everything above the log pane.
func (m Model) top() []string {
	st := m.state
	word := busy.Render("◐ working")
	if st.Ready {
		word = good.Render("● ready")
	}
	lines := []string{fmt.Sprintf("%s  %s  %s  %s", bold.Render("kdev "+st.Project), word,
		faint.Render(st.Context+"/"+st.Namespace), faint.Render("up "+short(m.now.Sub(st.Started)))), ""}
	for _, p := range st.Problems {
		lines = append(lines, problemLines(p)...)
		lines = append(lines, "")
	}
	lines = append(lines, faint.Render(fmt.Sprintf("  %-18s %-14s %-7s %-9s %-10s %s", "SERVICE", "STATE", "PODS", "RESTARTS", "CHANGE", "URL")))
	for i, svc := range st.Services {
		row := fmt.Sprintf("%-18s %s %-7s %-9d %-10s %s", ansi.Truncate(svc.Name, 18, "…"), phase(svc.Phase),
			fmt.Sprintf("%d/%d", svc.Current, svc.Desired), restarts(svc), change(svc), urls(svc))
		if i == m.selected {
			row = reverse.Render("›") + " " + row
		} else {
			row = "  " + row
		}
		lines = append(lines, row)
	}
	if m.selected < len(st.Services) {
		svc := st.Services[m.selected]
		switch {
		case svc.Problem != nil:
			lines = append(lines, "")
			lines = append(lines, problemLines(svc.Problem)...)
		case svc.Waiting != nil:
			lines = append(lines, "", faint.Render("  "+svc.Name+" waits for: "+svc.Waiting.Text))
		}
	}
	title := "─ all lines "
	if m.only && m.selected < len(st.Services) {
		title = "─ " + st.Services[m.selected].Name + " "
	}
	if m.back > 0 {
		title += fmt.Sprintf("(%d newer below) ", m.back)
	}
	return append(lines, faint.Render(title+strings.Repeat("─", max(0, m.width-ansi.StringWidth(title)))))
}

func (m Model) logHeight() int { return max(1, m.height-len(m.top())-1) }

// logLines is the log pane, padded to its height.
func (m Model) logLines() []string {
	height := m.logHeight()
	var shown []string
	skip := m.back
	for i := len(m.lines) - 1; i >= 0 && len(shown) < height; i-- {
		if !m.shows(m.lines[i]) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		shown = append(shown, m.lines[i].Text)
	}
	for i, j := 0, len(shown)-1; i < j; i, j = i+1, j-1 {
		shown[i], shown[j] = shown[j], shown[i]
	}
	for len(shown) < height {
		shown = append(shown, "")
	}
	return shown
}

// phase is the state word with its glyph, 14 cells wide.
func phase(p session.Phase) string {
	style, glyph := busy, "◐"
	switch p {
	case session.Ready:
		style, glyph = good, "●"
	case session.FailedPhase:
		style, glyph = bad, "✗"
	case session.Pending:
		style, glyph = faint, "○"
	}
	return style.Render(fmt.Sprintf("%s %-12s", glyph, p))
}

func problemLines(p *problem.Problem) []string {
	lines := []string{bad.Render("  ✗ " + p.Error())}
	out := strings.Split(strings.TrimRight(p.Output, "\n"), "\n")
	if p.Output != "" {
		for _, l := range out[max(0, len(out)-6):] {
			lines = append(lines, faint.Render("    │ ")+ansi.Strip(l))
		}
	}
	if p.Hint != "" {
		lines = append(lines, "    hint: "+p.Hint)
	}
	return lines
}

func restarts(svc session.Service) int {
	n := 0
	for _, p := range svc.Pods {
		n += p.Restarts
	}
	return n
}

func change(svc session.Service) string {
	if svc.Took() == 0 {
		return "-"
	}
	return short(svc.Took())
}

func urls(svc session.Service) string {
	var all []string
	for _, p := range svc.Ports {
		all = append(all, p.URL)
	}
	return strings.Join(all, " ")
}

// short writes a duration as a person says it.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
