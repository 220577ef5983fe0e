package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/session"
)

// header is the first row: what runs where, and whether it is ready.
func (m *Model) header() string {
	t, st := m.theme, m.state
	ready, failed := 0, 0
	for i := range st.Services {
		switch st.Services[i].Phase {
		case session.Ready:
			ready++
		case session.FailedPhase:
			failed++
		}
	}
	word := t.Busy.Paint(fmt.Sprintf("◐ working %d/%d", ready, len(st.Services)))
	switch {
	case failed > 0 || len(st.Troubles()) > 0:
		word = t.Bad.Paint(fmt.Sprintf("✗ failed %d", max(failed, 1))) + " " + t.Good.Paint(fmt.Sprintf("● ready %d/%d", ready, len(st.Services)))
	case st.Ready:
		word = t.Good.Paint(fmt.Sprintf("● ready %d/%d", ready, len(st.Services)))
	}
	parts := []string{t.Title.Paint("kdev " + safe(st.Project)), word, t.Faint.Paint(safe(st.Context) + "/" + safe(st.Namespace))}
	if !st.Started.IsZero() {
		parts = append(parts, t.Faint.Paint("since "+st.Started.Local().Format("15:04")))
	}
	return " " + strings.Join(parts, "  ")
}

// alarms are the problems of the project as a whole, one row each.
func (m *Model) alarms(height int) []string {
	var out []string
	for _, p := range m.state.Troubles() {
		text := " ✗ " + oneLine(p.Error())
		if p.Hint != "" {
			text += m.theme.Faint.Paint("  hint: " + oneLine(p.Hint))
		}
		out = append(out, m.theme.Bad.Paint(text))
	}
	return out[:min(height, len(out))]
}

// strip is the last change on its way: each stage with its milliseconds, and
// the times of the changes before it. What does not fit goes by its rank: the
// times before, the path, whole words.
func (m *Model) strip() string {
	svc, c := m.lastChange()
	if c == nil {
		return m.theme.Faint.Paint(" ▸ no change yet: save a file")
	}
	left := m.way(svc, c, true, true)
	for _, less := range [][2]bool{{true, false}, {false, true}, {false, false}} {
		if ansi.StringWidth(left) > m.width {
			left = m.way(svc, c, less[0], less[1])
		}
	}
	times := served(svc)
	room := m.width - ansi.StringWidth(left) - 14
	if len(times) < 2 || room < 5 {
		return left
	}
	right := sparks(times, min(20, room)) + m.theme.Faint.Paint(" "+short(times[len(times)-1]))
	return left + strings.Repeat(" ", max(1, m.width-ansi.StringWidth(left)-ansi.StringWidth(right)-1)) + right
}

// way is the stages of a change, with what was saved and with whole words, or
// without.
func (m *Model) way(svc *session.Service, c *session.Change, path, words bool) string {
	t := m.theme
	var b strings.Builder
	b.WriteString(" ▸ " + t.Title.Paint(svc.Name))
	switch {
	case path && len(c.Paths) > 0:
		b.WriteString(" " + safe(c.Paths[0]))
		if n := len(c.Paths) - 1 + c.More; n > 0 {
			fmt.Fprintf(&b, " +%d", n)
		}
	case len(c.Paths) == 0:
		b.WriteString(" " + string(c.Action))
	}
	b.WriteString(t.Faint.Paint(" saved "))
	for _, leg := range c.Legs() {
		name := leg.Name
		if !words {
			name = name[:min(3, len(name))]
		}
		b.WriteString(t.Faint.Paint("→ ") + t.Good.Paint(name) + " " + short(leg.Took) + " ")
	}
	switch c.Outcome {
	case "":
		b.WriteString(t.Busy.Paint("→ ◐ " + short(m.now.Sub(c.Saved).Round(100*time.Millisecond))))
	case session.Served:
		b.WriteString(t.Title.Paint("= " + short(c.Took())))
	case session.Nothing:
		what := "nothing to do: the containers held it"
		if c.Action == session.ActBuild {
			what = "nothing to do: the image is current"
		}
		b.WriteString(t.Faint.Paint(what))
	case session.Failed:
		text := "✗ not " + c.Missed()
		if c.Ended.IsZero() {
			text = "✗ failed"
		} else {
			text += ": failed after " + short(c.Took())
		}
		b.WriteString(t.Bad.Paint(text))
	default:
		b.WriteString(t.Faint.Paint(string(c.Outcome)))
	}
	return b.String()
}

// lastChange is the newest change of the project, one under way before any that
// is done.
func (m *Model) lastChange() (*session.Service, *session.Change) {
	var of *session.Service
	var last *session.Change
	for i := range m.state.Services {
		svc := &m.state.Services[i]
		c := svc.Change
		if c == nil {
			continue
		}
		if last == nil || c.Outcome == "" && last.Outcome != "" || (c.Outcome == "") == (last.Outcome == "") && c.Saved.After(last.Saved) {
			of, last = svc, c
		}
	}
	return of, last
}

// served are the times of a service's changes that came to run, oldest first.
func served(svc *session.Service) []time.Duration {
	var out []time.Duration
	for i := range svc.History {
		if c := &svc.History[i]; c.Outcome == session.Served {
			out = append(out, c.Took())
		}
	}
	return out
}
