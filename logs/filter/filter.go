package filter

import "github.com/kdev-io/kdev/logs/store"

// Options say what is shown.
type Options struct {
	Lines
}

// A Filter decides over the lines of many sources. It belongs to one goroutine.
type Filter struct {
	opts Options
}

// New makes a filter.
func New(opts Options) *Filter { return &Filter{opts: opts} }

// Match says whether a line is shown.
func (f *Filter) Match(_ *store.Source, l *store.Line, msg []byte) bool {
	if f.opts.All() || l.Flags&store.NoStamp != 0 {
		return true
	}
	return f.opts.Lines.Match(msg)
}
