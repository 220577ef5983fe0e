package watch

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// locks knows the index.lock of each repository in the tree. While git holds
// one it is rewriting files: what a flush found then would be half a checkout.
type locks struct {
	mu    sync.Mutex
	dirs  map[string]bool // git directories; a worktree's is not below its root
	stale map[string]lockState
}

type lockState struct {
	mtime time.Time
	size  int64
}

func newLocks(gitDir string) *locks {
	l := &locks{dirs: map[string]bool{}, stale: map[string]lockState{}}
	l.know(gitDir)
	return l
}

// know adds the git directory of a repository.
func (l *locks) know(gitDir string) {
	if gitDir == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirs[gitDir] = true
}

// found adds the repository whose .git entry a scan has come across: a
// submodule, a clone inside of the tree.
func (l *locks) found(workTree string) {
	if dir, ok := ignore.GitDir(workTree); ok {
		l.know(dir)
	}
}

// held returns a lock file that exists and was not given up on.
func (l *locks) held() (file string, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for dir := range l.dirs {
		file := filepath.Join(dir, "index.lock")
		info, err := os.Lstat(file)
		if err != nil {
			delete(l.stale, file)
			continue
		}
		if was, given := l.stale[file]; given && was == (lockState{info.ModTime(), info.Size()}) {
			continue
		}
		return file, true
	}
	return "", false
}

// giveUp stops waiting for a lock file as it is now: that of a crashed git, or
// of a commit whose message is being written.
func (l *locks) giveUp(file string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if info, err := os.Lstat(file); err == nil {
		l.stale[file] = lockState{info.ModTime(), info.Size()}
	}
}
