package watch

import (
	"strings"
	"sync"

	"github.com/kdev-io/kdev/internal/tree"
)

// refused holds the paths that could not be looked at for want of permission,
// although something had happened to them. When the mode of such a path or of a
// directory above it changes, all that lies below has to be looked at: what
// happened meanwhile raised events that led to nothing.
type refused struct {
	mu    sync.Mutex
	paths map[string]bool // mostRefused at most; then they count as lying everywhere
}

const mostRefused = 4096

func newRefused() *refused { return &refused{paths: map[string]bool{}} }

func (r *refused) add(p string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.paths) < mostRefused {
		r.paths[p] = true
	}
}

// release forgets the paths at and below dir, and reports whether there may have
// been any.
func (r *refused) release(dir string) (any bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	any = len(r.paths) == mostRefused
	for p := range r.paths {
		if dir == "." || p == dir || strings.HasPrefix(p, dir+"/") {
			delete(r.paths, p)
			any = true
		}
	}
	return any
}

// reopened reports whether d is a directory whose permissions have changed, with
// something below it that could not be looked at.
func (w *Watcher) reopened(d tree.Delta) bool {
	return d.Existed && d.Exists && d.Now.IsDir() && d.Was.Mode != d.Now.Mode && w.refused.release(d.Path)
}
