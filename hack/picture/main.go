package main

import (
	"bufio"
	"flag"
	"fmt"
	"image/color"
	"io"
	"os"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

// A cell of the picture, in its units: what a common monospaced font takes at 14.
const (
	cellWidth  = 8.4
	cellHeight = 18
	baseline   = 13.5
	border     = 12
)

// scheme is the sixteen colours and the ground, in a scheme with enough contrast
// on paper and on a screen.
var scheme = [16]string{
	"#2e3440", "#d9534f", "#5fb36a", "#d8a33d", "#5b8fd6", "#b27bd0", "#45a8a8", "#d5d9e0",
	"#7a8291", "#ff6b66", "#7fd08a", "#f2c65c", "#7fb0f0", "#cf9df0", "#6fd0d0", "#ffffff",
}

const ground, ink = "#1d2129", "#d5d9e0"

func main() {
	title := flag.String("title", "kdev", "what a screen reader says of the picture")
	flag.Parse()
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
	out := bufio.NewWriter(os.Stdout)
	draw(out, string(text), *title)
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

// draw writes the picture.
func draw(w io.Writer, text, title string) {
	rows := strings.Split(strings.TrimRight(text, "\n"), "\n")
	width := 0
	for _, r := range rows {
		width = max(width, ansi.StringWidth(r))
	}
	screen := vt.NewEmulator(max(1, width), len(rows))
	_, _ = screen.WriteString(strings.Join(rows, "\r\n")) // memory: it cannot fail
	pw, ph := float64(width)*cellWidth+2*border, len(rows)*cellHeight+2*border
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" viewBox="0 0 %.0f %d" role="img" aria-label="%s">`+"\n", pw, ph, pw, ph, escape(title))
	fmt.Fprintf(w, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", ground)
	fmt.Fprintf(w, `<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14" xml:space="preserve" fill="%s">`+"\n", ink)
	for y := range len(rows) {
		drawRow(w, screen, width, y)
	}
	fmt.Fprintln(w, "</g></svg>")
}

// A run is cells of one look side by side.
type run struct {
	x, cells int
	text     string
	look     look
}

type look struct {
	fg, bg                  string
	bold, faint, underlined bool
}

func drawRow(w io.Writer, screen *vt.Emulator, width, y int) {
	var runs []run
	for x := 0; x < width; {
		c := screen.CellAt(x, y)
		text, cells := " ", 1
		if c != nil && c.Content != "" {
			text, cells = c.Content, max(1, c.Width)
		}
		l := lookOf(c)
		if n := len(runs); n > 0 && runs[n-1].look == l && cells == 1 {
			runs[n-1].text += text
			runs[n-1].cells += cells
		} else {
			runs = append(runs, run{x, cells, text, l})
		}
		x += cells
	}
	top := border + y*cellHeight
	for _, r := range runs {
		x := border + float64(r.x)*cellWidth
		if r.look.bg != "" {
			fmt.Fprintf(w, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", x, top, float64(r.cells)*cellWidth, cellHeight, r.look.bg)
		}
		if strings.TrimSpace(r.text) == "" {
			continue
		}
		attrs := ""
		if r.look.fg != "" {
			attrs += fmt.Sprintf(` fill="%s"`, r.look.fg)
		}
		if r.look.bold {
			attrs += ` font-weight="bold"`
		}
		if r.look.faint {
			attrs += ` opacity="0.6"`
		}
		if r.look.underlined {
			attrs += ` text-decoration="underline"`
		}
		// textLength keeps columns straight whatever font is there.
		text := strings.TrimRight(r.text, " ")
		used := float64(r.cells-(len(r.text)-len(text))) * cellWidth
		fmt.Fprintf(w, `<text x="%.1f" y="%.1f" textLength="%.1f"%s>%s</text>`+"\n", x, float64(top)+baseline, used, attrs, escape(text))
	}
}

func lookOf(c *uv.Cell) look {
	if c == nil {
		return look{}
	}
	s := c.Style
	l := look{fg: hex(s.Fg), bg: hex(s.Bg), bold: s.Attrs&uv.AttrBold != 0, faint: s.Attrs&uv.AttrFaint != 0, underlined: s.Underline != 0}
	if s.Attrs&uv.AttrReverse != 0 {
		l.fg, l.bg = or(l.bg, ground), or(l.fg, ink)
	}
	return l
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// hex is a colour as SVG writes it; "" is the terminal's own.
func hex(c color.Color) string {
	switch c := c.(type) {
	case nil:
		return ""
	case ansi.BasicColor:
		return scheme[c&15]
	case ansi.IndexedColor:
		if c < 16 {
			return scheme[c]
		}
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
