package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/session"
)

// podRow is a pod under its service: how far its start is and where the time
// went.
func (m *Model) podRow(c columns, svc *session.Service, name string) string {
	for i := range svc.Pods {
		p := &svc.Pods[i]
		if p.Name != name {
			continue
		}
		t := m.theme
		glyph, style := "◐", t.Busy
		switch {
		case p.Ready:
			glyph, style = "●", t.Good
		case troubledPod(p):
			glyph, style = "✗", t.Bad
		}
		age := "new"
		if p.Old {
			age, style = "old", t.Faint
		}
		lead := fit("  "+shortPod(p.Name, svc.Name), c.name) + " " + fit(style.Paint(glyph+" "+p.Status), 19) + " " + t.Faint.Paint(age) + " "
		tail := ""
		if p.Restarts > 0 {
			tail = t.Busy.Paint(fmt.Sprintf(" ↻%d", p.Restarts))
		}
		return lead + m.stageBar(p, m.width-2-ansi.StringWidth(lead)-ansi.StringWidth(tail)) + tail
	}
	return ""
}

// troubledPod says whether a pod's word names a failure.
func troubledPod(p *session.Pod) bool {
	for _, bad := range []string{"Err", "BackOff", "Error", "OOM", "Failed", "Evicted", "Invalid"} {
		if strings.Contains(p.Status, bad) {
			return true
		}
	}
	return false
}

// shortPod is what tells a pod from its siblings.
func shortPod(pod, service string) string {
	rest := strings.TrimPrefix(pod, service+"-")
	if i := strings.LastIndexByte(rest, '-'); i >= 0 && len(rest)-i > 3 {
		return "…" + rest[i+1:]
	}
	return rest
}

// stageBar is the start of a pod, stage by stage, with seconds each: in words
// where there is room, else in letters.
func (m *Model) stageBar(p *session.Pod, width int) string {
	if p.Status == "Terminating" {
		return m.theme.Faint.Paint("going")
	}
	for _, form := range []func(string) string{func(n string) string { return n }, func(n string) string { return n[:min(4, len(n))] }, func(n string) string { return n[:1] }} {
		plain := m.stages(p, form, false)
		if w := len([]rune(plain)); w <= width {
			return m.stages(p, form, true)
		}
	}
	return ""
}

func (m *Model) stages(p *session.Pod, form func(string) string, painted bool) string {
	t := m.theme
	parts := make([]string, 0, len(p.Stages))
	waiting := false
	since := p.Created // when the stage before was done
	for _, s := range p.Stages {
		text, style := form(s.Name), t.Faint
		switch {
		case s.Done:
			text = "✓" + text
			if s.Took >= 0 {
				text += " " + seconds(time.Duration(s.Took))
			}
			style = t.Good
			since = s.At
		case !waiting:
			waiting = true
			took := time.Duration(s.Took)
			if !since.IsZero() {
				took = m.now.Sub(since)
			}
			text = "▸" + text + " " + seconds(took)
			style = t.Busy
		default:
			text = "·" + text
		}
		if painted {
			text = style.Paint(text)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

func seconds(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f", d.Seconds())
	}
	return fmt.Sprintf("%.0f", d.Seconds())
}
