package format

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/term"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// Options choose an output.
type Options struct {
	// Output is the name of an output; "" is "default". See [Outputs].
	Output string
	// Template replaces the output by a Go template with stern's functions. No
	// newline is added to what it writes.
	Template string

	Timestamps string         // "", default, short, ms, delta
	Location   *time.Location // of timestamps; nil is local

	Namespace bool // show namespaces
	Cluster   bool // show clusters
	Color     bool
	Palette   Palette // zero is the default one
	// Safe is set where the output is a terminal: see [term.AppendSafe].
	Safe bool
	// Spoken is for a screen reader: the default output says the container alone, since the
	// letters of a pod's name are read one by one.
	Spoken bool
	// Highlight marks matches in the message; nil marks none.
	Highlight func(dst, msg []byte) []byte
	// Failed is told of a template that failed on a line. The line is then written
	// as the default output writes it, so that it is not lost.
	Failed func(error)
}

// Outputs are the names that Options.Output takes.
func Outputs() []string {
	return []string{"default", "raw", "json", "extjson", "ppextjson", "jsonl", "logfmt", "prefix"}
}

// A Formatter writes lines in one output. It belongs to one goroutine.
type Formatter struct {
	opts    Options
	clock   clock
	line    func(dst []byte, src *store.Source, l store.Line, msg []byte) []byte
	prefix  [][]byte // by source: what stands before the time
	middle  [][]byte // by source: what stands between parts, or after the message
	scratch []byte
	marked  []byte
}

// New makes the formatter of an output.
func New(opts Options) (*Formatter, error) {
	if len(opts.Palette.Pods) == 0 {
		opts.Palette = ansi()
	}
	c, err := newClock(opts.Timestamps, opts.Location)
	if err != nil {
		return nil, err
	}
	f := &Formatter{opts: opts, clock: c}
	if opts.Template != "" {
		return f, f.useTemplate(opts.Template)
	}
	switch opts.Output {
	case "", "default":
		f.line = f.defaultLine
	case "raw":
		f.line = f.rawLine
	case "json":
		f.line = f.jsonLine
	case "extjson":
		f.line = f.extJSONLine
	case "ppextjson":
		f.line = f.prettyExtJSONLine
	case "jsonl":
		f.line = f.jsonlLine
	case "logfmt":
		f.line = f.logfmtLine
	case "prefix":
		f.line = f.prefixLine
	default:
		return nil, fmt.Errorf("output should be one of '%s', not %q", strings.Join(Outputs(), "', '"), opts.Output)
	}
	if strings.Contains(opts.Output, "json") || opts.Output == "logfmt" {
		f.escape()
	}
	return f, nil
}

// escape makes the outputs that are read by programs safe for a terminal too.
func (f *Formatter) escape() {
	if !f.opts.Safe {
		return
	}
	line := f.line
	f.line = func(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
		return escapeControls(line(dst, src, l, msg), len(dst))
	}
}

// Append writes one line or record, with its newline.
func (f *Formatter) Append(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
	return f.line(dst, src, l, msg)
}

// cached returns what make writes for a source, made once.
func (f *Formatter) cached(table *[][]byte, src *store.Source, write func(dst []byte, src *store.Source) []byte) []byte {
	for src.ID >= len(*table) {
		*table = append(*table, nil)
	}
	if (*table)[src.ID] == nil {
		(*table)[src.ID] = write(make([]byte, 0, 64), src)
	}
	return (*table)[src.ID]
}

// message writes the text of a line, marked and safe as the options say.
func (f *Formatter) message(dst []byte, l store.Line, msg []byte) []byte {
	if l.Flags&store.NoStamp != 0 {
		// stern's words: lines that the kubelet put in between are no container's.
		dst = append(dst, "[missing timestamp] "...)
	} else if f.opts.Highlight != nil {
		f.scratch = f.opts.Highlight(f.scratch[:0], msg)
		msg = f.scratch
	}
	if f.opts.Safe {
		return f.opts.safe(dst, msg)
	}
	return append(dst, msg...)
}

func (o *Options) safe(dst, text []byte) []byte { return term.AppendSafe(dst, text, o.Color) }

func (f *Formatter) time(dst []byte, l store.Line) []byte {
	if f.clock.style == "" || l.Flags&store.NoStamp != 0 || l.Time == 0 {
		return dst
	}
	return append(f.clock.append(dst, l.Time), ' ')
}

// defaultLine: [cluster] [namespace] pod container [time] message.
func (f *Formatter) defaultLine(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
	if src.Kind == store.Local && src.Name == "" {
		return f.rawLine(dst, src, l, msg)
	}
	dst = append(dst, f.cached(&f.prefix, src, f.defaultPrefix)...)
	dst = f.time(dst, l)
	dst = f.message(dst, l, msg)
	return append(dst, '\n')
}

func (f *Formatter) defaultPrefix(dst []byte, src *store.Source) []byte {
	pod, container := f.podColor(src), f.containerColor(src)
	switch {
	case src.Kind == store.Local && f.opts.Spoken:
		return append(append(dst, src.Name...), ": "...)
	case src.Kind == store.Local:
		return append(pod.Append(dst, src.Name), ' ')
	case f.opts.Spoken:
		return append(append(dst, src.Container...), ": "...)
	}
	if f.opts.Cluster {
		dst = append(pod.Append(dst, src.Cluster), ' ')
	}
	if f.opts.Namespace {
		dst = append(pod.Append(dst, src.Namespace), ' ')
	}
	dst = append(pod.Append(dst, src.Pod), ' ')
	return append(container.Append(dst, src.Container), ' ')
}

// prefixLine is the face of `kdev up`: "webui-7d9f8-x2x4j › webui │ message".
func (f *Formatter) prefixLine(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
	if src.Kind == store.Local && src.Name == "" {
		return f.rawLine(dst, src, l, msg)
	}
	dst = append(dst, f.cached(&f.prefix, src, f.prefixPrefix)...)
	dst = f.time(dst, l)
	dst = f.message(dst, l, msg)
	return append(dst, '\n')
}

func (f *Formatter) prefixPrefix(dst []byte, src *store.Source) []byte {
	pod, container := f.podColor(src), f.containerColor(src)
	if src.Kind == store.Local {
		dst = pod.Append(dst, src.Name)
	} else {
		if f.opts.Cluster {
			dst = append(pod.Append(dst, src.Cluster), ' ')
		}
		if f.opts.Namespace {
			dst = append(pod.Append(dst, src.Namespace), ' ')
		}
		dst = append(pod.Append(dst, src.Pod), " › "...)
		dst = container.Append(dst, src.Container)
	}
	return append(dst, " │ "...)
}

// rawLine: [time] message.
func (f *Formatter) rawLine(dst []byte, _ *store.Source, l store.Line, msg []byte) []byte {
	return append(f.message(f.time(dst, l), l, msg), '\n')
}

// jsonLine has stern's keys in stern's order.
func (f *Formatter) jsonLine(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
	dst = append(dst, `{"message":`...)
	if l.Flags&store.NoStamp != 0 {
		f.scratch = append(append(f.scratch[:0], "[missing timestamp] "...), msg...)
		msg = f.scratch
	}
	dst = appendString(dst, msg)
	if f.clock.style != "" && l.Flags&store.NoStamp == 0 && l.Time != 0 {
		dst = append(dst, `,"timestamp":"`...)
		dst = append(f.clock.append(dst, l.Time), '"')
	}
	return append(dst, f.cached(&f.middle, src, jsonTail)...)
}

func jsonTail(dst []byte, src *store.Source) []byte {
	dst = fmt.Appendf(dst, `,"nodeName":%s,"namespace":%s,"podName":%s,"containerName":%s`,
		marshal(src.Node), marshal(src.Namespace), marshal(src.Pod), marshal(src.Container))
	return fmt.Appendf(dst, `,"labels":%s,"annotations":%s}`+"\n", marshal(src.Labels), marshal(src.Annos))
}

// extJSONLine is one object with a JSON message embedded as it is. Its names carry
// no colour, unlike stern's, so that it stays JSON on a terminal.
func (f *Formatter) extJSONLine(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
	dst = append(dst, f.cached(&f.prefix, src, func(dst []byte, src *store.Source) []byte {
		dst = append(dst, '{')
		if f.opts.Namespace {
			dst = fmt.Appendf(dst, `"namespace": %s, `, marshal(src.Namespace))
		}
		return fmt.Appendf(dst, `"pod": %s, "container": %s, "message": `, marshal(src.Pod), marshal(src.Container))
	})...)
	return append(f.embed(dst, l, msg), "}\n"...)
}

func (f *Formatter) prettyExtJSONLine(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
	dst = append(dst, f.cached(&f.prefix, src, func(dst []byte, src *store.Source) []byte {
		dst = append(dst, "{\n"...)
		if f.opts.Namespace {
			dst = fmt.Appendf(dst, "  \"namespace\": %s,\n", marshal(src.Namespace))
		}
		return fmt.Appendf(dst, "  \"pod\": %s,\n  \"container\": %s,\n  \"message\": ", marshal(src.Pod), marshal(src.Container))
	})...)
	return append(f.embed(dst, l, msg), "\n}\n"...)
}

// embed writes the message as it is where it is JSON, else as a string.
func (f *Formatter) embed(dst []byte, l store.Line, msg []byte) []byte {
	if l.Flags&store.NoStamp != 0 {
		f.scratch = append(append(f.scratch[:0], "[missing timestamp] "...), msg...)
		msg = f.scratch
	} else if json.Valid(msg) {
		return append(dst, msg...)
	}
	return appendString(dst, msg)
}

// jsonlLine is kdev's own object: what stern's json lacks (time always, level), in
// camelCase, without labels.
func (f *Formatter) jsonlLine(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
	dst = append(dst, '{')
	if l.Time != 0 {
		dst = append(dst, `"time":"`...)
		dst = append(f.utc(dst, l.Time), `",`...)
	}
	dst = append(dst, f.cached(&f.middle, src, func(dst []byte, src *store.Source) []byte {
		if src.Kind == store.Local {
			dst = fmt.Appendf(dst, `"source":%s`, marshal(src.Name))
		} else {
			if src.Cluster != "" {
				dst = fmt.Appendf(dst, `"context":%s,`, marshal(src.Cluster))
			}
			dst = fmt.Appendf(dst, `"namespace":%s,"pod":%s,"container":%s`, marshal(src.Namespace), marshal(src.Pod), marshal(src.Container))
			if src.Node != "" {
				dst = fmt.Appendf(dst, `,"node":%s`, marshal(src.Node))
			}
		}
		return append(dst, `,`...)
	})...)
	if name := level.Level(l.Level).String(); name != "" {
		dst = append(dst, `"level":"`...)
		dst = append(append(dst, name...), `",`...)
	}
	if l.Flags&store.NoStamp != 0 {
		dst = append(dst, `"from":"kubelet",`...)
	}
	dst = append(dst, `"message":`...)
	return append(quote(dst, msg, false), "}\n"...)
}

func (f *Formatter) utc(dst []byte, ns int64) []byte {
	return time.Unix(0, ns).UTC().AppendFormat(dst, layoutDefault)
}

// logfmtLine: time=… level=… pod=… container=… msg="…".
func (f *Formatter) logfmtLine(dst []byte, src *store.Source, l store.Line, msg []byte) []byte {
	if l.Time != 0 {
		dst = append(dst, "time="...)
		dst = append(f.utc(dst, l.Time), ' ')
	}
	if name := level.Level(l.Level).String(); name != "" {
		dst = append(append(append(dst, "level="...), name...), ' ')
	}
	dst = append(dst, f.cached(&f.middle, src, func(dst []byte, src *store.Source) []byte {
		if src.Kind == store.Local {
			return append(fmt.Appendf(dst, "source=%s", logfmtValue(src.Name)), ' ')
		}
		if src.Cluster != "" {
			dst = fmt.Appendf(dst, "context=%s ", logfmtValue(src.Cluster))
		}
		return fmt.Appendf(dst, "namespace=%s pod=%s container=%s ", src.Namespace, src.Pod, src.Container)
	})...)
	dst = append(dst, "msg="...)
	return append(quote(dst, msg, false), '\n')
}

func logfmtValue(s string) string {
	if strings.ContainsAny(s, " =\"\n") {
		return string(marshal(s))
	}
	return s
}

func (f *Formatter) podColor(src *store.Source) Color {
	if !f.opts.Color {
		return Color{}
	}
	return f.opts.Palette.pod(src.Color)
}

func (f *Formatter) containerColor(src *store.Source) Color {
	if !f.opts.Color {
		return Color{}
	}
	return f.opts.Palette.container(src.ContainerColor)
}
