package tui

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/internal/term"
)

// fit cuts or fills a text to a width.
func fit(s string, width int) string {
	w := ansi.StringWidth(s)
	switch {
	case w > width:
		return ansi.Truncate(s, width, "…")
	case w < width:
		return s + strings.Repeat(" ", width-w)
	}
	return s
}

// hang wraps a text beside what leads it: the rows after the first begin below the text.
// Where that leaves little room they begin further left.
func hang(lead, text string, width int) []string {
	at := ansi.StringWidth(lead)
	if width-at < 24 {
		return wrapRow(lead+text, width)
	}
	rows := carry(wrapText(text, width-at))
	for i := range rows {
		if i == 0 {
			rows[i] = lead + rows[i]
		} else {
			rows[i] = strings.Repeat(" ", at) + rows[i]
		}
	}
	return rows
}

// wrapRow wraps a row that is too wide. What follows stands a little further in than its
// beginning, behind the same bar where it has one.
func wrapRow(row string, width int) []string {
	if len(row) <= width || ansi.StringWidth(row) <= width {
		return []string{row}
	}
	plain := ansi.Strip(row)
	in := len(plain) - len(strings.TrimLeft(plain, " "))
	first, rest := strings.Repeat(" ", in), strings.Repeat(" ", min(in+2, width/3))
	if strings.HasPrefix(plain[in:], "│ ") {
		first += "│ "
		rest = first
	}
	out := carry(wrapText(ansi.TruncateLeft(row, ansi.StringWidth(first), ""), width-ansi.StringWidth(rest)))
	for i := range out {
		if i == 0 {
			out[i] = first + out[i]
		} else {
			out[i] = rest + out[i]
		}
	}
	return out
}

// sgr is what colours text.
var sgr = regexp.MustCompile(`\x1b\[[0-9;:]*m`)

// carry gives each row of a wrapped text the style in which the one before ended.
func carry(rows []string) []string {
	style := ""
	for i, r := range rows {
		rows[i] = style + r
		for _, seq := range sgr.FindAllString(r, -1) {
			if seq == resetAll || seq == "\x1b[0m" {
				style = ""
			} else {
				style += seq
			}
		}
		if style != "" {
			rows[i] += resetAll
		}
	}
	return rows
}

// oneLine makes foreign text safe for one row.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return safe(s)
}

// safe takes what could drive the terminal out of one line of foreign text.
func safe(s string) string {
	return strings.ReplaceAll(string(term.AppendSafe(nil, []byte(s), false)), "\t", "    ")
}

// short writes a duration as a person says it.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// volume writes a size as a person says it.
func volume(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n)/unit, "KMGT"
	i := 0
	for f >= unit && i < len(units)-1 {
		f /= unit
		i++
	}
	return fmt.Sprintf("%.1f %cB", f, units[i])
}

// many writes a count with separators between thousands.
func many(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// sparks draws times as a row of bars, the newest last; each against the largest.
func sparks(times []time.Duration, width int) string {
	const bars = "▁▂▃▄▅▆▇█"
	if len(times) > width {
		times = times[len(times)-width:]
	}
	top := time.Duration(1)
	for _, t := range times {
		top = max(top, t)
	}
	var b strings.Builder
	levels := []rune(bars)
	for _, t := range times {
		b.WriteRune(levels[min(len(levels)-1, int(int64(t)*int64(len(levels))/int64(top+1)))])
	}
	return b.String()
}
