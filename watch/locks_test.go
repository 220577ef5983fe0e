package watch

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// While git holds its index, what changes is held back: longer than the cap
// of a batch, and delivered as one.
func TestGitAtWorkIsOneBatch(t *testing.T) {
	isolateGit(t)
	main := filepath.Join(t.TempDir(), "main")
	branches(t, mkdir(t, main), 20)
	tree := filepath.Join(filepath.Dir(main), "tree")
	gitIn(t, main, "worktree", "add", "-q", tree, "one")
	inside := filepath.Join(main, "vendored")
	gitIn(t, mkdir(t, inside), "init", "-q")

	for name, c := range map[string]struct{ root, lock string }{
		"repository":        {main, filepath.Join(main, ".git/index.lock")},
		"worktree":          {tree, filepath.Join(main, ".git/worktrees/tree/index.lock")},
		"sub-folder":        {filepath.Join(main, "files"), filepath.Join(main, ".git/index.lock")},
		"repository inside": {main, filepath.Join(inside, ".git/index.lock")},
	} {
		t.Run(name, func(t *testing.T) {
			s := watch(t, Options{Root: c.root})
			s.do(os.WriteFile(c.lock, nil, 0o644))
			for i := range 3 {
				s.write(fmt.Sprintf("while-git-works/%d", i), name)
				time.Sleep(quietCap / 2) // git is slow
			}
			s.do(os.Remove(c.lock))
			s.equal("git has ended")
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.batches) != 1 {
				t.Errorf("%d batches: %+v", len(s.batches), s.batches)
			}
		})
	}
}

// git checkout, stash and a rebase that stops at a conflict.
func TestGitCommands(t *testing.T) {
	isolateGit(t)
	root := t.TempDir()
	branches(t, root, 500)
	s := watch(t, Options{Root: root})
	// One batch on a machine with a moment to spare. Where this process is kept
	// from reading its events for 50 ms their tail comes later; what may not be is
	// a delivery piece by piece while git is at work.
	const most = 2
	count := func(what string) {
		t.Helper()
		s.equal("%s", what)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.batches) > most {
			t.Errorf("%s came as %d batches", what, len(s.batches))
		}
		s.batches = nil
	}
	gitIn(t, root, "checkout", "-q", "one")
	count("checkout")
	for i := range 50 {
		s.write(fmt.Sprintf("files/0/0/%d.txt", i*100), "mine")
	}
	s.ops("edits")
	gitIn(t, root, "-c", "user.name=t", "-c", "user.email=t@example.org", "stash", "-q")
	count("stash")

	s.write("files/0/0/0.txt", "conflict")
	gitIn(t, root, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "conflict")
	rebase := gitFails(t, root, "-c", "user.name=t", "-c", "user.email=t@example.org", "rebase", "two")
	if !strings.Contains(rebase, "CONFLICT") {
		t.Fatalf("the rebase did not stop: %s", rebase)
	}
	s.equal("a rebase that has stopped")
	before := s.told("watch-git-lock")
	s.write("files/0/0/0.txt", "resolved")
	s.equal("nothing is held then")
	if n := s.told("watch-git-lock") - before; n != 0 {
		t.Errorf("it waited for a lock %d times", n)
	}
}

// A repository that is made while its folder is watched counts from then on: its
// lock, and its info/exclude.
func TestGitInitWhileWatched(t *testing.T) {
	isolateGit(t)
	root := t.TempDir()
	put(t, root, "sub/f", "1")
	s := watch(t, Options{Root: root})
	for _, dir := range []string{"sub", "."} {
		gitIn(t, s.abs(dir), "init", "-q")
		lock := s.abs(path.Join(dir, ".git/index.lock"))
		s.eventually("the lock of "+dir+" is known", func() bool {
			s.do(os.WriteFile(lock, nil, 0o644))
			file, held := s.w.locks.held()
			s.do(os.Remove(lock))
			return held && file == lock
		})
	}
	s.do(os.WriteFile(s.abs(".git/info/exclude"), []byte("mine\n"), 0o644))
	s.eventually("info/exclude was read", func() bool { return s.w.filter.drops("mine", false) })
	s.write("mine", "1")
	s.write("other", "1")
	if got := s.ops("one of two"); !maps.Equal(got, map[string]Op{"other": Create}) {
		t.Errorf("%v", got)
	}

	// A clone takes the place of a worktree: the git directory is another one.
	s.do(os.RemoveAll(root))
	gitIn(t, filepath.Dir(root), "init", "-q", root)
	s.do(os.WriteFile(s.abs(".git/info/exclude"), []byte("yours\n"), 0o644))
	s.eventually("the new one was read", func() bool { return s.w.filter.drops("yours", false) })
}

// The lock of a git that has crashed is waited for once.
func TestStaleLock(t *testing.T) {
	isolateGit(t)
	root := t.TempDir()
	gitIn(t, root, "init", "-q")
	s := watch(t, Options{Root: root})
	s.do(os.WriteFile(s.abs(".git/index.lock"), nil, 0o644))
	s.write("a", "1")
	s.equal("after the wait")
	if text := s.notice("watch-git-lock"); !strings.Contains(text, "index.lock") {
		t.Error(text)
	}
	s.write("a", "2")
	s.equal("no second wait")
	if n := s.told("watch-git-lock"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
