package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/tree"
)

func TestSum(t *testing.T) {
	for _, c := range []struct {
		ops  string // first letters: create, write, remove, modes
		want Op
	}{
		{"c", Create}, {"cw", Create}, {"cm", Create}, {"cr", ""}, {"crc", Create},
		{"w", Write}, {"ww", Write}, {"wm", Write}, {"mw", Write}, {"wr", Remove},
		{"m", Chmod}, {"mm", Chmod}, {"mr", Remove},
		{"rc", Write}, {"rcr", Remove}, {"rcm", Write},
	} {
		p := newPending()
		for _, op := range c.ops {
			p.add("f", map[rune]Op{'c': Create, 'w': Write, 'r': Remove, 'm': Chmod}[op], tree.Entry{})
		}
		if got := p.changes["f"].Op; got != c.want {
			t.Errorf("%s: %q, want %q", c.ops, got, c.want)
		}
	}
}

func TestFlushTime(t *testing.T) {
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name           string
		first, last    int
		released, want int
		quiet          time.Duration
	}{
		{"one save", 0, 0, -1, 5, quietFew},
		{"its second write", 0, 3, -1, 8, quietFew},
		{"many files", 0, 40, -1, 60, quietMany},
		{"events that do not end", 0, 249, -1, 250, quietMany},
		{"late", 0, 400, -1, 250, quietMany},
		{"git has ended", 0, 1000, 1001, 1051, quietMany},
		{"and its events still come", 0, 1045, 1001, 1065, quietMany},
		{"for long", 0, 1300, 1001, 1251, quietMany},
		{"a storm", 0, 180, -1, 230, quietStorm},
		{"a storm that does not end", 0, 249, -1, 250, quietStorm},
	} {
		l := load{first: at(c.first), last: at(c.last)}
		var released time.Time
		if c.released >= 0 {
			released = at(c.released)
		}
		if got := flushTime(l, released, c.quiet); !got.Equal(at(c.want)) {
			t.Errorf("%s: %v after the first event, want %d ms", c.name, got.Sub(begin), c.want)
		}
	}
}

// One file that changes for ever, each time just too late for the batch before, ends in
// few batches; other files, and saves that come one at a time, never wait for it.
func TestStorm(t *testing.T) {
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	flush := func(s *storm, first, last int, paths ...string) {
		dirty := map[string]mark{}
		for _, p := range paths {
			dirty[p] = look
		}
		s.flushed(load{dirty: dirty, first: at(first), last: at(last)})
	}
	for _, c := range []struct {
		name    string
		flushes func(*storm)
		first   int
		paths   []string
		want    bool
	}{
		{"the first save", func(*storm) {}, 0, []string{"a"}, false},
		{"a formatter after it", func(s *storm) { flush(s, 0, 0, "a") }, 15, []string{"a"}, false},
		{"the second time", func(s *storm) { flush(s, 0, 0, "a"); flush(s, 15, 15, "a") }, 30, []string{"a"}, false},
		{"the third", func(s *storm) { flush(s, 0, 0, "a"); flush(s, 15, 15, "a"); flush(s, 30, 30, "a") }, 45, []string{"a"}, true},
		{"beside another", func(s *storm) { flush(s, 0, 0, "a"); flush(s, 15, 15, "a"); flush(s, 30, 30, "a", "b") }, 45, []string{"a", "c"}, true},
		{"another file", func(s *storm) { flush(s, 0, 0, "a"); flush(s, 15, 15, "a"); flush(s, 30, 30, "a") }, 45, []string{"b"}, false},
		{"after a pause", func(s *storm) { flush(s, 0, 0, "a"); flush(s, 15, 15, "a"); flush(s, 30, 30, "a") }, 60, []string{"a"}, false},
		{"a pause in between", func(s *storm) { flush(s, 0, 0, "a"); flush(s, 40, 40, "a"); flush(s, 55, 55, "a") }, 70, []string{"a"}, false},
		{"after the cap", func(s *storm) {
			flush(s, 0, 0, "a")
			flush(s, 15, 15, "a")
			flush(s, 30, 30, "a")
			flush(s, 45, 290, "a")
		}, 300, []string{"a"}, true},
		{"a checkout in between", func(s *storm) {
			flush(s, 0, 0, "a")
			flush(s, 15, 15, "a")
			flush(s, 30, 30, "a", "b", "c", "d", "e")
		}, 45, []string{"a"}, false},
	} {
		s := &storm{}
		c.flushes(s)
		if got := s.on(c.paths, at(c.first)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A mode that changed waits longer than a save; with a save beside it it does not.
func TestOnlyModes(t *testing.T) {
	root := t.TempDir()
	put(t, root, "f", "text")
	put(t, root, "g", "text")
	x, err := tree.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, p := range []string{"f", "g"} {
		if _, ok, err := x.Stat(p); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	w, err := New(Options{Index: x})
	if err != nil {
		t.Fatal(err)
	}
	quiet := func(paths ...string) time.Duration {
		for _, p := range paths {
			w.intake.mark(p, look)
		}
		_, _, l := w.intake.peek()
		at, _ := w.flushAt(l.last)
		return at.Sub(l.last)
	}
	if got := quiet("f"); got != quietFew {
		t.Errorf("nothing differs: %v", got)
	}
	if err := os.Chmod(filepath.Join(root, "f"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := quiet("f"); got != quietStorm {
		t.Errorf("the mode differs: %v", got)
	}
	put(t, root, "g", "longer text")
	if got := quiet("f", "g"); got != quietFew {
		t.Errorf("the mode, and another file's content: %v", got)
	}
}

// Most editors truncate a file and write it. The loop often wakes in between, and is
// not woken again by the second half.
func TestHalfDoneSave(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(root, "f")
	save := func(content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	save("whole")
	x, err := tree.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if _, ok, err := x.Stat("f"); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	w, err := New(Options{Index: x})
	if err != nil {
		t.Fatal(err)
	}
	w.intake.mark("f", look|written)
	_, _, l := w.intake.peek()
	if at, due := w.flushAt(l.last); !due || !at.Equal(l.last.Add(quietFew)) {
		t.Errorf("whole: %v after the event, want %v", at.Sub(l.last), quietFew)
	}
	save("")
	now := l.last
	for range int(quietMany/halfEvery) - 1 {
		at, due := w.flushAt(now)
		if !due || !at.Equal(now.Add(halfEvery)) {
			t.Fatalf("truncated: looked at again after %v, want %v", at.Sub(now), halfEvery)
		}
		now = at
	}
	if at, _ := w.flushAt(now); !at.Equal(l.last.Add(quietMany)) {
		t.Errorf("truncated for good: %v after the event, want %v", at.Sub(l.last), quietMany)
	}
	save("whole again")
	w.intake.mark("f", look|written)
	_, _, l = w.intake.peek()
	if at, _ := w.flushAt(l.last); !at.Equal(l.last.Add(quietFew)) {
		t.Errorf("written: %v after the event, want %v", at.Sub(l.last), quietFew)
	}
}

func TestLater(t *testing.T) {
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	l := newLater()
	l.add("a", at(0))
	l.add("b", at(10))
	l.add("a", at(30)) // the delays begin anew
	var got []string
	for ms := 0; ms <= 600; ms++ {
		for p, due := l.pop(at(ms)); due; p, due = l.pop(at(ms)) {
			got = append(got, p+"@"+at(ms).Sub(begin).String())
		}
	}
	want := "b@60ms a@80ms b@510ms a@530ms"
	if strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if len(l.last) != 0 {
		t.Errorf("%v is kept", l.last)
	}
	l.once(at(2000))
	l.add("b", at(2001)) // it changes before its turn comes
	got = nil
	for ms := 2000; ms <= 2600; ms++ {
		for p, due := l.pop(at(ms)); due; p, due = l.pop(at(ms)) {
			got = append(got, p+"@"+at(ms).Sub(begin).String())
		}
	}
	if want := "a@2s b@2.051s b@2.501s"; strings.Join(got, " ") != want {
		t.Errorf("once more: %v, want %s", got, want)
	}
	for i := range mostDone {
		l.leave(fmt.Sprint(i), at(3000+i))
	}
	if _, kept := l.done["a"]; kept || len(l.done) > mostDone {
		t.Errorf("%d paths are remembered, the oldest of them: %v", len(l.done), kept)
	}
}

// A file that is touched again and again is one change, also for a consumer that
// asks the index for nothing.
func TestTouchStormIsOneChange(t *testing.T) {
	root := t.TempDir()
	put(t, root, "f", "content")
	w, err := New(Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	<-w.Armed()
	writes := 0
	for i := range 100 {
		now := time.Now().Add(time.Duration(i) * time.Second)
		if err := first(os.Chtimes(filepath.Join(root, "f"), now, now), os.Chmod(filepath.Join(root, "f"), []os.FileMode{0o600, 0o644}[i%2])); err != nil {
			t.Fatal(err)
		}
		if i%20 > 0 {
			continue
		}
		mark := fmt.Sprint("mark", i)
		put(t, root, mark, "")
		for seen := false; !seen; {
			b, ok := <-w.Batches()
			if !ok {
				t.Fatal("no batch came")
			}
			for _, c := range b.Changes {
				seen = seen || c.Path == mark
				if c.Path == "f" && c.Op == Write {
					writes++
				}
			}
		}
	}
	cancel()
	for b := range w.Batches() {
		t.Logf("at the end: %v", b.Changes)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if writes > 1 {
		t.Errorf("f was written %d times", writes)
	}
}

// A slow consumer gets the sum.
func TestUntakenBatchesBecomeOne(t *testing.T) {
	p := newPending()
	p.add("a", Create, tree.Entry{})
	p.stamp(time.Now())
	p.add("b", Write, tree.Entry{})
	p.stamp(time.Now())
	p.stamp(time.Now())
	b := p.batch()
	if b.Generation != 2 || len(b.Changes) != 2 || b.Changes[0].Path != "a" {
		t.Errorf("%+v", b)
	}
}

func TestWhatEditorsDo(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"touch", "chmods", "vim", "emacs", "code", "idea"} {
		put(t, root, name+"/f", "old text")
	}
	// Long past, and hashed: as a file is that somebody opens to edit it.
	old := time.Now().Add(-time.Hour)
	s := watch(t, Options{Root: root})
	steps := map[string]struct {
		do   func(dir string) error
		want Op
	}{
		"touch":  {func(dir string) error { return os.Chtimes(dir+"/f", old, time.Now()) }, ""},
		"chmods": {func(dir string) error { return first(os.Chmod(dir+"/f", 0o600), os.Chmod(dir+"/f", 0o644)) }, ""},
		"vim": {func(dir string) error {
			return first(
				os.WriteFile(dir+"/4913", nil, 0o644), os.Remove(dir+"/4913"),
				os.WriteFile(dir+"/.f.swp", []byte("swap"), 0o644),
				os.Rename(dir+"/f", dir+"/f~"),
				os.WriteFile(dir+"/f", []byte("new text"), 0o644), os.Chmod(dir+"/f", 0o644),
				os.Remove(dir+"/f~"), os.Remove(dir+"/.f.swp"))
		}, Write},
		"emacs": {func(dir string) error {
			return first(
				os.Symlink("me@host.1", dir+"/.#f"), os.WriteFile(dir+"/#f#", []byte("auto"), 0o644),
				os.Rename(dir+"/f", dir+"/f~"), os.WriteFile(dir+"/f", []byte("new text"), 0o644),
				os.Remove(dir+"/#f#"), os.Remove(dir+"/.#f"))
		}, Write},
		"code": {func(dir string) error {
			return first(os.Truncate(dir+"/f", 0), os.WriteFile(dir+"/f", []byte("new text"), 0o644))
		}, Write},
		"idea": {func(dir string) error {
			return first(
				os.WriteFile(dir+"/f___jb_tmp___", []byte("new text"), 0o644),
				os.Rename(dir+"/f", dir+"/f___jb_old___"), os.Rename(dir+"/f___jb_tmp___", dir+"/f"),
				os.Remove(dir+"/f___jb_old___"))
		}, Write},
	}
	for name := range steps {
		if err := os.Chtimes(s.abs(name+"/f"), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for name := range steps {
		s.eventually("the times are settled", func() bool {
			e, ok := s.x.Lookup(name + "/f")
			return ok && e.MTime == old.UnixNano()
		})
		if _, err := s.x.Hash(t.Context(), name+"/f"); err != nil {
			t.Fatal(err)
		}
	}
	s.write("between", "")
	s.ops("prepared")
	for name, step := range steps {
		if err := step.do(filepath.Join(root, name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s.write("marker-"+name, "") // whatever the save was, it is seen before this
		got := s.ops("%s", name)
		delete(got, "marker-"+name)
		for p, op := range got {
			if p != name+"/f" || op != step.want {
				t.Errorf("%s: %s %s, want only %q", name, op, p, step.want)
			}
		}
		if len(got) == 0 && step.want != "" {
			t.Errorf("%s: nothing was reported", name)
		}
	}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
