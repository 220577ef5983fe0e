package tui

import (
	"bytes"
	"encoding/json"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/logs/store"
	"github.com/kdev-io/kdev/tui/logview"
)

// line hands the chosen line, else the newest on the screen, to f.
func (m *Model) line(f func(src *store.Source, l store.Line, text string)) {
	id := m.logs.Cursor()
	if id == 0 {
		id = m.logs.Bottom()
	}
	found := false
	m.opts.Store.Range(id, id+1, func(g *store.Segment) bool {
		found = id != 0
		f(g.Source, g.Lines[0], string(g.Text(g.Lines[0])))
		return true
	})
	if !found {
		m.say("there is no line to copy", true)
	}
}

// copyLine copies what the program wrote, unwrapped and without a prefix.
func (m *Model) copyLine() (cmd tea.Cmd) {
	m.line(func(_ *store.Source, _ store.Line, text string) { cmd = m.copy("line", text) })
	return cmd
}

func (m *Model) copyNamed() (cmd tea.Cmd) {
	m.line(func(src *store.Source, l store.Line, text string) {
		cmd = m.copy("line", named(m, src, l)+text)
	})
	return cmd
}

// named is what stands before a line outside the dashboard.
func named(m *Model, src *store.Source, l store.Line) string {
	name := src.Pod + " " + src.Container
	if src.Kind != store.Container {
		name = m.lineName(src)
	}
	if l.Time != 0 {
		name += " " + time.Unix(0, l.Time).Format(time.RFC3339Nano)
	}
	return name + " "
}

func (m *Model) copyJSON() (cmd tea.Cmd) {
	m.line(func(src *store.Source, l store.Line, text string) {
		b, err := json.Marshal(struct {
			Time      time.Time `json:"time,omitzero"`
			Service   string    `json:"service,omitempty"`
			Pod       string    `json:"pod,omitempty"`
			Container string    `json:"container,omitempty"`
			Message   string    `json:"message"`
		}{time.Unix(0, l.Time).UTC(), m.opts.Names.Service(src), src.Pod, src.Container, text})
		if err != nil {
			m.say(err.Error(), true)
			return
		}
		cmd = m.copy("line as JSON", string(b))
	})
	return cmd
}

// save writes what the log pane shows, all of it, to a file.
func (m *Model) save() tea.Cmd {
	list, s, write := m.worker.shown.List(), m.opts.Store, m.opts.Host.Save
	names := m.opts.Names
	return func() tea.Msg {
		name, err := write(text(s, list, names))
		return outcome(many(list.Len())+" lines saved in "+name, err)
	}
}

// text is the lines of a list as they are, each with what wrote it.
func text(s *store.Store, list logview.List, names *Names) []byte {
	var b bytes.Buffer
	for i := range list.Len() {
		id := list.At(i)
		s.Range(id, id+1, func(g *store.Segment) bool {
			l := g.Lines[0]
			if l.Time != 0 {
				b.WriteString(time.Unix(0, l.Time).UTC().Format(time.RFC3339Nano) + " ")
			}
			if g.Source.Kind == store.Container {
				b.WriteString(g.Source.Pod + " " + g.Source.Container + " ")
			} else if name := names.Service(g.Source); name != "" {
				b.WriteString(name + " ")
			}
			b.Write(g.Text(l))
			b.WriteByte('\n')
			return true
		})
	}
	return b.Bytes()
}

// mark draws a line under what came so far, with the time.
func (m *Model) mark() tea.Cmd {
	write, at := m.opts.Host.Mark, m.now
	return func() tea.Msg {
		write("──────── " + at.Local().Format("15:04:05") + " ────────")
		return nil
	}
}
