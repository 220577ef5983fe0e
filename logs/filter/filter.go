package filter

import (
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// Options say what is shown.
type Options struct {
	Lines
	// Level shows records of this severity and above. A record that does not say its
	// severity counts as info. It implies Records.
	Level level.Level
	// Records makes Include and Exclude look at whole records: a traceback of which one
	// line matches is shown whole, one whose first line is excluded goes whole.
	Records bool
	// Before and After show so many lines of the same source around each one shown.
	Before, After int
	// Levels finds the level of each line that is shown, for outputs that show it.
	Levels bool
}

// An Emit is given a line that is shown. The message is valid until it returns.
type Emit func(src *store.Source, l store.Line, msg []byte)

// A Filter decides over the lines of many sources. It belongs to one goroutine.
type Filter struct {
	opts    Options
	sources []*memory
}

// New makes a filter.
func New(opts Options) *Filter {
	opts.Records = opts.Records || opts.Level != level.Unknown
	return &Filter{opts: opts}
}

// Simple says that a line can be judged by itself, with [Filter.Match].
func (f *Filter) Simple() bool {
	o := &f.opts
	return !o.Records && o.Before == 0 && o.After == 0 && !o.Levels
}

// Match says whether a line is shown, where the filter is simple.
func (f *Filter) Match(l *store.Line, msg []byte) bool {
	return f.opts.All() || l.Flags&store.NoStamp != 0 || f.opts.Lines.Match(msg)
}

// A memory is what the filter keeps of one source.
type memory struct {
	group    level.Grouper
	level    level.Level // of the current record
	shown    bool        // a line of the current record matched
	excluded bool        // the current record goes
	after    int         // lines still to be shown behind the last match
	held     []held      // lines not shown that may yet be: of the record, and before it
	record   int         // index in held of the current record's first line
}

type held struct {
	line store.Line
	text []byte
}

// maxRecord bounds how many lines of one record wait for one that matches.
const maxRecord = 1000

// Push takes the next line of a source and emits what is to be shown because of it:
// the line itself, and lines before it that were held.
func (f *Filter) Push(src *store.Source, l store.Line, msg []byte, emit Emit) {
	o := &f.opts
	m := f.memory(src)
	if l.Flags&store.NoStamp != 0 {
		emit(src, l, msg) // of the kubelet, not of the program: never filtered
		return
	}
	continues, lv := m.group.Next(msg)
	if l.Level != 0 {
		lv = level.Level(l.Level) // its source knows
	}
	if continues {
		l.Flags |= store.Continues
	} else {
		m.shown, m.excluded = false, false
		m.record = len(m.held)
	}
	m.level = lv
	l.Level = uint8(lv)
	switch {
	case f.matches(m, msg):
		m.release(src, o, emit)
		emit(src, l, msg)
		m.shown = true
		m.after = o.After
	case m.excluded || !o.Records && o.excludes(msg):
		// Not wanted is not wanted: it is no context of others either.
	case m.after > 0:
		m.after--
		emit(src, l, msg)
	default:
		m.hold(o, l, msg)
	}
}

// matches says whether a line is shown for its own sake.
func (f *Filter) matches(m *memory, msg []byte) bool {
	o := &f.opts
	if o.Level != level.Unknown && infoIfUnknown(m.level) < o.Level {
		return false
	}
	if !o.Records {
		return o.Lines.Match(msg)
	}
	if !m.excluded && o.excludes(msg) {
		m.excluded = true
	}
	return !m.excluded && (m.shown || o.includes(msg))
}

func infoIfUnknown(l level.Level) level.Level {
	if l == level.Unknown {
		return level.Info
	}
	return l
}

// hold keeps a line that is not shown as long as a later one may want it.
func (m *memory) hold(o *Options, l store.Line, msg []byte) {
	if o.Before == 0 && !o.Records {
		return
	}
	// Buffers go round: what falls out in front is written again.
	var text []byte
	keep := o.Before
	if o.Records {
		keep += min(len(m.held)-m.record+1, maxRecord)
	}
	for len(m.held) > 0 && len(m.held) >= keep {
		text = m.held[0].text
		copy(m.held, m.held[1:])
		m.held = m.held[:len(m.held)-1]
		m.record = max(m.record-1, 0)
	}
	if keep > 0 {
		m.held = append(m.held, held{l, append(text[:0], msg...)})
	}
}

// release emits what was held before a line that is shown: the record that it
// belongs to, and the lines before.
func (m *memory) release(src *store.Source, o *Options, emit Emit) {
	from := 0
	if o.Records {
		from = max(0, m.record-o.Before)
	} else {
		from = max(0, len(m.held)-o.Before)
	}
	for _, h := range m.held[from:] {
		emit(src, h.line, h.text)
	}
	m.held, m.record = m.held[:0], 0
}

func (f *Filter) memory(src *store.Source) *memory {
	for src.ID >= len(f.sources) {
		f.sources = append(f.sources, nil)
	}
	if f.sources[src.ID] == nil {
		f.sources[src.ID] = &memory{}
	}
	return f.sources[src.ID]
}
