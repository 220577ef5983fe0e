// Package theme is the colours of the dashboard.
//
// In: a name. Out: styles by what they mean. It draws nothing. Invariant: no
// theme is needed to understand the screen; "none" has the same words and
// glyphs without any colour.
package theme

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/kdev-io/kdev/logs/format"
)

// A Style is an SGR sequence that begins it; the general reset ends it.
type Style string

// Off ends every style.
const Off = "\x1b[m"

// Paint is text in this style.
func (s Style) Paint(text string) string {
	if s == "" || text == "" {
		return text
	}
	return string(s) + text + Off
}

// A Theme gives each meaning its style.
type Theme struct {
	Name string

	Title    Style // of panes, and the project's name
	Faint    Style // what is read second
	Key      Style // names of keys
	Good     Style // ready
	Busy     Style // under way
	Bad      Style // failed
	Selected Style // the row that keys act on
	Mark     Style // a match of a search
	Current  Style // the match that the search is at
	Notice   Style // what kdev says between lines of pods
	Frame    Style // lines between panes

	// Palette tells pods apart.
	Palette format.Palette
}

// Names are the themes, in the order in which a key walks through them.
func Names() []string {
	var names []string
	for _, t := range all() {
		names = append(names, t.Name)
	}
	return names
}

// ByName finds a theme.
func ByName(name string) (Theme, error) {
	for _, t := range all() {
		if t.Name == name {
			return t, nil
		}
	}
	return Theme{}, fmt.Errorf("theme should be one of %s, not %q", strings.Join(Names(), ", "), name)
}

// Next is the theme after one.
func Next(name string) Theme {
	list := all()
	for i, t := range list {
		if t.Name == name {
			return list[(i+1)%len(list)]
		}
	}
	return list[0]
}

// all makes the themes. The first two use the sixteen colours of the terminal's
// own scheme, so that it decides what green is. The colour-blind ones put blue
// against orange (told apart with a red-green weakness) and red against cyan
// (told apart with a blue-yellow one).
func all() []Theme {
	dark := Theme{
		Name: "dark", Title: fg("", bold), Faint: fg("8"), Key: fg("14"), Good: fg("10"), Busy: fg("11"), Bad: fg("9", bold),
		Selected: fg("", reverse), Mark: "\x1b[30;43m", Current: "\x1b[30;103m", Notice: fg("12"), Frame: fg("8"), Palette: palette("default"),
	}
	light := dark
	light.Name = "light"
	light.Faint, light.Key, light.Good, light.Busy, light.Bad, light.Notice = fg("240"), fg("4"), fg("2"), fg("130"), fg("1", bold), fg("4")
	light.Frame, light.Mark, light.Current = fg("245"), "\x1b[30;48;5;222m", "\x1b[30;48;5;214m"
	light.Palette = darkPalette()

	redGreen := dark
	redGreen.Name = "red-green" // deuteranopia and protanopia
	redGreen.Good, redGreen.Busy, redGreen.Bad = fg("#56b4e9"), fg("#f0e442"), fg("#e69f00", bold)
	redGreen.Palette = palette("okabe-ito")

	blueYellow := dark
	blueYellow.Name = "blue-yellow" // tritanopia
	blueYellow.Good, blueYellow.Busy, blueYellow.Bad = fg("#44bb99"), fg("#dddddd"), fg("#ee6677", bold)
	blueYellow.Palette = palette("tol-light")

	none := Theme{Name: "none", Palette: format.Palette{}}
	return []Theme{dark, light, redGreen, blueYellow, none}
}

func bold(s lipgloss.Style) lipgloss.Style    { return s.Bold(true) }
func reverse(s lipgloss.Style) lipgloss.Style { return s.Reverse(true) }

// fg is the sequence that begins a style. It is taken from what lipgloss writes
// around a text, once, since painting a cell has to cost nothing.
func fg(color string, more ...func(lipgloss.Style) lipgloss.Style) Style {
	s := lipgloss.NewStyle()
	if color != "" {
		s = s.Foreground(lipgloss.Color(color))
	}
	for _, f := range more {
		s = f(s)
	}
	on, _, _ := strings.Cut(s.Render("x"), "x")
	return Style(on)
}

func palette(name string) format.Palette {
	p, err := format.PaletteByName(name)
	if err != nil {
		return format.Palette{}
	}
	return p
}

// darkPalette tells pods apart on a light ground.
func darkPalette() format.Palette {
	p := format.Palette{Name: "light"}
	for _, c := range []int{25, 28, 90, 130, 23, 54, 58, 94} {
		p.Pods = append(p.Pods, format.SGR(38, 5, c))
		p.Containers = append(p.Containers, format.SGR(38, 5, c))
	}
	return p
}
