package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

// The rules of the plain face:
//   - one line per thing that happened: who, glyph, what, how long it took;
//   - a failure is one line, then its output behind "│", then one hint;
//   - lines of pods stand between them, with the pod's name in front;
//   - nothing is rewritten: what was printed stays, so a file of it reads well;
//   - for a screen reader, words stand for glyphs and nothing is padded.

// glyphs begin the text of a notice.
var glyphs = map[session.Level]string{
	session.Info: "·", session.Done: "✓", session.Warn: "!", session.Fail: "✗",
}

// colours of the glyphs, as SGR parameters.
var colours = map[session.Level]string{
	session.Info: "2", session.Done: "32", session.Warn: "33", session.Fail: "31",
}

// words stand for the glyphs where the text is read aloud.
var words = map[session.Level]string{
	session.Info: "", session.Done: "done: ", session.Warn: "warning: ", session.Fail: "failed: ",
}

// plain renders notices as lines of text.
type plain struct {
	out    io.Writer
	colour bool
	width  int  // of the column of names
	spoken bool // for a screen reader: words instead of glyphs, columns and bars

	mu      sync.Mutex
	printed map[string][]string // the newest lines of builds that run, by service
}

// printedLines is more than a problem's output has.
const printedLines = 100

func (f *plain) notice(n session.Notice) {
	if n.Step != nil {
		return
	}
	var b strings.Builder
	who := n.Service
	if who == "" {
		who = "kdev"
	}
	glyph := glyphs[n.Level]
	if f.colour {
		glyph = "\x1b[" + colours[n.Level] + "m" + glyph + "\x1b[0m"
	}
	if f.spoken {
		fmt.Fprintf(&b, "%s: %s%s", who, words[n.Level], n.Text)
	} else {
		fmt.Fprintf(&b, "%-*s %s %s", f.width, who, glyph, n.Text)
	}
	if n.Took > 0 {
		fmt.Fprintf(&b, " (%s)", took(time.Duration(n.Took)))
	}
	b.WriteByte('\n')
	if n.Problem != nil {
		p := n.Problem
		if f.above(n.Service, p.Output) {
			own := *p
			own.Output, p = "", &own
		}
		f.problem(&b, p)
	}
	f.remember(n)
	_, _ = io.WriteString(f.out, b.String())
}

// remember keeps a build's line until the build has ended.
func (f *plain) remember(n session.Notice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case n.Code != "build-output":
		if n.Level == session.Done || n.Level == session.Fail {
			delete(f.printed, n.Service)
		}
		return
	case f.printed == nil:
		f.printed = map[string][]string{}
	}
	lines := append(f.printed[n.Service], n.Text)
	f.printed[n.Service] = lines[max(0, len(lines)-printedLines):]
}

// above says whether a build's output was printed, in one piece, as it came.
func (f *plain) above(service, output string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	output = strings.Trim(output, "\n")
	return output != "" && strings.Contains("\n"+strings.Join(f.printed[service], "\n")+"\n", "\n"+output+"\n")
}

// problem writes what, output and hint, indented under the notice.
func (f *plain) problem(b *strings.Builder, p *problem.Problem) {
	pad, bar := strings.Repeat(" ", f.width+3), "│ "
	if f.spoken {
		pad, bar = "  ", "output: "
	}
	fmt.Fprintf(b, "%s%v\n", pad, p)
	if out := strings.TrimRight(p.Output, "\n"); out != "" {
		for line := range strings.Lines(out) {
			fmt.Fprintf(b, "%s%s%s\n", pad, bar, strings.TrimRight(line, "\n"))
		}
	}
	if p.Hint != "" {
		fmt.Fprintf(b, "%shint: %s\n", pad, p.Hint)
	}
}

// took writes a duration with the precision that a person cares for.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
