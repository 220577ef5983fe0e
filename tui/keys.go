package tui

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
)

// A scope says where a key works.
type scope int

const (
	everywhere scope = iota
	inServices       // and the tabs that show no lines
	inLogs           // the tabs that show lines
	palette          // no key: by name only
)

var scopeNames = map[scope]string{everywhere: "Everywhere", inServices: "Services, and tabs 3 to 6 for the selected one", inLogs: "Logs and build", palette: "By name"}

// A binding is something that a person can do: by its keys, by its name in the
// palette, or both. The help, the palette and the hints come from this table.
type binding struct {
	name string // in the palette: "restart"
	keys []string
	in   scope
	help string // what it does, as a phrase
	hint int    // rank in the footer, from 1; 0 is not there. From fixedHint on it is there always
	when func(*Model) bool
	// needs is what a person hears where it is not possible, after the service's name.
	needs string
	// hintWhen says when the hint is of use; nil: whenever the key is.
	hintWhen func(*Model) bool
	run      func(*Model) tea.Cmd
}

func (b *binding) possible(m *Model) bool { return b.when == nil || b.when(m) }

// bindings is all that a person can do.
func bindings() []binding {
	all := append(moving(), reading()...)
	all = append(all, acting()...)
	return append(all, arranging()...)
}

// binding finds what a key does here and now; nil is nothing. A pane's own meaning of a
// key comes before the general one.
func (m *Model) binding(key string) *binding {
	var general *binding
	all := m.keys()
	for i := range all {
		b := &all[i]
		for _, k := range b.keys {
			if k != key {
				continue
			}
			switch {
			case !b.possible(m): // its key may mean something else
			case b.in == everywhere:
				general = b
			case m.here(b.in):
				return b
			}
		}
	}
	return general
}

// lacks says why a key does nothing here and now: what it lacks, or where it works.
func (m *Model) lacks(key string) string {
	all := m.keys()
	elsewhere := ""
	for i := range all {
		b := &all[i]
		switch {
		case !slices.Contains(b.keys, key):
		case m.here(b.in) && b.needs != "":
			return b.name + ": " + b.needs
		case m.here(b.in):
			return b.name + ": not to be had here"
		case elsewhere == "" && b.in == inLogs:
			elsewhere = b.name + ": works in the logs and build tabs: 1 or 2"
		case elsewhere == "" && b.in == inServices:
			elsewhere = b.name + ": works in the list of services: Tab"
		}
	}
	if elsewhere != "" {
		return elsewhere
	}
	return keyNames([]string{key}) + " does nothing; ? shows the keys"
}

// keys is the table, made once for a Model.
func (m *Model) keys() []binding {
	if m.table == nil {
		m.table = bindings()
	}
	return m.table
}

func (m *Model) here(s scope) bool {
	switch s {
	case inServices:
		return m.focus == servicesPane || !m.lines()
	case inLogs:
		return m.focus == detailPane && m.lines()
	}
	return s == everywhere
}

// lines says whether the lower pane shows lines of the store.
func (m *Model) lines() bool { return m.tab == logsTab || m.tab == buildTab }

// fixedHint is the first rank of what the footer always holds: where the other keys are,
// and how to leave.
const fixedHint = 6

// hints is the footer: six keys at most. What the moment asks for comes before what is
// always possible, and both give way to the fixed ones.
func (m *Model) hints() []binding {
	const most, lowest = 6, 9
	var now, fixed []binding
	all := m.keys()
	for rank := 1; rank <= lowest; rank++ {
		for i := range all {
			b := &all[i]
			switch {
			case b.hint != rank || !m.here(b.in) || !b.possible(m) || b.hintWhen != nil && !b.hintWhen(m):
			case rank < fixedHint:
				now = append(now, *b)
			default:
				fixed = append(fixed, *b)
			}
		}
	}
	return append(now[:min(len(now), most-len(fixed))], fixed...)
}

// keyNames are the keys as a person reads them.
func keyNames(keys []string) string {
	pretty := strings.NewReplacer("up", "↑", "down", "↓", "left", "←", "right", "→", "pgup", "PgUp", "pgdown", "PgDn",
		"home", "Home", "end", "End", "enter", "Enter", "esc", "Esc", "tab", "Tab", "space", "Space", "ctrl+", "Ctrl-", "shift+", "Shift-")
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = pretty.Replace(k)
	}
	return strings.Join(out, " ")
}

func do(f func(*Model)) func(*Model) tea.Cmd {
	return func(m *Model) tea.Cmd {
		f(m)
		return nil
	}
}

// moving is the keys that go from one thing to the next.
func moving() []binding {
	step := func(n int) func(*Model) tea.Cmd { return do(func(m *Model) { m.move(n) }) }
	return []binding{
		{name: "up", keys: []string{"up", "k"}, help: "one row up", run: step(-1)},
		{name: "down", keys: []string{"down", "j"}, help: "one row down", run: step(1)},
		{name: "page up", keys: []string{"pgup", "ctrl+b"}, help: "one page up", run: do(func(m *Model) { m.move(-m.page()) })},
		{name: "page down", keys: []string{"pgdown", "ctrl+f"}, help: "one page down", run: do(func(m *Model) { m.move(m.page()) })},
		{name: "first", keys: []string{"home", "g"}, help: "to the first row", run: do((*Model).first)},
		{name: "last", keys: []string{"end", "G"}, help: "to the last row", run: do((*Model).last)},
		{name: "other pane", keys: []string{"tab"}, help: "to the other pane", hint: 6, run: do(func(m *Model) { m.focus = 1 - m.focus })},
		{name: "pods", keys: []string{"enter", "space"}, in: inServices, help: "show or hide a service's pods", hint: 3, run: do((*Model).fold)},
		{name: "filter services", keys: []string{"/"}, in: inServices, help: "only services with this in their name", run: do((*Model).askWords)},
		{name: "only what is not ready", keys: []string{"u"}, in: inServices, help: "only what is not ready", run: do((*Model).toggleReady)},
		{name: "clear", keys: []string{"esc"}, help: "take filter, search and outcome back", run: do((*Model).clear)},
		{name: "next tab", keys: []string{"]", "right"}, help: "next tab", run: func(m *Model) tea.Cmd { return m.setTab((m.tab + 1) % tabCount) }},
		{name: "previous tab", keys: []string{"[", "left"}, help: "previous tab", run: func(m *Model) tea.Cmd { return m.setTab((m.tab + tabCount - 1) % tabCount) }},
		{name: "logs", keys: []string{"1"}, help: "its lines", run: showTab(logsTab)},
		{name: "build", keys: []string{"2"}, help: "the output of its build", run: showTab(buildTab)},
		{name: "rollout", keys: []string{"3"}, help: "its workloads and pods, stage by stage", run: showTab(rolloutTab)},
		{name: "sync", keys: []string{"4"}, help: "what was sent to its containers", run: showTab(syncTab)},
		{name: "problem", keys: []string{"5"}, help: "why it fails", hint: 1, hintWhen: (*Model).unexplained, run: showTab(problemTab)},
		{name: "manifest diff", keys: []string{"6"}, help: "what an apply would change", run: showTab(diffTab)},
	}
}

// showTab goes to a tab. The keys that go from one to the next leave the focus where it
// is: so the tabs are looked through without leaving the list of services.
func showTab(t tab) func(*Model) tea.Cmd {
	return func(m *Model) tea.Cmd {
		m.focus = detailPane
		return m.setTab(t)
	}
}

// reading is the keys of the log pane.
func reading() []binding {
	return []binding{
		{name: "follow", keys: []string{"f"}, in: inLogs, help: "keep the newest line in sight", run: do(func(m *Model) { m.logs.Follow() })},
		{name: "search", keys: []string{"/"}, in: inLogs, help: "search; Ctrl-R in it: a regular expression", hint: 3, run: do((*Model).askSearch)},
		{name: "next match", keys: []string{"n"}, in: inLogs, help: "to the next match: from the newest to older ones", run: do(func(m *Model) { m.toMatch(-1) })},
		{name: "previous match", keys: []string{"N"}, in: inLogs, help: "back to the match before, a newer one", run: do(func(m *Model) { m.toMatch(1) })},
		{name: "only matches", keys: []string{"x"}, in: inLogs, help: "only lines that match, with context", when: searching, needs: unsought, run: do(func(m *Model) { m.only = !m.only })},
		{name: "more context", keys: []string{">"}, in: inLogs, help: "one more line around each match", when: searching, needs: unsought, run: do(func(m *Model) { m.context = min(20, m.context+1) })},
		{name: "less context", keys: []string{"<"}, in: inLogs, help: "one line less around each match", when: searching, needs: unsought, run: do(func(m *Model) { m.context = max(0, m.context-1) })},
		{name: "level", keys: []string{"l"}, in: inLogs, help: "all levels, info, warnings, errors", run: do((*Model).nextLevel)},
		{name: "next error", keys: []string{"e"}, in: inLogs, help: "to the next record that is an error", hint: 5, run: do(func(m *Model) { m.toError(1) })},
		{name: "previous error", keys: []string{"E"}, in: inLogs, help: "to the previous one", run: do(func(m *Model) { m.toError(-1) })},
		{name: "wrap", keys: []string{"w"}, in: inLogs, help: "wrap long lines, or cut them", run: do(func(m *Model) { m.wrap = !m.wrap })},
		{name: "pretty JSON", keys: []string{"p"}, in: inLogs, help: "objects of JSON over several rows", run: do(func(m *Model) { m.pretty = !m.pretty })},
		{name: "times", keys: []string{"t"}, in: inLogs, help: "no times, of the day, since the line before", run: do(func(m *Model) { m.stamps = (m.stamps + 1) % 3 })},
		{name: "all services", keys: []string{"a"}, in: inLogs, help: "lines of all services, or of the selected one", hint: 4, run: do((*Model).toggleAll)},
		{name: "one pod", keys: []string{"P"}, in: inLogs, help: "one pod after the other, then all again", run: do((*Model).nextPod)},
		{name: "mark", keys: []string{"m"}, in: inLogs, help: "draw a line under what came so far", when: func(m *Model) bool { return m.opts.Host.Mark != nil }, run: (*Model).mark},
		{name: "copy line", keys: []string{"y"}, in: inLogs, help: "copy the line as the program wrote it", run: (*Model).copyLine},
		{name: "copy with name", keys: []string{"Y"}, in: inLogs, help: "copy it with pod and time", run: (*Model).copyNamed},
		{name: "copy as JSON", keys: []string{"J"}, in: inLogs, help: "copy it as an object of JSON", run: (*Model).copyJSON},
		{name: "save lines", keys: []string{"W"}, in: inLogs, help: "write what is shown to a file", when: func(m *Model) bool { return m.opts.Host.Save != nil }, run: (*Model).save},
	}
}

func searching(m *Model) bool { return m.pattern != nil }

const unsought = "search for something first: /"

// arranging is the keys of the screen itself.
func arranging() []binding {
	return []binding{
		{name: "bigger", keys: []string{"+", "="}, help: "more room for the pane: half, full", run: do(func(m *Model) { m.size = min(full, m.size+1) })},
		{name: "smaller", keys: []string{"-", "_"}, help: "less room for it", run: do(func(m *Model) { m.size = max(normal, m.size-1) })},
		{name: "theme", keys: []string{"T"}, help: "the next theme", run: do((*Model).nextTheme)},
		{name: "mouse", keys: []string{"M"}, help: "mouse for the dashboard, or for the terminal's own selection", run: do((*Model).toggleMouse)},
		{name: "notifications", in: palette, help: "bell and notification when something fails or recovers", run: do((*Model).toggleQuiet)},
		{name: "suspend", keys: []string{"ctrl+z"}, help: "to the shell; fg comes back", run: func(*Model) tea.Cmd { return tea.Suspend }},
		{name: "redraw", keys: []string{"ctrl+l"}, help: "draw everything anew", run: func(*Model) tea.Cmd { return tea.ClearScreen }},
		{name: "commands", keys: []string{":"}, help: "everything that can be done, by name", hint: 7, run: do((*Model).openPalette)},
		{name: "help", keys: []string{"?"}, help: "this page", hint: 8, run: do((*Model).openHelp)},
		{name: "quit", keys: []string{"q", "ctrl+c"}, help: "leave; everything stays in the cluster", hint: 9, run: (*Model).leave},
	}
}

func (m *Model) leave() tea.Cmd {
	m.leaving = true
	return tea.Quit
}
