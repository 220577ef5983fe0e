package tui

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
	"github.com/kdev-io/kdev/tui/logview"
	"github.com/kdev-io/kdev/tui/theme"
)

// arrangeLogs hands the log pane its size and its look, and the worker what is
// to be shown.
func (m *Model) arrangeLogs(l layout) {
	if !m.lines() {
		return
	}
	t := m.theme
	look := fmt.Sprint(m.wrap, m.stamps, m.pretty, t.Name, m.nameWidth(), m.regexp, m.search)
	if look != m.look {
		m.look = look
		m.version++
	}
	m.logs.SetLook(logview.Look{
		Width: m.width, Wrap: m.wrap, Stamps: m.stamps, Pretty: m.pretty,
		Color: t.Name != "none", Palette: t.Palette, Name: m.lineName, NameWidth: m.nameWidth(),
		Pattern: m.pattern, Mark: string(t.Mark), Current: string(t.Current), Faint: string(t.Faint),
		Warn: string(t.Busy), Error: string(t.Bad), Notice: string(t.Notice), Version: m.version,
	})
	m.head = m.buildHead(l.detail - 1)
	m.logs.SetHeight(max(1, l.detail-1-len(m.head)))
	if q := m.query(); q.key != m.shown.key {
		at := m.logs.Anchor()
		m.shown = q
		m.worker.ask(q, at)
	}
}

// query is what the panes ask the store for.
func (m *Model) query() Query {
	service, solo, builds := m.selected, m.solo, m.tab == buildTab
	if m.all && !builds {
		service = ""
	}
	names := m.opts.Names
	show := func(src *store.Source) bool {
		kind, _ := localName(src)
		if (kind == "build") != builds && (builds || service != "") {
			return false
		}
		if service != "" && names.Service(src) != service {
			return false
		}
		return solo == "" || src.Kind != store.Container || src.Pod == solo
	}
	q := Query{shown: logview.Query{Show: show, Level: m.level}}
	if service == "" && solo == "" && !builds {
		q.shown.Show = nil // everything: no list is kept
	}
	if m.pattern != nil { // without one, no list of matches is kept
		q.hits = q.shown
		q.hits.Pattern = m.pattern
		if m.only {
			q.shown.Pattern, q.shown.Context = m.pattern, m.context
		}
	}
	q.key = strings.Join([]string{service, solo, strconv.FormatBool(builds), m.level.String(), m.search,
		strconv.FormatBool(m.regexp), strconv.FormatBool(m.only), strconv.Itoa(m.context)}, "\x00")
	return q
}

// lineName stands before a line: what wrote it.
func (m *Model) lineName(src *store.Source) string {
	if src.Kind != store.Container {
		kind, service := localName(src)
		switch {
		case service == "":
			return "kdev"
		case kind == "build":
			return service + " build"
		}
		return service
	}
	svc := m.opts.Names.Service(src)
	if svc == "" {
		return src.Pod
	}
	return svc + " " + shortPod(src.Pod, svc)
}

func (m *Model) nameWidth() int {
	if m.width < 60 {
		return 0
	}
	w := 8
	for i := range m.state.Services {
		w = max(w, len(m.state.Services[i].Name)+7)
	}
	return min(w, 26, m.width/4)
}

// logTitle says what the log pane shows.
func (m *Model) logTitle() string {
	var parts []string
	switch {
	case m.tab == buildTab:
	case m.all:
		parts = append(parts, "all services")
	default:
		parts = append(parts, m.selected)
	}
	if m.solo != "" {
		parts = append(parts, "pod "+shortPod(m.solo, m.selected))
	}
	if m.level != level.Unknown {
		parts = append(parts, m.level.String()+" and above")
	}
	if m.pattern != nil {
		hits := m.worker.hits.List()
		at := ""
		if c := m.logs.Cursor(); c != 0 {
			if i := hits.Find(c); i < hits.Len() && hits.At(i) == c {
				at = many(i+1) + " of "
			}
		}
		more := ""
		if m.worker.hits.Behind() {
			more = "…"
		}
		text := fmt.Sprintf("/%s/ %s%s%s", m.search, at, many(hits.Len()), more)
		if m.only {
			text += fmt.Sprintf(", only these ±%d", m.context)
		}
		parts = append(parts, text)
	}
	if !m.logs.Following() {
		parts = append(parts, "+"+many(m.logs.Below(m.worker.shown.List()))+" below")
	} else {
		parts = append(parts, "following")
	}
	if st := m.opts.Store.Stats(); st.First > 1 {
		parts = append(parts, many(int(st.First-1))+" older ones dropped")
	}
	return strings.Join(parts, " · ")
}

// setSearch looks for a text, or for a regular expression.
func (m *Model) setSearch(text string, isRegexp bool) {
	m.search, m.regexp, m.pattern = text, isRegexp, nil
	if text == "" {
		m.only = false
		return
	}
	expr := regexp.QuoteMeta(text)
	if isRegexp {
		expr = text
	}
	if p, err := filter.Compile(expr); err == nil {
		m.pattern = p
	}
}

func (m *Model) askSearch() {
	before, beforeRE := m.search, m.regexp
	m.overlay = &prompt{label: "search", input: input{}, toggle: "Ctrl-R: regular expression", on: m.regexp,
		change: func(m *Model, text string) { m.setSearch(text, m.overlayOn()) },
		check: func(text string, on bool) string {
			if on {
				if _, err := filter.Compile(text); err != nil {
					return err.Error()
				}
			}
			return ""
		},
		cancel: func(m *Model) { m.setSearch(before, beforeRE) },
		accept: func(m *Model, text string) tea.Cmd {
			m.setSearch(text, m.overlayOn())
			m.logs.SetCursor(m.worker.shown.List(), 0)
			m.toMatch(-1)
			return nil
		}}
}

// toMatch goes to the next match in a direction. Without one, the newest is
// where a search begins, because it is what a person has just seen go by.
func (m *Model) toMatch(step int) {
	if m.pattern == nil {
		m.say("nothing is searched for: /", true)
		return
	}
	hits := m.worker.hits.List()
	if hits.Len() == 0 {
		if !m.worker.hits.Behind() {
			m.say("no line matches "+m.search, true)
		}
		return
	}
	id := m.logs.Next(hits, step)
	if id == 0 && step < 0 && m.logs.Cursor() == 0 {
		id = hits.At(hits.Len() - 1)
	}
	if id == 0 {
		m.say("no more matches in this direction", true)
		return
	}
	m.logs.SetCursor(m.worker.shown.List(), id)
}

func (m *Model) toError(step int) {
	if m.logs.Cursor() == 0 {
		step = -1 // from the end, the next error is the newest one
	}
	id := m.logs.NextError(m.worker.shown.List(), step)
	if id == 0 {
		m.say("no more errors in this direction", true)
		return
	}
	m.logs.SetCursor(m.worker.shown.List(), id)
}

func (m *Model) nextLevel() {
	m.level = map[level.Level]level.Level{level.Unknown: level.Info, level.Info: level.Warn, level.Warn: level.Error}[m.level]
}

func (m *Model) toggleAll() {
	m.all, m.solo = !m.all, ""
	m.logs.Follow()
}

// nextPod walks through the pods of the selected service, then shows all.
func (m *Model) nextPod() {
	svc := m.service()
	if svc == nil || len(svc.Pods) == 0 {
		m.say("it has no pods", true)
		return
	}
	m.all = false
	next := ""
	for i := range svc.Pods {
		if m.solo == "" {
			next = svc.Pods[0].Name
			break
		}
		if svc.Pods[i].Name == m.solo && i+1 < len(svc.Pods) {
			next = svc.Pods[i+1].Name
		}
	}
	m.solo = next
}

// say shows an outcome in the place of the hints.
func (m *Model) say(text string, badly bool) { m.said, m.badly, m.saidAt = text, badly, m.now }

func (m *Model) nextTheme() {
	m.theme = theme.Next(m.theme.Name)
	m.say("theme "+m.theme.Name, false)
}

// troubled says whether the selected service has something to explain.
func (m *Model) troubled() bool {
	svc := m.service()
	return svc != nil && svc.Problem != nil || len(m.state.Troubles()) > 0
}

// unexplained says whether it has, and the explanation is not what is shown.
func (m *Model) unexplained() bool { return m.troubled() && m.tab != problemTab }
