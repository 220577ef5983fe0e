package logview

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kdev-io/kdev/logs/filter"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/store"
)

// A feed writes lines into a store.
type feed struct {
	store *store.Store
	apps  map[string]*store.Appender
}

func newFeed(limit int64) *feed {
	return &feed{store.New(limit), map[string]*store.Appender{}}
}

func (f *feed) line(pod, text string) {
	app := f.apps[pod]
	if app == nil {
		src := f.store.AddSource(store.Source{Pod: pod, Container: "app", Color: len(f.apps), ContainerColor: len(f.apps)})
		app = f.store.Appender(src)
		f.apps[pod] = app
	}
	n := copy(app.Free(len(text)+1), text)
	app.Grow(n)
	app.Add(store.Line{Time: int64(f.store.Stats().Next) * 1e6}, 0, n)
	app.Consume(n)
	app.CommitNow()
}

func pattern(t testing.TB, expr string) *filter.Pattern {
	t.Helper()
	p, err := filter.Compile(expr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func settle(x *Index, levels *Levels) {
	for levels.Step() {
	}
	for more := true; more; {
		_, more = x.Step()
	}
}

func ids(l List) []uint64 {
	out := make([]uint64, l.Len())
	for i := range out {
		out[i] = l.At(i)
	}
	return out
}

// TestIndexIsWhatAFullScanFinds holds the incremental index against a scan of
// the whole store, while lines come, old ones go and the query changes.
func TestIndexIsWhatAFullScanFinds(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		f := newFeed(60 << 10)
		levels := NewLevels(f.store)
		x := NewIndex(f.store, levels)
		q := Query{}
		for step := range 60 {
			for range r.IntN(300) {
				text := fmt.Sprintf("%s request %d", []string{"INFO", "WARN", "ERROR", "DEBUG"}[r.IntN(4)], r.IntN(50))
				f.line(fmt.Sprintf("pod-%d", r.IntN(3)), text)
				if r.IntN(20) == 0 {
					_ = levels.Step()
					_, _ = x.Step()
				}
			}
			if step%5 == 0 {
				q = Query{}
				if r.IntN(2) == 0 {
					pod := fmt.Sprintf("pod-%d", r.IntN(3))
					q.Show = func(s *store.Source) bool { return s.Pod == pod }
				}
				if r.IntN(2) == 0 {
					q.Level = level.Warn
				}
				if r.IntN(2) == 0 {
					q.Pattern = pattern(t, "request 7")
				}
				st := f.store.Stats()
				x.Set(q, st.First+uint64(r.IntN(int(st.Next-st.First)+1)))
			}
			settle(x, levels)
			if got, want := ids(x.List()), oracle(f.store, levels, q); !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d: %d lines, want %d\n%v\n%v", seed, step, len(got), len(want), got, want)
			}
			if x.Behind() {
				t.Fatalf("seed %d, step %d: behind, though nothing is left to look at", seed, step)
			}
		}
	}
}

func oracle(s *store.Store, levels *Levels, q Query) []uint64 {
	var want []uint64
	st := s.Stats()
	s.Range(st.First, st.Next, func(g *store.Segment) bool {
		for i := range g.Lines {
			l := g.Lines[i]
			id := g.First + uint64(i)
			if q.Show != nil && !q.Show(g.Source) || q.Level != 0 && levels.severity(id, &l) < q.Level ||
				q.Pattern != nil && !q.Pattern.Match(g.Text(l)) {
				continue
			}
			want = append(want, id)
		}
		return true
	})
	return want
}

func TestContextAroundMatches(t *testing.T) {
	f := newFeed(1 << 20)
	levels := NewLevels(f.store)
	x := NewIndex(f.store, levels)
	for i := 1; i <= 40; i++ {
		text := "plain"
		if i == 10 || i == 12 || i == 30 {
			text = "hit"
		}
		f.line("web", text)
		if i == 11 {
			x.Set(Query{Pattern: pattern(t, "hit"), Context: 2}, 5) // begins in the middle, before all is there
			settle(x, levels)
		}
	}
	settle(x, levels)
	want := []uint64{8, 9, 10, 11, 12, 13, 14, 28, 29, 30, 31, 32}
	if got := ids(x.List()); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSearchBeginsOnTheScreen(t *testing.T) {
	f := newFeed(64 << 20)
	levels := NewLevels(f.store)
	for i := range 50_000 {
		f.line("web", fmt.Sprintf("line %d", i))
	}
	x := NewIndex(f.store, levels)
	x.Set(Query{Pattern: pattern(t, "line")}, 40_000)
	if changed, _ := x.Step(); !changed {
		t.Fatal("the first step found nothing")
	}
	if got := x.List(); got.Len() != block || got.At(got.Len()-1) != 39_999 {
		t.Errorf("%d lines up to %d, want the block before the anchor", got.Len(), got.At(got.Len()-1))
	}
}
