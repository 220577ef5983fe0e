package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"text/template"

	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// Log is what a template sees as its dot: stern's fields, and the level.
type Log struct {
	Message       string            `json:"message"`
	Timestamp     string            `json:"timestamp,omitempty"`
	NodeName      string            `json:"nodeName"`
	Namespace     string            `json:"namespace"`
	PodName       string            `json:"podName"`
	ContainerName string            `json:"containerName"`
	Labels        map[string]string `json:"labels"`
	Annotations   map[string]string `json:"annotations"`

	PodColor       Color  `json:"-"`
	ContainerColor Color  `json:"-"`
	Level          string `json:"-"`
	Context        string `json:"-"`
}

// useTemplate makes f execute a template for each line.
func (f *Formatter) useTemplate(text string) error {
	t, err := template.New("log").Funcs(functions(f.opts.Color)).Parse(text)
	if err != nil {
		return fmt.Errorf("unable to parse template: %w", err)
	}
	var out bytes.Buffer
	f.line = func(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
		out.Reset()
		if err := t.Execute(&out, f.log(src, l, msg)); err != nil {
			if f.opts.Failed != nil {
				f.opts.Failed(fmt.Errorf("expanding template failed: %w", err))
			}
			return f.defaultLine(dst, src, l, msg)
		}
		text := out.Bytes()
		if f.opts.Highlight != nil && l.Flags&store.NoStamp == 0 {
			// The message went in unmarked, so that the template can parse it.
			f.marked = f.opts.Highlight(f.marked[:0], text)
			text = f.marked
		}
		if f.opts.Safe {
			return f.safeLines(dst, text)
		}
		return append(dst, text...)
	}
	return nil
}

func (f *Formatter) log(src *store.Source, l store.Line, msg []byte) Log {
	f.scratch = f.plainMessage(f.scratch[:0], l, msg)
	v := Log{
		Message:        string(f.scratch),
		NodeName:       src.Node,
		Namespace:      src.Namespace,
		PodName:        src.Pod,
		ContainerName:  src.Container,
		Labels:         src.Labels,
		Annotations:    src.Annos,
		PodColor:       f.podColor(src),
		ContainerColor: f.containerColor(src),
		Level:          level.Level(l.Level).String(),
		Context:        src.Cluster,
	}
	if src.Kind == store.Local {
		v.PodName = src.Name
	}
	if f.clock.style != "" && l.Flags&store.NoStamp == 0 && l.Time != 0 {
		v.Timestamp = string(f.clock.append(nil, l.Time))
	}
	return v
}

// plainMessage is the text before highlighting, which a template gets afterwards.
func (f *Formatter) plainMessage(dst []byte, l store.Line, msg []byte) []byte {
	if l.Flags&store.NoStamp != 0 {
		dst = append(dst, "[missing timestamp] "...)
	}
	return append(dst, msg...)
}

func (f *Formatter) safeLines(dst, text []byte) []byte {
	for line := range bytes.Lines(text) {
		whole, cut := bytes.CutSuffix(line, []byte("\n"))
		dst = f.opts.safe(dst, whole)
		if cut {
			dst = append(dst, '\n')
		}
	}
	return dst
}

// functions are stern's template functions.
func functions(colored bool) template.FuncMap {
	paint := func(c Color, text string) string {
		if !colored {
			return text
		}
		return c.Sprint(text)
	}
	fixed := func(sgr int) any {
		c := SGR(sgr)
		return func(format string, args ...any) string {
			if len(args) > 0 {
				format = fmt.Sprintf(format, args...)
			}
			return paint(c, format)
		}
	}
	return template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"parseJSON":           parseJSON,
		"tryParseJSON":        tryParseJSON,
		"extractJSONParts":    extractJSONParts,
		"tryExtractJSONParts": tryExtractJSONParts,
		"extjson":             extjson,
		"prettyJSON":          prettyJSON,
		"toRFC3339Nano":       toRFC3339Nano,
		"toUTC":               toUTC,
		"toTimestamp":         toTimestamp,
		"color":               paint,
		"colorCustom": func(text string, sgr ...int) string {
			if len(sgr) == 0 {
				return paint(Color{start: "\x1b[m", end: "\x1b[m"}, text)
			}
			return paint(SGR(sgr...), text)
		},
		"colorBlack":   fixed(30),
		"colorRed":     fixed(31),
		"colorGreen":   fixed(32),
		"colorYellow":  fixed(33),
		"colorBlue":    fixed(34),
		"colorMagenta": fixed(35),
		"colorCyan":    fixed(36),
		"colorWhite":   fixed(37),
		"levelColor": func(v any) string {
			s, ok := v.(string)
			if !ok {
				return ""
			}
			return paint(levelColor(s), s)
		},
		"bunyanLevelColor": func(v any) string {
			n, ok := bunyanLevel(v)
			if !ok {
				return ""
			}
			return paint(bunyanColor(n), fmt.Sprint(n))
		},
	}
}
