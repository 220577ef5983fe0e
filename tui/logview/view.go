package logview

import (
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// cachedLines bounds the rows that are kept: some forty screens.
const cachedLines = 2000

// A View is the part of a list that is on the screen. It belongs to one
// goroutine.
type View struct {
	store  *store.Store
	levels *Levels
	look   Look
	height int

	follow bool
	top    uint64 // line of the first row, when not following
	sub    int    // rows of it that are above the screen
	cursor uint64 // line that a search or a click chose; 0 is none

	rows  map[uint64][]string
	draw  drawer
	shown []uint64 // line of each row on the screen; 0 for none
}

// NewView follows the newest lines.
func NewView(s *store.Store, levels *Levels) *View {
	return &View{store: s, levels: levels, follow: true, rows: map[uint64][]string{}}
}

// SetLook changes how lines are drawn.
func (v *View) SetLook(l Look) {
	if l.Version != v.look.Version || l.Width != v.look.Width {
		clear(v.rows)
		v.sub = 0
	}
	v.look = l
}

// SetHeight changes how many rows there are.
func (v *View) SetHeight(h int) { v.height = max(1, h) }

// Following says whether the newest line is kept in sight.
func (v *View) Following() bool { return v.follow }

// Follow shows the newest lines from now on.
func (v *View) Follow() { v.follow, v.sub = true, 0 }

// Cursor is the line that a search or a click chose; 0 is none.
func (v *View) Cursor() uint64 { return v.cursor }

// SetCursor chooses a line and brings it into sight.
func (v *View) SetCursor(list List, id uint64) {
	v.forget(v.cursor)
	v.forget(id)
	v.cursor = id
	if id == 0 {
		return
	}
	for _, on := range v.shown {
		if on == id {
			v.hold(list)
			return
		}
	}
	i := list.Find(id)
	v.follow = false
	v.top, v.sub = id, 0
	if i < list.Len() {
		v.top = list.At(i)
	}
	v.Scroll(list, -v.height/3)
}

func (v *View) forget(id uint64) { delete(v.rows, id) }

// LineAt is the line of a row on the screen, counted from 0; 0 is none.
func (v *View) LineAt(row int) uint64 {
	if row < 0 || row >= len(v.shown) {
		return 0
	}
	return v.shown[row]
}

// Bottom is the newest line on the screen; 0 when there is none.
func (v *View) Bottom() uint64 {
	for i := len(v.shown) - 1; i >= 0; i-- {
		if v.shown[i] != 0 {
			return v.shown[i]
		}
	}
	return 0
}

// Anchor is a line on the screen from which a new search should begin; 0 is the
// newest.
func (v *View) Anchor() uint64 {
	if v.follow {
		return 0
	}
	return v.Bottom() + 1
}

// Below is how many lines are newer than what is on the screen.
func (v *View) Below(list List) int {
	if v.follow {
		return 0
	}
	return max(0, list.Len()-list.Find(v.Bottom()+1))
}

// Rows is the screen: exactly height rows.
func (v *View) Rows(list List) []string {
	out := make([]string, 0, v.height)
	v.shown = v.shown[:0]
	if v.follow {
		v.fromEnd(list)
	}
	if !v.follow && list.Len() > 0 {
		v.fill(list)
	}
	sub := v.sub
	for i := list.Find(v.top); i < list.Len() && len(out) < v.height; i++ {
		id := list.At(i)
		rows := v.line(id)
		if id == v.top {
			rows = rows[min(sub, len(rows)-1):]
		}
		for _, r := range rows {
			if len(out) == v.height {
				break
			}
			out = append(out, r)
			v.shown = append(v.shown, id)
		}
	}
	for len(out) < v.height {
		out = append(out, "")
		v.shown = append(v.shown, 0)
	}
	return out
}

// fromEnd puts the newest lines on the screen.
func (v *View) fromEnd(list List) {
	left := v.height
	v.top, v.sub = 0, 0
	for i := list.Len() - 1; i >= 0 && left > 0; i-- {
		v.top = list.At(i)
		n := len(v.line(v.top))
		v.sub = max(0, n-left)
		left -= n
	}
}

// fill pulls older lines down where what follows the first row leaves room: the
// list has become shorter, or the screen larger.
func (v *View) fill(list List) {
	left := v.height + v.sub
	for i := list.Find(v.top); i < list.Len(); i++ {
		if left -= len(v.line(list.At(i))); left <= 0 {
			return
		}
	}
	v.fromEnd(list)
}

// hold stops following, with the screen as it is.
func (v *View) hold(list List) {
	if v.follow {
		v.fromEnd(list)
		v.follow = false
	}
}

// Scroll moves the screen by rows, down where n is positive. At the newest line
// it follows again.
func (v *View) Scroll(list List, n int) {
	if list.Len() == 0 || n > 0 && v.follow {
		return
	}
	v.hold(list)
	i := min(list.Find(v.top), list.Len()-1)
	if id := list.At(i); id != v.top { // it was dropped, or is no longer shown
		v.top, v.sub = id, 0
	}
	v.sub += n
	for v.sub < 0 && i > 0 {
		i--
		v.sub += len(v.line(list.At(i)))
	}
	for h := len(v.line(list.At(i))); v.sub >= h && i < list.Len()-1; h = len(v.line(list.At(i))) {
		v.sub -= h
		i++
	}
	v.top = list.At(i)
	v.sub = max(0, min(v.sub, len(v.line(v.top))-1))
	if n > 0 && v.atEnd(list, i) {
		v.Follow()
	}
}

// atEnd says whether what starts at the i-th line reaches the newest one.
func (v *View) atEnd(list List, i int) bool {
	left := v.height + v.sub
	for ; i < list.Len(); i++ {
		if left -= len(v.line(list.At(i))); left < 0 {
			return false
		}
	}
	return true
}

// Home shows the oldest lines.
func (v *View) Home(list List) {
	v.follow, v.sub = false, 0
	v.top = 0
	if list.Len() > 0 {
		v.top = list.At(0)
	}
}

// Next is the line of the list after the cursor, or before it, in the direction
// of step; 0 where there is none. Without a cursor the screen's end counts.
func (v *View) Next(list List, step int) uint64 {
	from := v.cursor
	if from == 0 {
		from = v.Bottom() + 1
		if step > 0 && len(v.shown) > 0 {
			from = max(v.shown[0], 1) - 1
		}
	}
	i := list.Find(from)
	if step > 0 {
		if i < list.Len() && list.At(i) == from {
			i++
		}
	} else {
		i--
	}
	if i < 0 || i >= list.Len() {
		return 0
	}
	return list.At(i)
}

// NextError is the first line of a record of severity error that the list shows
// beyond the cursor; 0 where there is none.
func (v *View) NextError(list List, step int) uint64 {
	from := v.cursor
	if from == 0 {
		from = v.Bottom() + 1
	}
	i := list.Find(from)
	if step < 0 || i < list.Len() && list.At(i) == from {
		i += step
	}
	for ; i >= 0 && i < list.Len(); i += step {
		if lv, goesOn := v.levels.Of(list.At(i)); lv >= level.Error && !goesOn {
			return list.At(i)
		}
	}
	return 0
}

// line draws a line, or takes the rows that were drawn before.
func (v *View) line(id uint64) []string {
	if rows, ok := v.rows[id]; ok {
		return rows
	}
	if len(v.rows) >= cachedLines {
		clear(v.rows)
	}
	rows := []string{""}
	known := id < v.levels.Seen() // before it is drawn: a severity found meanwhile is for the next frame
	v.store.Range(id, id+1, func(g *store.Segment) bool {
		lv, goesOn := v.levels.Of(id)
		if l := level.Level(g.Lines[0].Level); l != level.Unknown {
			lv = l
		}
		rows = v.draw.rows(&v.look, g.Source, g.Lines[0], g.Text(g.Lines[0]), v.before(id), lv, goesOn, id == v.cursor)
		return true
	})
	if known {
		v.rows[id] = rows
	}
	return rows
}

// before is the time of the line above, where times are differences.
func (v *View) before(id uint64) (at int64) {
	if v.look.Stamps == DeltaStamps {
		v.store.Range(id-1, id, func(g *store.Segment) bool {
			at = g.Lines[0].Time
			return true
		})
	}
	return at
}
