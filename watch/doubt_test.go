//go:build linux

package watch

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limited is a source that has room for a few directories only.
type limited struct {
	source
	mu   sync.Mutex
	room int
	has  map[string]bool
}

func (l *limited) Add(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.has[dir] && len(l.has) == l.room {
		return fmt.Errorf("%w: %w", errNoRoom, syscall.ENOSPC)
	}
	l.has[dir] = true
	return l.source.Add(dir)
}

func (l *limited) Remove(dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.has, dir)
	l.source.Remove(dir)
}

func TestWatchesRunOut(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"a/f", "b/f", "a/deep/f", "a/deep/er/f", "b/deep/f"} {
		put(t, root, p, "1")
	}
	s := watch(t, Options{Root: root}, func(w *Watcher) {
		open := w.open
		w.open = func(s sink) (source, error) {
			inner, err := open(s)
			return &limited{source: inner, room: 3, has: map[string]bool{}}, err
		}
	})
	text := s.notice("watch-limit")
	if !strings.Contains(text, "sysctl fs.inotify.max_user_watches=") || !strings.Contains(text, "kdev uses 3") {
		t.Errorf("the notice says neither use nor remedy: %s", text)
	}
	if n, polled := s.w.covers.counts(); n != 3 || polled != 3 {
		t.Errorf("%d watched, %d polled", n, polled)
	}
	for _, dir := range []string{".", "a", "b"} {
		if !s.w.source.(*limited).has[dir] {
			t.Errorf("%s is not watched: watches must be missing at the bottom", dir)
		}
	}
	s.write("a/deep/er/f", "2")
	s.write("b/deep/new/x", "2")
	s.write("a/f", "2")
	s.equal("with some directories polled")
	s.do(os.RemoveAll(s.abs("a/deep")))
	s.equal("a polled directory goes")
	s.do(os.RemoveAll(s.abs("a")))
	s.eventually("the freed watch is used", func() bool { n, polled := s.w.covers.counts(); return n == 3 && polled == 1 })
	s.write("b/deep/f", "3")
	s.equal("after that")
}

func TestNoInstanceLeft(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a/f", "1")
	s := watch(t, Options{Root: root}, func(w *Watcher) {
		w.open = func(sink) (source, error) { return nil, fmt.Errorf("%w: %w", errNoRoom, syscall.EMFILE) }
	})
	if text := s.notice("watch-instances"); !strings.Contains(text, "max_user_instances") {
		t.Error(text)
	}
	s.write("a/f", "2")
	s.write("b/c/d", "2")
	s.equal("polled")
}

func TestPollOnly(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a/f", "1")
	s := watch(t, Options{Root: root, Poll: PollAlways})
	s.write("a/f", "2")
	s.do(os.MkdirAll(s.abs("x/y"), 0o755))
	s.equal("first")
	s.do(os.Rename(s.abs("a"), s.abs("x/y/a")))
	s.write("x/y/a/f", "3")
	s.equal("second")
}

func TestEveryDoubtIsAnsweredByAScan(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a/f", "1")
	s := watch(t, Options{Root: root}, deafen)
	change := func() {
		s.do(os.Rename(s.abs("a"), s.abs("b")))
		s.do(os.Rename(s.abs("b"), s.abs("a"))) // a new name and the old one again
		s.do(os.RemoveAll(s.abs("c")))
		s.write("c/d/e", "1")
		s.write("a/f", fmt.Sprint(time.Now().UnixNano()))
	}
	change()
	s.w.intake.uncertain("the kernel's event queue overflowed")
	s.equal("overflow")
	s.notice("watch-rescan")
	change()
	s.w.Recheck("a", "c")
	s.equal("a build command has ended")
}

func TestSuspendIsNoticed(t *testing.T) {
	for _, c := range []struct {
		wall, monotonic time.Duration
		want            bool
	}{
		{time.Second, time.Second, false},
		{1500 * time.Millisecond, time.Second, false},
		{time.Hour, time.Second, true},
		{-time.Hour, time.Second, false}, // the clock was set back
	} {
		if got := slept(c.wall, c.monotonic); got != c.want {
			t.Errorf("%v by the wall, %v by the other clock: %v", c.wall, c.monotonic, got)
		}
	}
	root := t.TempDir()
	s := watch(t, Options{Root: root}, deafen)
	s.write("f", "while asleep")
	now := time.Now()
	s.w.beat(now, &times{wall: now.Add(-time.Second).Round(0).Add(-time.Hour)}) // no monotonic reading: as if it had stood still
	s.w.intake.uncertain("the machine was suspended")
	s.equal("woken up")
}

// A writer through mmap raises no event after the file has been made.
func TestWriteThroughMmap(t *testing.T) {
	root := t.TempDir()
	s := watch(t, Options{Root: root})
	f, err := os.Create(s.abs("linked"))
	s.do(err)
	defer f.Close()
	s.do(f.Truncate(8192))
	s.eventually("the file is reported", func() bool { return s.x.Settled("linked") })
	m, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	s.do(err)
	copy(m, "content that comes without an event")
	s.do(unix.Munmap(m))
	s.equal("a second look finds it")

	// And a writer that takes its time, until somebody says that it has ended.
	m, err = unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	s.do(err)
	settled(t, time.Now().Add(again[len(again)-1]))
	copy(m, "content that comes late")
	s.do(unix.Munmap(m))
	s.w.Recheck()
	s.equal("a build command has ended")
}

func TestRootIsReplaced(t *testing.T) {
	root := filepath.Join(t.TempDir(), "project")
	put(t, root, "a/f", "1")
	put(t, root, "same", "1")
	s := watch(t, Options{Root: root})

	s.do(os.Rename(root, root+".old"))
	s.notice("watch-root-gone")
	s.do(os.Mkdir(root, 0o755))
	put(t, root, "b/g", "2")
	put(t, root, "same", "1")
	got := s.ops("another directory has the name")
	want := map[string]Op{"a": Remove, "a/f": Remove, "b": Create, "b/g": Create, "same": Write}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	s.write("b/g", "3")
	s.write("b/h/i", "3")
	s.equal("the new root is watched")

	s.do(os.RemoveAll(root))
	put(t, root, "c/d", "4")
	s.equal("rm -rf and a new one at once")
	s.write("c/d", "5")
	s.equal("watched again")
}

func TestOddPaths(t *testing.T) {
	root := t.TempDir()
	s := watch(t, Options{Root: root})
	s.do(unix.Mkfifo(s.abs("fifo"), 0o644))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	s.do(err)
	defer unix.Close(fd)
	s.do(os.Chdir(root)) // a socket's address is short
	s.do(unix.Bind(fd, &unix.SockaddrUnix{Name: "socket"}))
	s.do(os.Symlink("loop2", s.abs("loop1")))
	s.do(os.Symlink("loop1", s.abs("loop2")))
	s.do(os.Symlink("..", s.abs("up")))
	s.write("bytes\xff\xfe/f", "1")
	s.equal("odd files")
	s.write("bytes\xff\xfe/f", "2")
	s.equal("below a name that is not UTF-8")
	s.notice("watch-special")
	s.notice("watch-name")

	// Longer than the system takes in one call: made step by step.
	dir := root
	name := strings.Repeat("n", 200)
	fd = mustOpen(t, dir)
	for range 25 {
		s.do(unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
		s.do(err)
		s.do(unix.Close(fd))
		fd = next
	}
	s.do(unix.Close(fd))
	s.notice("watch-unreadable")
	s.write("after", "3")
	s.until(func() bool { _, ok := s.copy["after"]; return ok }, func() string { return "a long path ends the watching" })
}

func mustOpen(t *testing.T, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// forbidden refuses one directory, as the system does those without permission
// (a test that runs as root can read them all).
type forbidden struct {
	source
	mu  sync.Mutex
	dir string
}

func (f *forbidden) Add(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dir == f.dir {
		return &os.PathError{Op: "inotify_add_watch", Path: dir, Err: syscall.EACCES}
	}
	return f.source.Add(dir)
}

func TestDirectoryWithoutPermission(t *testing.T) {
	root := t.TempDir()
	put(t, root, "secret/f", "1")
	put(t, root, "open/f", "1")
	var src *forbidden
	s := watch(t, Options{Root: root}, func(w *Watcher) {
		open := w.open
		w.open = func(s sink) (source, error) {
			inner, err := open(s)
			src = &forbidden{source: inner, dir: "secret"}
			return src, err
		}
	})
	if text := s.notice("watch-unreadable"); !strings.Contains(text, "secret") {
		t.Error(text)
	}
	s.write("open/f", "2")
	s.equal("the rest goes on")
	src.mu.Lock()
	src.dir = ""
	src.mu.Unlock()
	s.do(os.Chmod(s.abs("secret"), 0o700))
	s.equal("chmod")
	s.write("secret/f", "2")
	s.equal("it is watched once it may be")
	if n := s.told("watch-unreadable"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// What happens below a directory that was closed, with events that led to
// nothing, is seen when it is opened again. Root may look at everything: here the
// refusal is made up, and the events are those of a source of our own.
func TestDirectoryIsClosedForAWhile(t *testing.T) {
	for _, closed := range []string{"dir", "."} {
		t.Run(closed, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, "dir/in/f", "1")
			put(t, root, "dir/in/g", "1")
			s := watch(t, Options{Root: root}, deafen)
			s.do(os.Remove(s.abs("dir/in/f")))
			s.write("dir/in/h", "2")
			s.w.unreadable("dir/in/f", &os.PathError{Op: "lstat", Path: "f", Err: syscall.EACCES})
			s.do(os.Chmod(s.abs(closed), 0o700))
			s.w.intake.mark(closed, look)
			s.equal("open again")
			if n := s.told("watch-unreadable"); n != 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}

// A directory that was moved away and removed before its event was read makes
// fsnotify fail to remove a watch that is not there any more. No event is lost by
// that, so the tree needs no second look.
func TestMovedAwayAndRemovedIsNoDoubt(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	put(t, root, "a/b/c/f", "1")
	stall := &stall{}
	s := watch(t, Options{Root: root}, stall.put)
	func() {
		stall.gate.Lock()
		defer stall.gate.Unlock()
		for i := range 50 {
			s.write(fmt.Sprint("f", i), "")
		}
		s.do(os.Rename(s.abs("a"), filepath.Join(outside, "a")))
		s.do(os.RemoveAll(filepath.Join(outside, "a")))
	}()
	s.equal("gone")
	s.write("last", "")
	s.equal("goes on")
	if n := s.told("watch-rescan"); n != 0 {
		t.Errorf("%d rescans", n)
	}
}

// lazy is a source of a whole tree, as those of macOS and Windows are, that the
// system refuses for a while.
type lazy struct {
	silent
	refusals atomic.Int32
}

func (l *lazy) Add(string) error {
	if l.refusals.Add(-1) >= 0 {
		return errors.New("busy")
	}
	return nil
}

// A root that cannot be listened to when it is back is tried until it can.
func TestRootIsRefusedForAWhile(t *testing.T) {
	parent := t.TempDir()
	root := filepath.Join(parent, "p")
	put(t, root, "f", "1")
	src := &lazy{}
	s := watch(t, Options{Root: root}, func(w *Watcher) { w.open = func(sink) (source, error) { return src, nil } })
	put(t, parent, "new/g", "1")
	src.refusals.Store(3)
	s.do(os.Rename(root, filepath.Join(parent, "old")))
	s.do(os.Rename(filepath.Join(parent, "new"), root))
	s.notice("watch-root-replaced")
	s.equal("listened to again")
	if n := s.told("watch-root-gone"); n > 2 { // refused, and perhaps seen to be gone
		t.Errorf("told %d times", n)
	}
}

func TestRootThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Root: file}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file as root: %v", err)
	}
	if _, err := New(Options{Root: file + "none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no root: %v", err)
	}
}
