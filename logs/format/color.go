package format

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kdev-io/kdev/logs/store"
)

// A Color is a list of SGR parameters (ECMA-48 §8.3.117). The zero Color colours
// nothing.
type Color struct {
	start, end string
}

// SGR makes a colour of parameters. What ends it resets each attribute by its own
// code beside the general reset, as stern's output does.
func SGR(params ...int) Color {
	if len(params) == 0 {
		return Color{}
	}
	start, end := make([]string, len(params)), make([]string, len(params))
	for i, p := range params {
		start[i] = strconv.Itoa(p)
		end[i] = strconv.Itoa(resetOf(p))
	}
	return Color{start: "\x1b[" + strings.Join(start, ";") + "m", end: "\x1b[" + strings.Join(end, ";") + "m"}
}

func resetOf(p int) int {
	switch p {
	case 1, 2:
		return 22
	case 3, 4, 7, 8, 9:
		return p + 20
	case 5, 6:
		return 25
	}
	return 0
}

// ParseSGR reads a colour as the flags write it: "91", "38;2;1;2;3".
func ParseSGR(s string) (Color, error) {
	var params []int
	for part := range strings.SplitSeq(s, ";") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 {
			return Color{}, fmt.Errorf("%q is no SGR sequence such as 91 or 38;2;255;97;136", s)
		}
		params = append(params, n)
	}
	return SGR(params...), nil
}

// Append writes text in this colour.
func (c Color) Append(dst []byte, text string) []byte {
	dst = append(dst, c.start...)
	dst = append(dst, text...)
	return append(dst, c.end...)
}

// Sprint is text in this colour.
func (c Color) Sprint(text string) string { return c.start + text + c.end }

// A Palette holds the colours of pods and, at the same index, of containers.
type Palette struct {
	Name       string
	Pods       []Color
	Containers []Color
}

// Palettes are those that have a name. None uses red: it reads as an error. The
// first eight entries of each are the ones that replicas of one workload share
// out, so they are the most different ones.
func Palettes() []Palette {
	return []Palette{ansi(), okabe(), tol()}
}

// PaletteByName finds one of [Palettes].
func PaletteByName(name string) (Palette, error) {
	var names []string
	for _, p := range Palettes() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Palette{}, fmt.Errorf("palette should be one of %s, not %q", strings.Join(names, ", "), name)
}

// ansi uses the sixteen colours of the terminal's own theme.
func ansi() Palette {
	p := Palette{Name: "default"}
	for _, c := range [][2][]int{
		{{96}, {36}}, {{92}, {32}}, {{95}, {35}}, {{93}, {33}}, {{94}, {34}},
		{{36, 4}, {36}}, {{32, 4}, {32}}, {{35, 4}, {35}}, {{33, 4}, {33}}, {{34, 4}, {34}},
	} {
		p.add(c[0], c[1])
	}
	return p
}

// okabe is the set of Okabe and Ito (2008), made to be told apart with protanopia,
// deuteranopia and tritanopia, without black, which many terminals have as ground.
func okabe() Palette {
	return truecolor("okabe-ito", [][3]int{
		{230, 159, 0}, {86, 180, 233}, {0, 158, 115}, {240, 228, 66}, {0, 114, 178}, {204, 121, 167}, {213, 94, 0}, {187, 187, 187}})
}

// tol is Paul Tol's "light" scheme (2021), for dark grounds.
func tol() Palette {
	return truecolor("tol-light", [][3]int{
		{119, 170, 221}, {238, 136, 102}, {238, 221, 136}, {255, 170, 187}, {153, 221, 255}, {68, 187, 153}, {187, 204, 51}, {170, 170, 0}})
}

func truecolor(name string, colors [][3]int) Palette {
	p := Palette{Name: name}
	for _, c := range colors {
		p.add([]int{38, 2, c[0], c[1], c[2]}, []int{38, 2, c[0], c[1], c[2]})
	}
	return p
}

func (p *Palette) add(pod, container []int) {
	p.Pods = append(p.Pods, SGR(pod...))
	p.Containers = append(p.Containers, SGR(container...))
}

// CustomPalette is what --pod-colors and --container-colors say.
func CustomPalette(pods, containers []string) (Palette, error) {
	if len(pods) == 0 {
		return Palette{}, fmt.Errorf("pod-colors must not be empty")
	}
	if len(containers) == 0 {
		containers = pods
	}
	if len(containers) != len(pods) {
		return Palette{}, fmt.Errorf("pod-colors and container-colors must have the same length")
	}
	p := Palette{Name: "custom"}
	for i := range pods {
		pod, err := ParseSGR(pods[i])
		if err != nil {
			return Palette{}, fmt.Errorf("pod-colors: %w", err)
		}
		container, err := ParseSGR(containers[i])
		if err != nil {
			return Palette{}, fmt.Errorf("container-colors: %w", err)
		}
		p.Pods = append(p.Pods, pod)
		p.Containers = append(p.Containers, container)
	}
	return p, nil
}

// Of returns the colours of a source: of its pod and of its container.
func (p Palette) Of(src *store.Source) (pod, container Color) {
	return p.pod(src.Color), p.container(src.ContainerColor)
}

func (p Palette) pod(i int) Color       { return entry(p.Pods, i) }
func (p Palette) container(i int) Color { return entry(p.Containers, i) }

func entry(colors []Color, i int) Color {
	if i == store.Uncolored {
		return SGR(0)
	}
	return colors[i%len(colors)]
}
