package tui

import (
	"fmt"
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
