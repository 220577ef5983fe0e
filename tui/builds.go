package tui

import (
	"fmt"
	"time"

	"github.com/kdev-io/kdev/internal/session"
)

// outputRows is what is left for the output below the steps, at least.
const outputRows = 3

// buildHead is what stands above the output in the build tab: the newest build of the
// selected service, and its steps. It never takes all of the height.
func (m *Model) buildHead(height int) []string {
	svc := m.service()
	if m.tab != buildTab || svc == nil || svc.Build == nil {
		return nil
	}
	b := svc.Build
	room := height - outputRows
	if len(b.Lines) > 0 {
		room = min(room, height/2)
	}
	out := m.buildResult(svc)
	steps, earlier := m.stepRows(b), b.Earlier
	left := max(0, room-len(out))
	if len(steps) > left || earlier > 0 {
		cut := max(0, min(len(steps), len(steps)-left+1)) // the row that says so takes one too
		steps, earlier = steps[cut:], earlier+cut
		steps = append([]string{m.theme.Faint.Paint(fmt.Sprintf("    … %d steps before these", earlier))}, steps...)
	}
	out = append(out, steps...)
	return out[:max(0, min(len(out), room))]
}

// buildResult says what was built and why, and what came of it.
func (m *Model) buildResult(svc *session.Service) []string {
	t, b := m.theme, svc.Build
	word, took := t.Good.Paint("● "+string(b.Phase)), short(time.Duration(b.Took))
	switch b.Phase {
	case session.BuildRunning:
		word, took = t.Busy.Paint("◐ "+string(b.Phase)), short(m.now.Sub(b.Started).Round(100*time.Millisecond))
	case session.BuildFailed:
		word = t.Bad.Paint("✗ " + string(b.Phase))
		took += ", 5 says why"
	case session.BuildCancelled:
		word = t.Busy.Paint("‖ " + string(b.Phase))
	case session.BuildDone:
		if b.Cached {
			took += ", found in the store"
		}
	}
	var out []string
	line := func(label, text string) {
		if text != "" {
			out = append(out, hang("  "+t.Faint.Paint(fit(label, 8)), text, m.width)...)
		}
	}
	line("build", fmt.Sprintf("#%d %s, %s", b.Number, word, took))
	line("why", oneLine(b.Why))
	if b.Phase == session.BuildDone {
		line("image", safe(svc.Image))
		line("how", safe(b.Rung))
	}
	return out
}

// stepRows is one row for each step, the one under way last.
func (m *Model) stepRows(b *session.Build) []string {
	t := m.theme
	var out []string
	row := func(glyph, name, said string) {
		name = fit(oneLine(name), max(8, min(72, m.width-26)))
		out = append(out, "  "+glyph+" "+name+" "+said)
	}
	for i := range b.Steps {
		s := &b.Steps[i]
		said := t.Faint.Paint("cached")
		if !s.Cached {
			said = short(time.Duration(s.Took))
			if s.Bytes > 0 {
				said += t.Faint.Paint("  " + volume(s.Bytes))
			}
		}
		row(t.Good.Paint("✓"), s.Name, said)
	}
	if b.Phase == session.BuildRunning && b.Step != "" && (len(b.Steps) == 0 || b.Steps[len(b.Steps)-1].Name != b.Step) {
		row(t.Busy.Paint("▸"), b.Step, t.Busy.Paint("under way"))
	}
	return out
}

// noOutput says why no output is below the steps.
func (m *Model) noOutput() string {
	svc := m.service()
	switch {
	case svc == nil:
		return noService
	case svc.Build == nil && svc.Kind != session.Built:
		return "kdev does not make the image of " + svc.Name
	case svc.Build == nil:
		return "nothing was built for " + svc.Name + " in this session"
	case svc.Build.Phase == session.BuildRunning:
		return "nothing was printed so far"
	}
	return "no command of it ran, or none printed anything"
}
