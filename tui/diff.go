package tui

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/session"
)

// diffView is the tab that shows what an apply would change.
type diffView struct {
	text   string
	failed bool
	busy   bool
	asked  bool
}

// diffMsg is what came of asking.
type diffMsg struct {
	text   string
	failed bool
}

// askDiff has the session compare the manifests with the cluster.
func (m *Model) askDiff() tea.Cmd {
	control := m.opts.Control
	if control == nil || m.diff.busy {
		return nil
	}
	m.diff = diffView{busy: true, asked: true}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		text, err := control.Do(ctx, session.Command{Verb: session.DoDiff})
		if err != nil {
			return diffMsg{err.Error(), true}
		}
		return diffMsg{text, false}
	}
}

func (d *diffView) take(msg diffMsg) { d.text, d.failed, d.busy = msg.text, msg.failed, false }

func (d *diffView) rows(m *Model) []string {
	t := m.theme
	switch {
	case m.opts.Control == nil:
		return []string{t.Faint.Paint("  not to be had here")}
	case d.busy:
		return []string{t.Busy.Paint("  ◐ comparing with the cluster")}
	case !d.asked:
		return []string{t.Faint.Paint("  6 compares the manifests with the cluster")}
	case d.failed:
		return []string{t.Bad.Paint("  ✗ " + oneLine(d.text))}
	case strings.TrimSpace(d.text) == "":
		return []string{t.Good.Paint("  ● ") + "an apply would change nothing"}
	}
	out := []string{t.Faint.Paint("  AN APPLY WOULD CHANGE"), ""}
	for line := range strings.SplitSeq(strings.TrimRight(d.text, "\n"), "\n") {
		out = append(out, "  "+d.paint(m, safe(line)))
	}
	return out
}

// paint colours a line by the mark that it begins with.
func (d *diffView) paint(m *Model, line string) string {
	bare := strings.TrimLeft(line, " ")
	switch {
	case strings.HasPrefix(bare, "+"):
		return m.theme.Good.Paint(line)
	case strings.HasPrefix(bare, "-"):
		return m.theme.Bad.Paint(line)
	case strings.HasPrefix(bare, "~"), strings.HasPrefix(bare, "±"):
		return m.theme.Key.Paint(line)
	}
	return line
}
