package logview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// maxRows bounds the rows of one line: a megabyte of JSON is not a screen's.
const maxRows = 200

// A drawer makes rows of lines; it keeps its memory from one to the next.
type drawer struct {
	safe []byte
}

const off = "\x1b[m"

// rows draws a line: name, time, text; as many rows as it takes.
func (d *drawer) rows(k *Look, src *store.Source, l store.Line, msg []byte, before int64, lv level.Level, goesOn, current bool) []string {
	head, width := d.head(k, src, l, before, goesOn)
	room := max(8, k.Width-width)
	text, more := d.text(k, msg, lv, src, current)
	var rows []string
	for i, part := range append([]string{text}, more...) {
		lead := head
		if i > 0 {
			lead = strings.Repeat(" ", width)
		}
		if !k.Wrap {
			rows = append(rows, lead+cut(part, room))
			continue
		}
		for j, row := range wrap(part, room) {
			if j > 0 {
				lead = strings.Repeat(" ", width)
			}
			rows = append(rows, lead+row)
		}
	}
	if len(rows) > maxRows {
		rows = append(rows[:maxRows-1], strings.Repeat(" ", width)+k.Faint+"… cut; y copies the whole line"+off)
	}
	return rows
}

// head is what stands before the text, and its width.
func (d *drawer) head(k *Look, src *store.Source, l store.Line, before int64, goesOn bool) (string, int) {
	var b strings.Builder
	width := 0
	if k.NameWidth > 0 {
		name := ""
		if k.Name != nil {
			name = k.Name(src)
		}
		name = ansi.Truncate(name, k.NameWidth, "…")
		pad := strings.Repeat(" ", max(0, k.NameWidth-ansi.StringWidth(name)))
		if len(k.Palette.Pods) > 0 && k.Color {
			pod, _ := k.Palette.Of(src)
			name = pod.Sprint(name)
		}
		bar := " │ "
		if goesOn {
			bar = " ┆ "
		}
		b.WriteString(name + pad + paint(k.Faint, bar))
		width += k.NameWidth + 3
	}
	if s := stamp(k.Stamps, l.Time, before); s != "" {
		b.WriteString(paint(k.Faint, s) + " ")
		width += len(s) + 1
	}
	return b.String(), width
}

func stamp(style Stamps, at, before int64) string {
	switch {
	case style == NoStamps:
		return ""
	case at == 0:
		return strings.Repeat(" ", map[Stamps]int{ClockStamps: 12, DeltaStamps: 10}[style])
	case style == DeltaStamps:
		if before == 0 {
			before = at
		}
		return fmt.Sprintf("%+9.3fs", time.Duration(at-before).Seconds())
	}
	return time.Unix(0, at).Format("15:04:05.000")
}

// text is the message, marked and coloured; more are the further rows of an
// object of JSON.
func (d *drawer) text(k *Look, msg []byte, lv level.Level, src *store.Source, current bool) (text string, more []string) {
	d.safe = term.AppendSafe(d.safe[:0], msg, k.Color)
	safe := strings.ReplaceAll(string(d.safe), "\t", "    ")
	style := ""
	switch {
	case src.Kind != store.Container && lv < level.Warn:
		style = k.Notice
	case lv >= level.Error:
		style = k.Error
	case lv == level.Warn:
		style = k.Warn
	}
	if k.Pretty {
		if pretty := indent(msg); len(pretty) > 1 {
			for _, p := range pretty[1:] {
				d.safe = term.AppendSafe(d.safe[:0], []byte(p), false)
				more = append(more, k.mark(strings.ReplaceAll(string(d.safe), "\t", "    "), style, current))
			}
			return k.mark(pretty[0], style, current), more
		}
	}
	return k.mark(safe, style, current), nil
}

// mark paints a text and the matches in it. Where a match is to be seen, the
// program's own colours give way.
func (k *Look) mark(text, style string, current bool) string {
	if k.Pattern == nil {
		return k.lay(text, style, current)
	}
	plain := ansi.Strip(text)
	hits := k.Pattern.FindAll([]byte(plain))
	if len(hits) == 0 {
		return k.lay(text, style, current)
	}
	on := k.Mark
	if current {
		on = k.Current
	}
	var b strings.Builder
	at := 0
	for _, h := range hits {
		b.WriteString(paint(style, plain[at:h[0]]))
		b.WriteString(paint(on, plain[h[0]:h[1]]))
		at = h[1]
	}
	b.WriteString(paint(style, plain[at:]))
	return b.String()
}

// lay paints a text without matches; the chosen line stands out.
func (k *Look) lay(text, style string, current bool) string {
	if current {
		return paint(k.Current, ansi.Strip(text))
	}
	if strings.IndexByte(text, 0x1b) >= 0 {
		return text // the program's own colours say more
	}
	return paint(style, text)
}

func paint(style, text string) string {
	if style == "" || text == "" {
		return text
	}
	return style + text + off
}

// indent is an object or a list of JSON over several lines; nil for any other
// text. Text before the object stays on the first line.
func indent(msg []byte) []string {
	at := bytes.IndexAny(msg, "{[")
	if at < 0 || at > 64 || !json.Valid(msg[at:]) {
		return nil
	}
	var b bytes.Buffer
	if json.Indent(&b, msg[at:], "", "  ") != nil {
		return nil
	}
	rows := strings.Split(b.String(), "\n")
	if at > 0 {
		head := string(term.AppendSafe(nil, msg[:at], false))
		rows[0] = strings.ReplaceAll(strings.TrimRight(head, " \t"), "\t", "    ") + " " + rows[0]
	}
	return rows
}

// cut shortens a text to a width.
func cut(s string, width int) string {
	if len(s) <= width {
		return s // no cell is less than a byte
	}
	if ascii(s) {
		return s[:width-1] + "…"
	}
	return ansi.Truncate(s, width, "…")
}

// wrap breaks a text at a width.
func wrap(s string, width int) []string {
	if len(s) <= width {
		return []string{s}
	}
	if ascii(s) {
		var rows []string
		for len(s) > width {
			rows = append(rows, s[:width])
			s = s[width:]
			if len(rows) > maxRows {
				break
			}
		}
		return append(rows, s)
	}
	if len(s) > width*maxRows*8 {
		s = s[:width*maxRows*8] // what is beyond would be cut anyway
	}
	rows := strings.Split(ansi.Hardwrap(s, width, true), "\n")
	carry(rows)
	return rows
}

// carry takes the colour that is on at the end of a row over to the next one,
// since each row is put on the screen by itself.
func carry(rows []string) {
	on := ""
	for i, row := range rows {
		rows[i] = on + row
		for rest := rows[i]; ; {
			at := strings.Index(rest, "\x1b[")
			if at < 0 {
				break
			}
			end := strings.IndexByte(rest[at:], 'm')
			if end < 0 {
				break
			}
			seq := rest[at : at+end+1]
			if seq == off || seq == term.Reset {
				on = ""
			} else {
				on += seq
			}
			rest = rest[at+end+1:]
		}
		if on != "" {
			rows[i] += off
		}
	}
}

// ascii says that each byte is one cell.
func ascii(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}
