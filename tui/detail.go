package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/logs/level"
)

func (m *Model) setTab(t tab) tea.Cmd {
	if m.tab != t {
		m.tab, m.scroll = t, 0
		m.logs.SetCursor(m.worker.shown.List(), 0)
		m.logs.Follow()
	}
	if t == diffTab {
		return m.askDiff()
	}
	return nil
}

// drawDetail is the lower pane: its tabs, then what the chosen one shows.
func (m *Model) drawDetail(height int) []string {
	if height <= 0 {
		return nil
	}
	if m.lines() {
		list := m.worker.shown.List()
		rows := m.logs.Rows(list) // before the title, which says how many are below
		if list.Len() == 0 && !m.worker.shown.Behind() {
			rows[0] = "  " + m.theme.Faint.Paint(m.noLines())
		}
		return slices.Concat([]string{m.tabs()}, m.head, rows)[:height]
	}
	out := []string{m.tabs()}
	var body []string
	for _, row := range m.body() {
		body = append(body, wrapRow(row, m.width)...)
	}
	m.scroll = max(0, min(m.scroll, len(body)-height+1))
	out = append(out, body[m.scroll:]...)
	for len(out) < height {
		out = append(out, "")
	}
	return out[:height]
}

// noLines says why a pane of lines is empty.
func (m *Model) noLines() string {
	switch {
	case m.only:
		return "no line matches " + m.search
	case m.level != level.Unknown:
		return "no line is of level " + m.level.String() + " or above: l"
	case m.tab == buildTab:
		return m.noOutput()
	}
	return "no lines yet"
}

// tabs is the title of the lower pane.
func (m *Model) tabs() string {
	t := m.theme
	left := strings.Join(m.tabMarks(true), "  ")
	right := m.selected
	if m.lines() {
		right = m.logTitle()
	}
	room := func() int { return m.width - ansi.StringWidth(left) - ansi.StringWidth(right) - 3 }
	if room() < 1 {
		left = strings.Join(m.tabMarks(false), " ")
	}
	if room() < 1 { // what tells of a failure goes last
		right = fit(right, max(1, ansi.StringWidth(right)+room()-1))
	}
	gap := max(1, room())
	return left + " " + t.Frame.Paint(strings.Repeat("─", gap)) + " " + right
}

// tabMarks are the tabs; without words, those that are not shown are numbers, but for the
// one that tells of a failure.
func (m *Model) tabMarks(words bool) []string {
	t := m.theme
	var parts []string
	for i, name := range tabNames {
		alarm := tab(i) == problemTab && m.troubled()
		text := fmt.Sprint(i + 1)
		if words || tab(i) == m.tab || alarm {
			text += " " + name
		}
		if alarm {
			text += "!"
		}
		switch {
		case tab(i) == m.tab && m.focus == detailPane:
			text = t.Title.Paint("[" + text + "]")
		case tab(i) == m.tab:
			text = "[" + text + "]"
		case alarm:
			text = t.Bad.Paint(text)
		default:
			text = t.Faint.Paint(text)
		}
		parts = append(parts, text)
	}
	return parts
}

// body is what a tab that shows no lines of the store has to say.
func (m *Model) body() []string {
	svc := m.service()
	switch m.tab {
	case problemTab:
		return m.problemBody(svc)
	case diffTab:
		return m.diff.rows(m)
	}
	if svc == nil {
		return []string{m.theme.Faint.Paint("  no service is selected")}
	}
	if m.tab == syncTab {
		return m.syncBody(svc)
	}
	return m.rolloutBody(svc)
}

func (m *Model) rolloutBody(svc *session.Service) []string {
	t := m.theme
	var out []string
	line := func(label, text string) {
		if text != "" {
			out = append(out, hang("  "+t.Faint.Paint(fit(label, 12)), text, m.width)...)
		}
	}
	line("state", m.phase(svc.Phase))
	if svc.Waiting != nil {
		line("waits for", t.Busy.Paint(safe(svc.Waiting.Text)))
	}
	line("image", safe(svc.Image))
	if b := svc.Build; b != nil {
		text := fmt.Sprintf("#%d %s, %s", b.Number, b.Phase, safe(b.Why))
		if b.Took > 0 {
			text += ", " + short(time.Duration(b.Took))
		}
		line("build", text)
		line("", safe(b.Rung))
	}
	if len(svc.Ahead) > 0 {
		line("ahead", safe(strings.Join(svc.Ahead, ", ")))
	}
	if svc.Scaled != nil {
		line("scaled", fmt.Sprintf("%d replicas, by hand in this session", *svc.Scaled))
	}
	for i := range svc.URLs {
		line(map[bool]string{true: "found at"}[i == 0], svc.URLs[i])
	}
	for _, p := range svc.Ports {
		line("port", fmt.Sprintf("%s:%d → %d", p.Host, p.Local, p.Remote))
	}
	if svc.Local != nil {
		line("runs here", safe(svc.Local.Command))
		line("", processBody(svc.Local))
	}
	for _, w := range svc.Workloads {
		out = append(out, "", "  "+t.Title.Paint(w.Kind+"/"+w.Name)+fmt.Sprintf("  %d/%d ready, %d of the new template, %d old", w.Current, w.Desired, w.Updated, w.Old))
		if w.Waiting != "" {
			out = append(out, "  "+t.Busy.Paint("waits for "+safe(w.Waiting)))
		}
	}
	for i := range svc.Pods {
		out = append(out, m.podBody(svc, &svc.Pods[i])...)
	}
	return append(out, m.eventRows(svc)...)
}

// eventRows are what the cluster has said, the newest first.
func (m *Model) eventRows(svc *session.Service) []string {
	if len(svc.Events) == 0 {
		return nil
	}
	t := m.theme
	out := []string{"", t.Faint.Paint("  EVENTS, THE NEWEST FIRST")}
	for i := len(svc.Events) - 1; i >= 0; i-- {
		e := &svc.Events[i]
		word := safe(e.Reason)
		if e.Warning {
			word = "! " + word
		}
		if e.Times > 1 {
			word += fmt.Sprintf(" ×%d", e.Times)
		}
		word = fit(word, 22)
		if e.Warning {
			word = t.Busy.Paint(word)
		}
		kind, name, _ := strings.Cut(e.Object, "/")
		if kind == "Pod" {
			name = shortPod(name, svc.Name)
		} else {
			name = kind
		}
		out = append(out, hang("  "+t.Faint.Paint(e.Time.Local().Format("15:04:05 "))+word+" "+fit(safe(name), 12)+" ", oneLine(e.Text), m.width)...)
	}
	return out
}

// podBody is a pod with its stages and its containers.
func (m *Model) podBody(svc *session.Service, p *session.Pod) []string {
	t := m.theme
	word := p.Status
	switch {
	case p.Ready:
		word = t.Good.Paint("● " + word)
	case troubledPod(p):
		word = t.Bad.Paint("✗ " + word)
	default:
		word = t.Busy.Paint("◐ " + word)
	}
	head := "  " + p.Name + "  " + word
	if p.Old {
		head += t.Faint.Paint("  old")
	}
	head += t.Faint.Paint(fmt.Sprintf("  %s  %s  age %s", p.Node, p.IP, short(time.Duration(p.Age))))
	out := []string{head, "    " + m.stages(p, func(n string) string { return n }, true) + t.Faint.Paint(" s")}
	for _, c := range p.Containers {
		text := fmt.Sprintf("    %s  %s", fit(c.Name, 16), c.State)
		if c.Init {
			text += " (init)"
		}
		if c.Reason != "" {
			text += " " + t.Bad.Paint(safe(c.Reason))
		}
		if c.Exit != nil {
			text += fmt.Sprintf(", exit %d", *c.Exit)
		}
		if c.Restarts > 0 {
			text += t.Busy.Paint(fmt.Sprintf(", %d restarts", c.Restarts))
		}
		if usage := m.against(&c); usage != "" {
			text += ", " + usage
		}
		out = append(out, text+t.Faint.Paint("  "+safe(c.Image)))
	}
	return out
}

func (m *Model) syncBody(svc *session.Service) []string {
	t := m.theme
	if len(svc.Sync) == 0 && svc.Kind == session.Process {
		return []string{t.Faint.Paint("  " + svc.Name + " runs on this machine, where its files are")}
	}
	if len(svc.Sync) == 0 {
		return []string{t.Faint.Paint("  nothing is synced into " + svc.Name + ": a change of it is a new image, or it is not built here")}
	}
	column := max(14, min(34, m.width-66))
	out := []string{t.Faint.Paint("  " + fit("CONTAINER", column) + fit("GENERATION", 13) + fit("LAG", 10) + fit("LAST", 18) + "SINCE THE START")}
	for i := range svc.Sync {
		s := &svc.Sync[i]
		name := fit(shortPod(s.Pod, svc.Name)+"/"+s.Container, column)
		gen := fmt.Sprint(s.Generation)
		switch {
		case !s.Connected:
			gen = t.Busy.Paint("no agent")
		case s.Wanted > s.Generation:
			gen = t.Busy.Paint(fmt.Sprintf("%d of %d", s.Generation, s.Wanted))
		}
		out = append(out, "  "+name+fit(gen, 13)+fit(short(time.Duration(s.Lag)), 10)+
			fit(fmt.Sprintf("%d files, %s", s.Files, volume(s.Bytes)), 18)+fmt.Sprintf("%d files, %s", s.AllFiles, volume(s.AllBytes)))
		if s.Held {
			out = append(out, t.Bad.Paint("    its process failed after a restart; it is kept for the next change"))
		}
		if s.Problem != nil {
			out = append(out, t.Bad.Paint("    ✗ "+oneLine(s.Problem.Error())))
		}
		for _, path := range s.Paths {
			out = append(out, "    "+safe(path))
		}
	}
	if len(svc.Held) > 0 {
		out = append(out, "", t.Busy.Paint("  saved and held: ")+safe(strings.Join(svc.Held, ", ")))
	}
	if len(svc.History) > 0 {
		out = append(out, "", t.Faint.Paint("  CHANGES, THE NEWEST FIRST"))
		for i := len(svc.History) - 1; i >= 0; i-- {
			out = append(out, "  "+m.changeRow(&svc.History[i]))
		}
	}
	return out
}

func (m *Model) changeRow(c *session.Change) string {
	t := m.theme
	what := string(c.Action)
	if len(c.Paths) > 0 {
		what += " " + safe(c.Paths[0])
		if n := len(c.Paths) - 1 + c.More; n > 0 {
			what += fmt.Sprintf(" +%d", n)
		}
	}
	var legs []string
	for _, l := range c.Legs() {
		legs = append(legs, l.Name+" "+short(l.Took))
	}
	style := t.Faint
	if c.Outcome == session.Failed {
		style = t.Bad
	}
	return t.Faint.Paint(c.Saved.Local().Format("15:04:05 ")) + fit(what, 36) + " " + style.Paint(fit(string(c.Outcome), 11)) + short(c.Took()) + t.Faint.Paint("  "+strings.Join(legs, " → "))
}

func (m *Model) problemBody(svc *session.Service) []string {
	var out []string
	for _, p := range m.state.Troubles() {
		out = append(out, m.problemRows(p)...)
		out = append(out, "")
	}
	switch {
	case svc == nil:
	case svc.Problem != nil:
		out = append(out, m.problemRows(svc.Problem)...)
	case svc.Waiting != nil && svc.Phase != session.Ready:
		out = append(out, m.theme.Busy.Paint("  "+svc.Name+" waits for "+safe(svc.Waiting.Text)))
	}
	if svc != nil && svc.Explanation != "" {
		said := saidBefore(svc)
		rows := []string{}
		for line := range strings.SplitSeq(strings.TrimRight(svc.Explanation, "\n"), "\n") {
			if !said[strings.TrimSpace(line)] {
				rows = append(rows, "  "+safe(line))
			}
		}
		if len(out) > 0 && len(rows) > 0 {
			out = append(out, "")
		}
		out = append(out, rows...)
	}
	if len(out) == 0 {
		return []string{m.theme.Good.Paint("  ● ") + "nothing is wrong with " + m.selected}
	}
	return out
}

// problemRows spells a problem out: where and what, the end of the output, what
// to do.
func (m *Model) problemRows(p *problem.Problem) []string {
	t := m.theme
	var out []string
	for i, r := range wrapText(safe(p.Error()), m.width-4) {
		lead := "    "
		if i == 0 {
			lead = "  ✗ "
		}
		out = append(out, t.Bad.Paint(lead+r))
	}
	if text := strings.TrimRight(p.Output, "\n"); text != "" {
		for line := range strings.SplitSeq(text, "\n") {
			out = append(out, "    │ "+safe(line))
		}
	}
	if p.Hint != "" {
		for i, r := range wrapText("hint: "+safe(p.Hint), m.width-6) {
			out = append(out, strings.Repeat(" ", 4+2*min(i, 1))+r)
		}
	}
	return append(out, t.Faint.Paint("    code "+p.Code+", "+problem.Page(p.Code)))
}

// saidBefore are the lines of a service's explanation that its problem, or what it waits
// for, has said already.
func saidBefore(svc *session.Service) map[string]bool {
	said := map[string]bool{}
	if p := svc.Problem; p != nil {
		said[p.Error()+" ["+p.Code+"]"] = true
		for line := range strings.SplitSeq(p.Output, "\n") {
			said[strings.TrimSpace("│ "+line)] = true
		}
		said["→ "+p.Hint] = true
	} else if svc.Waiting != nil {
		said["waits for "+svc.Waiting.Text] = true
	}
	return said
}

// wrapText breaks a text between words.
func wrapText(s string, width int) []string {
	return strings.Split(ansi.Wrap(s, max(8, width), ""), "\n")
}

// processBody is how a process on this machine is.
func processBody(w *session.LocalWork) string {
	parts := []string{fmt.Sprintf("run %d", w.Runs)}
	if w.PID != 0 {
		parts = append(parts, fmt.Sprintf("pid %d", w.PID))
	}
	if w.Exit != nil {
		parts = append(parts, fmt.Sprintf("last exit code %d", *w.Exit))
	}
	return strings.Join(parts, ", ")
}
