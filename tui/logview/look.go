package logview

import (
	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/store"
)

// Stamps says which time stands before a line.
type Stamps int

// Times before lines: none, of the day, since the line above.
const (
	NoStamps Stamps = iota
	ClockStamps
	DeltaStamps
)

// A Look is how lines are drawn. Rows that were drawn with another one are
// drawn anew.
type Look struct {
	Width   int
	Wrap    bool
	Stamps  Stamps
	Pretty  bool // objects of JSON over several rows
	Color   bool // of programs' own SGR sequences
	Palette format.Palette
	// Name is what stands before a line of a source, and its colour's index in
	// the palette; "" is nothing.
	Name func(*store.Source) string
	// NameWidth is the width of the column of names; 0 leaves it out.
	NameWidth int
	// Pattern marks its matches; nil marks none.
	Pattern *filter.Pattern
	// The SGR sequences of marks, levels and faint text, each without its end;
	// empty ones colour nothing.
	Mark, Current, Faint, Warn, Error, Notice string
	// Version changes when anything above does.
	Version int
}
