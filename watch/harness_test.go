package watch

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/tree"
)

// A subject is a watcher on a temporary tree, with a copy of the tree that only
// its batches have made.
type subject struct {
	t    testing.TB
	root string
	w    *Watcher
	x    *tree.Index

	mu       sync.Mutex
	arrived  *sync.Cond
	copy     map[string]state
	batches  []Batch
	notices  []Notice
	complain string
}

// state is what a copy holds of a path: enough to tell two versions apart.
type state struct {
	mode    fs.FileMode
	content string // of a file; target of a link
}

// watch arms a watcher on root. Its consumer reads contents itself, as sync
// would, when a batch names a path.
func watch(t testing.TB, o Options, change ...func(*Watcher)) *subject {
	t.Helper()
	if o.Index == nil {
		x, err := tree.Open(o.Root)
		if err != nil {
			t.Fatal(err)
		}
		o.Index = x
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(w)
	}
	s := &subject{t: t, root: o.Index.Root(), w: w, x: o.Index, copy: map[string]state{}}
	s.arrived = sync.NewCond(&s.mu)
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	t.Cleanup(func() { cancel(); ended.Wait() })
	ended.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	ended.Go(func() {
		for n := range w.Notices() {
			s.mu.Lock()
			s.notices = append(s.notices, n)
			s.arrived.Broadcast()
			s.mu.Unlock()
		}
	})
	select {
	case <-w.Armed():
	case <-time.After(time.Minute):
		t.Fatal("not armed")
	}
	for p, st := range s.tree() {
		s.copy[p] = st
	}
	ended.Go(func() {
		for b := range w.Batches() {
			s.take(b)
		}
	})
	return s
}

// take applies a batch to the copy.
func (s *subject) take(b Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.batches); n > 0 && b.Generation <= s.batches[n-1].Generation {
		s.complain = fmt.Sprintf("generation %d after %d", b.Generation, s.batches[n-1].Generation)
	}
	s.batches = append(s.batches, b)
	for _, c := range b.Changes {
		if c.Op == Remove {
			delete(s.copy, c.Path)
			continue
		}
		if st, ok := s.consult(c.Path); ok {
			s.copy[c.Path] = st
		}
	}
	s.arrived.Broadcast()
}

// consult reads a file as a consumer should: the index is told what was seen,
// and content counts only when it belongs to one state.
func (s *subject) consult(p string) (state, bool) {
	for {
		before, ok, err := s.x.Stat(p)
		if !ok || err != nil {
			return state{}, false
		}
		st, there := read(s.root, p)
		after, _, _ := s.x.Stat(p)
		if before.IsDir() && after.Mode == before.Mode {
			return state{mode: before.Mode}, true
		}
		if there && before == after {
			st.mode = before.Mode
			return st, true
		}
	}
}

func read(root, p string) (state, bool) {
	abs := filepath.Join(root, p)
	info, err := os.Lstat(abs)
	if err != nil {
		return state{}, false
	}
	st := state{mode: info.Mode()}
	switch {
	case info.Mode().IsRegular():
		text, err := os.ReadFile(abs)
		if err != nil {
			return state{}, false
		}
		st.content = string(text)
	case info.Mode()&fs.ModeSymlink != 0:
		st.content, _ = os.Readlink(abs)
	}
	return st, true
}

// tree is what is really there and watched.
func (s *subject) tree() map[string]state { return s.treeBelow(".") }

func (s *subject) treeBelow(dir string) map[string]state {
	real := map[string]state{}
	top := filepath.Join(s.root, dir)
	err := filepath.WalkDir(top, func(abs string, d fs.DirEntry, err error) error {
		if err != nil || abs == top {
			return err
		}
		p, _ := relative(s.root, abs)
		if s.w.filter.drops(p, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if st, ok := read(s.root, p); ok {
			real[p] = st
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return real
}

// patience is how long a test waits for what must come; it is no measurement.
const patience = 30 * time.Second

// equal waits until the copy is the tree.
func (s *subject) equal(format string, args ...any) {
	s.t.Helper()
	want := s.tree()
	s.until(func() bool { return s.complain != "" || same(s.copy, want) }, func() string {
		return fmt.Sprintf(format, args...) + ": the copy differs: " + difference(s.copy, want) + s.complain
	})
	if s.complain != "" {
		s.t.Fatal(s.complain)
	}
}

// until waits for a condition on what has been delivered.
func (s *subject) until(done func() bool, why func() string) {
	s.t.Helper()
	deadline := time.AfterFunc(patience, s.arrived.Broadcast)
	defer deadline.Stop()
	end := time.Now().Add(patience)
	s.mu.Lock()
	defer s.mu.Unlock()
	for !done() {
		if time.Now().After(end) {
			s.t.Fatal(why())
		}
		s.arrived.Wait()
	}
}

// eventually waits for what nobody announces.
func (s *subject) eventually(what string, done func() bool) {
	s.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(end) {
			s.t.Fatal("never: " + what)
		}
	}
}

// notice waits for a notice with a code and returns its text.
func (s *subject) notice(code string) string {
	s.t.Helper()
	var text string
	s.until(func() bool {
		for _, n := range s.notices {
			if n.Code == code {
				text = n.Text
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("no notice %s, only %v", code, s.notices) })
	return text
}

// told is how many notices with a code there were so far.
func (s *subject) told(code string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, notice := range s.notices {
		if notice.Code == code {
			n++
		}
	}
	return n
}

// ops waits for equality and returns the changes since the last call, summed up
// per path over the batches.
func (s *subject) ops(format string, args ...any) map[string]Op {
	s.t.Helper()
	s.equal(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := newPending()
	for _, b := range s.batches {
		for _, c := range b.Changes {
			p.add(c.Path, c.Op, c.Entry)
		}
	}
	s.batches = s.batches[len(s.batches):]
	out := map[string]Op{}
	for _, c := range p.changes {
		out[c.Path] = c.Op
	}
	return out
}

func same(a, b map[string]state) bool {
	if len(a) != len(b) {
		return false
	}
	for p, st := range a {
		if b[p] != st {
			return false
		}
	}
	return true
}

func difference(got, want map[string]state) string {
	var out []string
	for p, st := range want {
		if g, ok := got[p]; !ok {
			out = append(out, "missing "+p)
		} else if g != st {
			out = append(out, fmt.Sprintf("stale %s: %v %.20q, want %v %.20q", p, g.mode, g.content, st.mode, st.content))
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			out = append(out, "not removed "+p)
		}
	}
	slices.Sort(out)
	return fmt.Sprintf("%d paths: %s\n", len(out), strings.Join(out[:min(10, len(out))], "; "))
}

func (s *subject) abs(p string) string { return filepath.Join(s.root, filepath.FromSlash(p)) }

func (s *subject) write(p, content string) { s.t.Helper(); put(s.t, s.root, p, content) }

func (s *subject) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// put writes a file below root, with its directories.
func put(t testing.TB, root, p, content string) {
	t.Helper()
	abs := filepath.Join(root, filepath.FromSlash(p))
	if err := os.MkdirAll(path.Dir(abs), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(abs, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// deaf hears nothing: what is seen is seen without events.
type deaf struct{ sink }

func (deaf) event(string, mark) {}

func deafen(w *Watcher) {
	open := w.open
	w.open = func(s sink) (source, error) { return open(deaf{s}) }
}
