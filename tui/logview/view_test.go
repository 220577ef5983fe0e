package logview

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/kdev-io/kdev/logs/store"
)

func newView(f *feed, width, height int) (*View, *Index, *Levels) {
	levels := NewLevels(f.store)
	v := NewView(f.store, levels)
	v.SetLook(Look{Width: width, Version: 1})
	v.SetHeight(height)
	return v, NewIndex(f.store, levels), levels
}

func TestFollowAndScroll(t *testing.T) {
	f := newFeed(1 << 20)
	v, x, _ := newView(f, 40, 3)
	if got := v.Rows(x.List()); len(got) != 3 || strings.Join(got, "") != "" {
		t.Errorf("an empty store shows %q", got)
	}
	for i := range 10 {
		f.line("web", fmt.Sprint("line ", i))
	}
	show := func(want ...string) {
		t.Helper()
		if got := v.Rows(x.List()); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("shows %q, want %q", got, want)
		}
	}
	show("line 7", "line 8", "line 9")
	v.Scroll(x.List(), -2)
	show("line 5", "line 6", "line 7")
	f.line("web", "line 10")
	show("line 5", "line 6", "line 7")
	if n := v.Below(x.List()); n != 3 {
		t.Errorf("%d lines below, want 3", n)
	}
	v.Scroll(x.List(), 1)
	show("line 6", "line 7", "line 8")
	v.Scroll(x.List(), 100)
	show("line 8", "line 9", "line 10")
	if !v.Following() {
		t.Error("the end was reached, and it does not follow")
	}
	v.Home(x.List())
	show("line 0", "line 1", "line 2")
	v.Scroll(x.List(), -5)
	show("line 0", "line 1", "line 2")
}

func TestWrappedRowsScrollOneByOne(t *testing.T) {
	f := newFeed(1 << 20)
	v, x, _ := newView(f, 10, 3)
	v.SetLook(Look{Width: 10, Wrap: true, Version: 2})
	f.line("web", "first")
	f.line("web", "0123456789abcdefghij0123456789")
	show := func(want ...string) {
		t.Helper()
		if got := v.Rows(x.List()); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("shows %q, want %q", got, want)
		}
	}
	show("0123456789", "abcdefghij", "0123456789")
	v.Scroll(x.List(), -1)
	show("first", "0123456789", "abcdefghij")
	f.line("web", "more")
	show("first", "0123456789", "abcdefghij")
	v.Scroll(x.List(), 1)
	show("0123456789", "abcdefghij", "0123456789")
	v.Scroll(x.List(), 1)
	show("abcdefghij", "0123456789", "more")
	if !v.Following() {
		t.Error("does not follow at the end")
	}
}

// TestSeverityThatComesLate: a line that was on the screen before anybody had
// looked at its severity is drawn again once it is known.
func TestSeverityThatComesLate(t *testing.T) {
	f := newFeed(1 << 20)
	v, x, levels := newView(f, 40, 2)
	v.SetLook(Look{Width: 40, Color: true, Error: "\x1b[31m", NameWidth: 3, Name: func(s *store.Source) string { return s.Pod }, Version: 2})
	f.line("api", "Traceback (most recent call last):")
	f.line("api", "KeyError: 'x'")
	early := strings.Join(v.Rows(x.List()), "|")
	if strings.Contains(early, "┆") || strings.Contains(early, "\x1b[31m") {
		t.Fatalf("knows what nobody has looked at: %q", early)
	}
	settle(x, levels)
	late := v.Rows(x.List())
	if !strings.Contains(late[0], "\x1b[31m") || !strings.Contains(late[1], "┆") {
		t.Errorf("shows %q still", late)
	}
}

// TestRowsFit throws everything at the drawing: no row is wider than the
// screen, none holds a control sequence but colour, and there are always as
// many as the screen has.
func TestRowsFit(t *testing.T) {
	pieces := []string{"a", "wörld", "日本語", "👩‍👩‍👧", "\x1b[31mred", "\x1b[0m", "\x1b[2J", "\x1b]0;title\x07", "\t", "\r", "\x9b31m", "\u202e", `{"level":"error","msg":"x","n":[1,2,{"a":null}]}`, " ERROR ", "0123456789", "\xff\xfe"}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		f := newFeed(1 << 20)
		width, height := 12+r.IntN(60), 1+r.IntN(20)
		v, x, levels := newView(f, width, height)
		for range r.IntN(30) {
			var b strings.Builder
			for range r.IntN(12) {
				b.WriteString(pieces[r.IntN(len(pieces))])
			}
			f.line(fmt.Sprintf("pod-%d", r.IntN(3)), b.String())
		}
		settle(x, levels)
		look := Look{Width: width, Wrap: r.IntN(2) == 0, Stamps: Stamps(r.IntN(3)), Pretty: r.IntN(2) == 0, Color: r.IntN(2) == 0,
			Faint: "\x1b[2m", Error: "\x1b[31m", Mark: "\x1b[7m", Version: 2, Name: func(s *store.Source) string { return s.Pod }}
		if width > 40 {
			look.NameWidth = r.IntN(8)
		}
		if r.IntN(2) == 0 {
			look.Pattern = pattern(t, "[a-z]+l|1")
		}
		v.SetLook(look)
		for range 5 {
			v.Scroll(x.List(), r.IntN(20)-10)
			rows := v.Rows(x.List())
			if len(rows) != height {
				t.Fatalf("seed %d: %d rows, want %d", seed, len(rows), height)
			}
			for _, row := range rows {
				if w := ansi.StringWidth(row); w > max(width, 8+look.NameWidth+3+13) {
					t.Fatalf("seed %d: a row is %d wide, want at most %d: %q", seed, w, width, row)
				}
				if rest := ansi.Strip(row); strings.ContainsAny(rest, "\x1b\r\n\t\x07") {
					t.Fatalf("seed %d: control characters in %q", seed, row)
				}
			}
		}
	}
}

func TestErrorsAreFound(t *testing.T) {
	f := newFeed(1 << 20)
	v, x, levels := newView(f, 40, 4)
	for i := range 100 {
		f.line("web", fmt.Sprint("INFO line ", i))
		if i == 20 || i == 60 {
			f.line("web", "Traceback (most recent call last):")
			f.line("web", "  File \"x.py\", line 3")
			f.line("web", "KeyError: 'x'")
		}
	}
	settle(x, levels)
	v.Rows(x.List())
	last := v.NextError(x.List(), -1)
	v.SetCursor(x.List(), last)
	rows := strings.Join(v.Rows(x.List()), "|")
	if !strings.Contains(rows, "Traceback") {
		t.Errorf("the error is not on the screen: %s", rows)
	}
	first := v.NextError(x.List(), -1)
	if last <= first || first == 0 {
		t.Errorf("errors at %d and %d", first, last)
	}
	v.SetCursor(x.List(), first)
	if again := v.NextError(x.List(), 1); again != last {
		t.Errorf("the next one is %d, want %d", again, last)
	}
	if none := v.NextError(x.List(), -1); none != 0 {
		t.Errorf("found %d before the first one", none)
	}
}

func TestResizeKeepsTheLine(t *testing.T) {
	f := newFeed(1 << 20)
	v, x, _ := newView(f, 20, 5)
	for i := range 200 {
		f.line("web", fmt.Sprintf("%03d %s", i, strings.Repeat("x", i%50)))
	}
	v.SetLook(Look{Width: 20, Wrap: true, Version: 3})
	v.Home(x.List())
	v.Scroll(x.List(), 61)
	v.Rows(x.List())
	top := v.LineAt(0)
	v.SetLook(Look{Width: 60, Wrap: true, Version: 4})
	v.Rows(x.List())
	if got := v.LineAt(0); got != top {
		t.Errorf("line %d is on top, want %d", got, top)
	}
}
