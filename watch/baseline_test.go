package watch

import (
	"context"
	"maps"
	"os"
	"testing"
	"time"
)

// Between the arming, which reads names, and the look at each file nothing may
// be lost, and what did not change must not be reported.
func TestChangesBeforeTheFirstLook(t *testing.T) {
	for name, c := range map[string]struct {
		deaf bool // no event comes: the watcher is told to doubt
		peek bool // a build looks at each file before the watcher does
	}{
		"events": {}, "a build looks first": {peek: true},
		"overflow": {deaf: true}, "overflow, and a build looks first": {deaf: true, peek: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, p := range []string{"d/still", "d/written", "d/mode", "d/gone", "d/replaced", "d/kind"} {
				put(t, root, p, "1")
			}
			settled(t, time.Now())
			begin := make(chan struct{})
			s := watch(t, Options{Root: root}, func(w *Watcher) {
				w.look = func(ctx context.Context) {
					select {
					case <-begin:
						w.fill(ctx)
					case <-ctx.Done():
					}
				}
			}, func(w *Watcher) {
				if c.deaf {
					deafen(w)
				}
			})
			old := modTime(t, s.abs("d/replaced"))
			s.do(os.WriteFile(s.abs("d/written"), []byte("2"), 0o644)) // of the same size
			s.do(os.Chmod(s.abs("d/mode"), 0o600))
			s.do(os.Remove(s.abs("d/gone")))
			put(t, root, "d/tmp", "2")
			s.do(os.Chtimes(s.abs("d/tmp"), old, old))
			s.do(os.Rename(s.abs("d/tmp"), s.abs("d/replaced"))) // size and mtime are those of the old one
			s.do(os.Remove(s.abs("d/kind")))
			s.do(os.Symlink("still", s.abs("d/kind")))
			if c.peek {
				for _, p := range []string{"d/still", "d/written", "d/mode", "d/gone", "d/replaced", "d/kind"} {
					if _, _, err := s.x.Stat(p); err != nil {
						t.Fatal(err)
					}
				}
			}
			if c.deaf {
				s.w.intake.uncertain("a test")
			}
			got := s.ops("before the first look")
			want := map[string]Op{"d/written": Write, "d/mode": Write, "d/gone": Remove, "d/replaced": Write, "d/kind": Write}
			if !maps.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			close(begin)
			<-s.w.filled
			if c.deaf {
				return
			}
			s.do(os.Chmod(s.abs("d/still"), 0o600))
			if got := s.ops("after it"); !maps.Equal(got, map[string]Op{"d/still": Chmod}) {
				t.Errorf("%v after all was looked at", got)
			}
		})
	}
}

// A file that changes after the arming and is looked at before its event comes.
func TestFirstLookComesBeforeTheEvent(t *testing.T) {
	root := t.TempDir()
	put(t, root, "d/f", "1")
	put(t, root, "d/still", "1")
	settled(t, time.Now())
	begin := make(chan struct{})
	s := watch(t, Options{Root: root}, deafen, func(w *Watcher) {
		w.look = func(ctx context.Context) { <-begin; w.fill(ctx) }
	})
	settled(t, time.Now())
	s.do(os.WriteFile(s.abs("d/f"), []byte("2"), 0o644))
	close(begin)
	<-s.w.filled
	if got := s.ops("found without an event"); !maps.Equal(got, map[string]Op{"d/f": Write}) {
		t.Errorf("%v", got)
	}
}

// settled waits until no clock of a file system can take what comes next for
// something that was done before at.
func settled(t *testing.T, at time.Time) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Since(at) < 50*time.Millisecond {
		<-tick.C
	}
}

func modTime(t *testing.T, file string) time.Time {
	t.Helper()
	info, err := os.Lstat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}
