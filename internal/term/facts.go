package term

import (
	"fmt"
	"os"

	"golang.org/x/term"
)

// Facts are what a face needs to know of the stream it writes to.
type Facts struct {
	TTY    bool
	Width  int // columns; 80 where the stream cannot say
	Height int // rows; 24 where the stream cannot say
	Color  bool
}

// Detect looks at a stream. mode is the value of a --color flag.
func Detect(w any, mode ColorMode, getenv func(string) string) Facts {
	f := Facts{Width: 80, Height: 24}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		f.TTY = true
		if width, height, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			f.Width, f.Height = width, height
		}
	}
	f.Color = mode.Decide(f.TTY, getenv)
	return f
}

// A ColorMode is what the user asked for.
type ColorMode string

// The values of --color.
const (
	ColorAuto   ColorMode = "auto"
	ColorAlways ColorMode = "always"
	ColorNever  ColorMode = "never"
)

// ParseColorMode accepts the three modes; empty is auto.
func ParseColorMode(s string) (ColorMode, error) {
	switch m := ColorMode(s); m {
	case "":
		return ColorAuto, nil
	case ColorAuto, ColorAlways, ColorNever:
		return m, nil
	}
	return "", fmt.Errorf("color should be one of 'always', 'never', or 'auto', not %q", s)
}

// Decide says whether to colour. A flag wins over the environment; then, in
// this order: NO_COLOR with any value but empty (no-color.org), CLICOLOR_FORCE
// with any value but 0, CLICOLOR=0 (bixense.com/clicolors), TERM=dumb, and
// whether the stream is a terminal.
func (m ColorMode) Decide(tty bool, getenv func(string) string) bool {
	switch m {
	case ColorAlways:
		return true
	case ColorNever:
		return false
	}
	if getenv("NO_COLOR") != "" {
		return false
	}
	if force := getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		return true
	}
	return tty && getenv("CLICOLOR") != "0" && getenv("TERM") != "dumb"
}
