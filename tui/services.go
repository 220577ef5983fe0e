package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/tui/theme"
)

// A row of the services pane is a service, or one of its pods, or the head of a
// group.
type row struct {
	service string
	pod     string // empty: the service itself
	group   string // the head of one; it cannot be selected
}

// rows are all rows of the services pane, those off the screen too.
func (m *Model) rows() []row {
	var out []row
	group := ""
	for i := range m.state.Services {
		svc := &m.state.Services[i]
		if !m.lists(svc) {
			continue
		}
		if g := groupOf(svc); g != group {
			group = g
			out = append(out, row{group: g})
		}
		out = append(out, row{service: svc.Name})
		if m.open(svc) {
			for _, p := range svc.Pods {
				out = append(out, row{service: svc.Name, pod: p.Name})
			}
		}
	}
	return out
}

// groupOf is the head that a service stands under; the project's own services
// stand under none.
func groupOf(svc *session.Service) string {
	switch {
	case svc.Project != "":
		return svc.Project + ", included"
	case svc.Kind == session.Process:
		return "on this machine"
	case svc.Kind == session.Workload:
		return "from the manifests"
	}
	return ""
}

// lists says whether the filter lets a service through.
func (m *Model) lists(svc *session.Service) bool {
	// The selected one stays until another is: the next key must not act on its neighbour.
	if m.unready && svc.Phase == session.Ready && svc.Name != m.selected {
		return false
	}
	return m.words == "" || strings.Contains(strings.ToLower(svc.Name), strings.ToLower(m.words))
}

// toggleReady leaves out what is ready, or lists it again.
func (m *Model) toggleReady() {
	m.unready = !m.unready
	if svc := m.service(); m.unready && svc != nil && svc.Phase == session.Ready {
		m.selected = "" // not there any more: the first one that is
	}
}

// open says whether a service's pods are shown: as a person chose, else while
// there is something to see in them.
func (m *Model) open(svc *session.Service) bool {
	if chosen, ok := m.folded[svc.Name]; ok {
		return chosen
	}
	return svc.Phase == session.Progressing || svc.Phase == session.FailedPhase && len(svc.Pods) > 0 || svc.Old > 0
}

func (m *Model) fold() {
	if svc := m.service(); svc != nil {
		m.folded[svc.Name] = !m.open(svc)
		m.pod = ""
	}
}

// settleSelection keeps the selection on something that is there.
func (m *Model) settleSelection() {
	rows := m.rows()
	if i := m.selectedRow(rows); i >= 0 {
		return
	}
	m.pod = "" // the pod is gone: its service
	if m.selectedRow(rows) >= 0 {
		return
	}
	for _, r := range rows {
		if r.group == "" {
			m.selected = r.service
			return
		}
	}
}

func (m *Model) selectedRow(rows []row) int {
	return slices.IndexFunc(rows, func(r row) bool { return r.group == "" && r.service == m.selected && r.pod == m.pod })
}

// settleRows scrolls so that the selected row is on the screen.
func (m *Model) settleRows(height int) {
	rows := m.rows()
	height = max(1, height-1) // the title
	at := max(0, m.selectedRow(rows))
	if at > 0 && rows[at-1].group != "" && at-1 < m.firstRow {
		at--
	}
	m.firstRow = min(m.firstRow, at)
	m.firstRow = max(m.firstRow, m.selectedRow(rows)-height+1)
	m.firstRow = max(0, min(m.firstRow, len(rows)-height))
	m.rowsShown = rows[m.firstRow:min(len(rows), m.firstRow+height)]
}

// pick moves the selection by rows.
func (m *Model) pick(n int) {
	rows := m.rows()
	at := m.selectedRow(rows)
	step := 1
	if n < 0 {
		step = -1
	}
	for left := n * step; left > 0; left-- {
		next := at + step
		for next >= 0 && next < len(rows) && rows[next].group != "" {
			next += step
		}
		if next < 0 || next >= len(rows) {
			break
		}
		at = next
	}
	if at >= 0 && at < len(rows) {
		m.selectRow(rows[at])
	}
}

func (m *Model) selectRow(r row) {
	if r.service != m.selected {
		m.solo, m.scroll = "", 0
	}
	m.selected, m.pod = r.service, r.pod
}

// columns are the widths of the services pane; a zero leaves one out.
type columns struct{ name, state, pods, image, change, restarts, usage, rest int }

func (m *Model) columns() columns {
	c := columns{name: 8, state: 13, pods: 12, change: 9, restarts: 4}
	for i := range m.state.Services {
		c.name = max(c.name, ansi.StringWidth(m.state.Services[i].Name))
	}
	c.name = min(c.name, 24, max(8, m.width/4))
	if m.width >= 100 {
		c.image = 13
	}
	if m.width >= 90 && m.measured() {
		c.usage = 13
	}
	if m.width < 60 {
		c.restarts, c.change = 0, 0
	}
	c.rest = m.width - 2
	for _, w := range []int{c.name, c.state, c.pods, c.image, c.change, c.restarts, c.usage} {
		if w > 0 {
			c.rest -= w + 1
		}
	}
	c.rest = max(0, c.rest)
	return c
}

// measured says whether the cluster tells what containers take.
func (m *Model) measured() bool {
	for i := range m.state.Services {
		for j := range m.state.Services[i].Pods {
			for _, c := range m.state.Services[i].Pods[j].Containers {
				if c.Memory > 0 {
					return true
				}
			}
		}
	}
	return false
}

// line puts cells side by side.
func (c columns) line(name, state, pods, image, change, restarts, usage, rest string) string {
	var b strings.Builder
	for _, cell := range []struct {
		text  string
		width int
	}{{name, c.name}, {state, c.state}, {pods, c.pods}, {image, c.image}, {change, c.change}, {restarts, c.restarts}, {usage, c.usage}, {rest, c.rest}} {
		if cell.width > 0 {
			b.WriteString(fit(cell.text, cell.width) + " ")
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// drawServices is the services pane: its title and as many rows as fit.
func (m *Model) drawServices(height int) []string {
	if height == 0 {
		return nil
	}
	c := m.columns()
	title := "  " + c.line("SERVICE", "STATE", "PODS", "IMAGE", "CHANGE", "↻", "  CPU   MEM", m.filterTitle())
	out := []string{m.paneTitle(servicesPane, title)}
	for _, r := range m.rowsShown {
		out = append(out, m.drawRow(c, r))
	}
	if len(m.rowsShown) == 0 {
		out = append(out, "  "+m.theme.Faint.Paint(m.noRows()))
	}
	for len(out) < height {
		out = append(out, "")
	}
	return out[:height]
}

// noRows says why no service is listed.
func (m *Model) noRows() string {
	switch {
	case len(m.state.Services) == 0:
		return "no services yet"
	case m.words != "":
		return "no service that is listed has " + m.words + " in its name: Esc takes that back"
	}
	return "everything is ready: u lists all services again"
}

func (m *Model) filterTitle() string {
	var parts []string
	if m.words != "" {
		parts = append(parts, "filter: "+m.words)
	}
	if m.unready {
		parts = append(parts, "not ready")
	}
	if len(parts) == 0 {
		return "URL, OR WHAT IT WAITS FOR"
	}
	return strings.Join(parts, ", ") + " (Esc takes it back)"
}

// paneTitle is a pane's first row, which shows where the keys go.
func (m *Model) paneTitle(p pane, text string) string {
	if m.focus == p {
		return m.theme.Title.Paint(text)
	}
	return m.theme.Faint.Paint(text)
}

func (m *Model) drawRow(c columns, r row) string {
	if r.group != "" {
		return m.theme.Faint.Paint("  ── " + r.group)
	}
	svc, ok := m.state.Service(r.service)
	if !ok {
		return ""
	}
	chosen := r.service == m.selected && r.pod == m.pod
	lead := "  "
	if chosen {
		lead = "› "
	}
	var text string
	if r.pod == "" {
		text = m.serviceRow(c, svc)
	} else {
		text = m.podRow(c, svc, r.pod)
	}
	if chosen && m.focus != servicesPane {
		lead = m.theme.Title.Paint(lead)
	} else if chosen && m.theme.Selected != "" {
		plain := ansi.Strip(lead + text)
		return m.theme.Selected.Paint(fit(plain, m.width))
	}
	return lead + text
}

func (m *Model) serviceRow(c columns, svc *session.Service) string {
	t := m.theme
	fold := ""
	if len(svc.Pods) > 0 && !m.open(svc) && len(svc.Pods) != svc.Desired {
		fold = fmt.Sprintf(" (%d)", len(svc.Pods))
	}
	pods := counts(svc) + fold
	if svc.Kind == session.Process {
		pods = "–"
	}
	change := "–"
	if took := svc.Took(); took > 0 {
		change = short(took)
	}
	restarts := ""
	if svc.Restarts > 0 {
		restarts = fmt.Sprint(svc.Restarts)
		restarts = t.Busy.Paint(restarts)
	}
	image := svc.Digest()
	if standsIn(svc) {
		image = "runs here"
	}
	if len(image) > 12 {
		image = image[:12]
	}
	return c.line(svc.Name, m.phase(svc.Phase), pods, t.Faint.Paint(image), change, restarts, m.usage(svc), m.remark(svc))
}

// counts is ready replicas of those wanted, and old pods that still serve.
func counts(svc *session.Service) string {
	text := fmt.Sprintf("%d/%d", svc.Current, svc.Desired)
	if svc.Old > 0 {
		text += fmt.Sprintf(" +%d old", svc.Old)
	}
	return text
}

// standsIn says whether a program on this machine stands in for the service's own.
func standsIn(svc *session.Service) bool {
	return svc.Local != nil && svc.Local.Role == session.InPlace
}

// remark is the last column: why it is not ready, else where it is found.
func (m *Model) remark(svc *session.Service) string {
	t := m.theme
	switch {
	case svc.Problem != nil && svc.Phase != session.Building: // else it may be over soon
		return t.Bad.Paint(oneLine(svc.Problem.Summary))
	case svc.Paused && len(svc.Held) > 0:
		return t.Busy.Paint(fmt.Sprintf("%d saved, held", len(svc.Held)))
	case svc.Waiting != nil && svc.Phase != session.Ready:
		text := oneLine(svc.Waiting.Text)
		if svc.Build != nil && svc.Build.Phase == session.BuildRunning {
			text = oneLine(svc.Build.Why) + " · " + short(m.now.Sub(svc.Build.Started).Round(100*time.Millisecond))
			if svc.Build.Step != "" {
				text += " · " + oneLine(svc.Build.Step)
			}
		}
		return t.Busy.Paint(text)
	case len(svc.URLs) > 0:
		return here(svc) + svc.URLs[0]
	case len(svc.Ports) > 0:
		return here(svc) + svc.Ports[0].URL
	}
	return here(svc)
}

// here begins the last column of a service whose program runs on this machine: on a
// narrow screen no other column says so.
func here(svc *session.Service) string {
	if standsIn(svc) {
		return "runs here "
	}
	return ""
}

// phase is the state word with its glyph.
func (m *Model) phase(p session.Phase) string {
	glyph, style := phaseLook(m.theme, p)
	return style.Paint(glyph + " " + string(p))
}

func phaseLook(t theme.Theme, p session.Phase) (glyph string, style theme.Style) {
	switch p {
	case session.Ready:
		return "●", t.Good
	case session.FailedPhase:
		return "✗", t.Bad
	case session.Paused:
		return "‖", t.Busy
	case session.Sleeping, session.Stopped:
		return "◌", t.Faint
	case session.Pending:
		return "○", t.Faint
	}
	return "◐", t.Busy
}

// move goes through whatever has the focus.
func (m *Model) move(n int) {
	switch {
	case m.focus == servicesPane:
		m.pick(n)
	case m.lines():
		m.logs.Scroll(m.worker.shown.List(), n)
	default:
		m.scroll = max(0, m.scroll+n)
	}
}

func (m *Model) first() {
	switch {
	case m.focus == servicesPane:
		m.pick(-len(m.rows()))
	case m.lines():
		m.logs.Home(m.worker.shown.List())
	default:
		m.scroll = 0
	}
}

func (m *Model) last() {
	switch {
	case m.focus == servicesPane:
		m.pick(len(m.rows()))
	case m.lines():
		m.logs.Follow()
	default:
		m.scroll = 1 << 20 // drawing stops it at the end
	}
}

// clear takes back what narrows the pane that has the focus.
func (m *Model) clear() {
	if m.focus == servicesPane {
		m.words, m.unready = "", false
		return
	}
	m.setSearch("", m.regexp)
	m.only, m.solo = false, ""
	m.logs.SetCursor(m.worker.shown.List(), 0)
}

func (m *Model) askWords() {
	before := m.words
	m.overlay = &prompt{label: "services with", input: input{text: []rune(m.words)},
		change: func(m *Model, text string) { m.words = text },
		cancel: func(m *Model) { m.words = before },
		accept: func(m *Model, text string) tea.Cmd { m.words = text; return nil }}
}
