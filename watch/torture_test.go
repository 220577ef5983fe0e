package watch

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestTorture does what watchers break on, 10,000 times, in an order that
// WATCH_SEED repeats: mkdir -p, writes, renames of files and of directories that
// are written to at once, links, removals; between them 20 checkouts of two
// branches with 5,000 differing files and 20 overflows of the kernel's queue.
// After each quiet point the copy that only the batches have made is the tree.
func TestTorture(t *testing.T) {
	const rounds, every = 10_000, 500 // a checkout and an overflow in each `every` rounds
	torture(t, seedOr(t, 20261121), rounds, every, 5_000)
}

func seedOr(t *testing.T, seed uint64) uint64 {
	t.Helper()
	if v := os.Getenv("WATCH_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("seed %d", seed)
	return seed
}

func torture(t *testing.T, seed uint64, rounds, every, files int) {
	r := rand.New(rand.NewPCG(seed, 1))
	root := t.TempDir()
	branches(t, root, files)
	if err := os.Mkdir(filepath.Join(root, "t"), 0o755); err != nil {
		t.Fatal(err)
	}
	stall := &stall{}
	s := watch(t, Options{Root: root}, stall.put)
	m := &mess{r: r, root: filepath.Join(root, "t")}

	quiet := 0
	for round := range rounds {
		m.round()
		switch round % every {
		case every / 3:
			gitIn(t, root, "checkout", "-q", [2]string{"one", "two"}[round/every%2])
			s.equal("seed %d, round %d: checkout", seed, round)
		case 2 * every / 3:
			overflow(t, root, m, stall)
			s.equal("seed %d, round %d: overflow", seed, round)
		}
		if quiet--; quiet < 0 {
			quiet = r.IntN(80)
			s.equalBelow("t", "seed %d, round %d", seed, round)
		}
	}
	s.equal("seed %d: the end", seed)
	rescans := s.told("watch-rescan")
	if rescans < rounds/every {
		t.Errorf("%d overflows were noticed, %d were made", rescans, rounds/every)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d rounds, %d batches, %d rescans, %v", rounds, len(s.batches), rescans, m.done)
}

// equalBelow compares one directory, to spare the reading of all others.
func (s *subject) equalBelow(dir, format string, args ...any) {
	s.t.Helper()
	want := s.treeBelow(dir)
	got := func() map[string]state {
		below := map[string]state{}
		for p, st := range s.copy {
			if strings.HasPrefix(p, dir+"/") {
				below[p] = st
			}
		}
		return below
	}
	s.until(func() bool { return s.complain != "" || same(got(), want) }, func() string {
		return fmt.Sprintf(format, args...) + ": the copy differs: " + difference(got(), want)
	})
	if s.complain != "" {
		s.t.Fatal(s.complain)
	}
}

// mess makes random changes below one directory, with few names so that they
// meet. What fails because of an earlier change fails.
type mess struct {
	r    *rand.Rand
	root string
	done [8]int
}

// path is half of the time one that is there.
func (m *mess) path() string {
	p := ""
	if m.r.IntN(2) == 0 {
		for range 1 + m.r.IntN(4) {
			list, err := os.ReadDir(filepath.Join(m.root, p))
			if err != nil || len(list) == 0 {
				break
			}
			p = path.Join(p, list[m.r.IntN(len(list))].Name())
		}
		if p != "" {
			return filepath.Join(m.root, p)
		}
	}
	for range 1 + m.r.IntN(4) {
		p = path.Join(p, string(rune('a'+m.r.IntN(5))))
	}
	return filepath.Join(m.root, p)
}

func (m *mess) text() []byte {
	return []byte(strings.Repeat(string(rune('A'+m.r.IntN(26))), m.r.IntN(6)))
}

func (m *mess) round() {
	p, q := m.path(), m.path()
	var err error
	kind := m.r.IntN(8)
	switch kind {
	case 0:
		err = os.MkdirAll(p, 0o755)
	case 1:
		err = os.WriteFile(p, m.text(), 0o644)
	case 2: // case one: rename a directory, then write below it
		if m.r.IntN(2) == 0 && !strings.HasPrefix(p, q) {
			_ = os.RemoveAll(q)
		}
		if err = os.Rename(p, q); err == nil {
			_ = os.WriteFile(filepath.Join(q, "a"), m.text(), 0o644)
			_ = os.MkdirAll(filepath.Join(q, "b", "c"), 0o755)
			_ = os.WriteFile(filepath.Join(q, "b", "c", "d"), m.text(), 0o644)
		}
	case 3:
		_ = os.MkdirAll(p, 0o755)
		err = os.WriteFile(filepath.Join(p, "e"), m.text(), 0o644)
	case 4:
		err = os.Symlink([]string{"a", "b", "a/b", "none", "e"}[m.r.IntN(5)], p)
	case 5:
		if m.r.IntN(3) == 0 {
			err = os.RemoveAll(p)
		} else {
			err = os.Remove(p)
		}
	case 6: // as editors save
		if err = os.WriteFile(p+".new", m.text(), 0o644); err == nil {
			if err = os.Rename(p+".new", p); err != nil {
				os.Remove(p + ".new")
			}
		}
	case 7:
		var info os.FileInfo
		if info, err = os.Stat(p); err == nil {
			err = os.Chmod(p, info.Mode().Perm()^0o010)
		}
	}
	if err == nil {
		m.done[kind]++
	}
}

// overflow makes more events than the kernel's queue holds, with changes before
// and after the point from which they are lost.
func overflow(t *testing.T, root string, m *mess, stall *stall) {
	t.Helper()
	stall.gate.Lock()
	defer stall.gate.Unlock()
	var files [2]string
	for i := range files {
		files[i] = filepath.Join(root, fmt.Sprintf("files/overflow%d", i))
		if err := os.WriteFile(files[i], nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		m.round()
	}
	// Two paths in turn: equal events that follow each other become one.
	for i := range queueLength(t) + 8192 {
		if err := os.Chmod(files[i%2], os.FileMode(0o600|i/2%2*0o44)); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		m.round()
	}
}

func queueLength(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		return 16384
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A stall stands between the source and the intake and keeps the reader waiting,
// as a machine does that is out of breath.
type stall struct{ gate sync.Mutex }

func (st *stall) put(w *Watcher) {
	open := w.open
	w.open = func(s sink) (source, error) { return open(&stalledSink{s, st}) }
}

type stalledSink struct {
	sink
	stall *stall
}

func (s *stalledSink) event(p string, m mark) {
	s.stall.gate.Lock()
	defer s.stall.gate.Unlock()
	s.sink.event(p, m)
}

// branches makes a repository with two branches that differ in n files.
func branches(t *testing.T, root string, n int) {
	t.Helper()
	isolateGit(t)
	gitIn(t, root, "init", "-q", "-b", "one")
	for _, branch := range []string{"one", "two"} {
		if branch == "two" {
			gitIn(t, root, "checkout", "-q", "-b", branch)
		}
		for i := range n {
			put(t, root, fmt.Sprintf("files/%d/%d/%d.txt", i%10, i%100, i), branch+strings.Repeat("x", i%7))
		}
		put(t, root, "files/only-"+branch+"/f", branch)
		gitIn(t, root, "add", "files")
		gitIn(t, root, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", branch)
		if err := os.RemoveAll(filepath.Join(root, "files/only-"+branch)); err != nil {
			t.Fatal(err)
		}
		gitIn(t, root, "checkout", "-q", "-f", branch)
	}
}

func gitIn(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// gitFails runs a command that has to fail and returns what it prints.
func gitFails(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("git %v did not fail", args)
	}
	return string(out)
}

// isolateGit keeps the settings of whoever runs the tests out of them.
func isolateGit(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "xdg"))
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, "gitconfig"))
	for _, v := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"} {
		t.Setenv(v, "")
		os.Unsetenv(v)
	}
}

// A consumer that looks at a directory while it is away makes the index forget
// all below it. When it is back, its new files must not be lost.
func TestSomebodyLooksWhileADirectoryIsAway(t *testing.T) {
	root := t.TempDir()
	put(t, root, "b/sub/f", "1")
	stall := &stall{}
	s := watch(t, Options{Root: root}, stall.put)
	func() {
		stall.gate.Lock()
		defer stall.gate.Unlock()
		s.do(os.Rename(s.abs("b"), s.abs("c")))
		if _, there, err := s.x.Stat("b"); there || err != nil {
			t.Fatal(there, err)
		}
		s.do(os.Rename(s.abs("c"), s.abs("b")))
		s.write("b/new", "2")
		s.write("b/sub/new", "2")
	}()
	s.equal("back again")
	s.write("b/sub/new", "3")
	s.write("b/sub/newer", "3")
	s.equal("still watched")
}
