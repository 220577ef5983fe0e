package session

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
)

// A pod that starts while its service is paused gets the files as they were when
// it was paused, like the pods beside it. The tree does not hold them any more
// once they are saved again, so what differs from the image is copied when a
// service begins to keep back what is saved. What the image holds needs no copy.

// keepsakes are the copies of all services. Their methods may be called from any
// goroutine.
type keepsakes struct {
	mu  sync.Mutex
	dir string // made when the first file is copied
	of  map[string]*keepsake
}

// A keepsake is what the copies of one service are of, by container path. The
// file's digest names the copy.
type keepsake struct {
	dir   string
	files map[string]engine.File
}

// take copies a file and returns it as the copy is: the original may have been
// saved again since it was described.
func (k *keepsakes) take(service string, file engine.File, from io.Reader) (engine.File, error) {
	dir, err := k.folder(service)
	if err != nil {
		return file, err
	}
	to, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return file, err
	}
	defer os.Remove(to.Name()) // gone already where all went well
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(to, h), from)
	if err == nil {
		err = to.Close()
	} else {
		to.Close()
	}
	if err != nil {
		return file, err
	}
	file.Size, file.Digest = size, tree.Digest(h.Sum(nil))
	return file, os.Rename(to.Name(), copyName(dir, file.Digest))
}

func (k *keepsakes) folder(service string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dir == "" {
		dir, err := os.MkdirTemp("", "kdev-kept-")
		if err != nil {
			return "", err
		}
		k.dir, k.of = dir, map[string]*keepsake{}
	}
	s := k.of[service]
	if s == nil {
		s = &keepsake{dir: filepath.Join(k.dir, service)}
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			return "", err
		}
		k.of[service] = s
	}
	return s.dir, nil
}

func copyName(dir string, d tree.Digest) string { return filepath.Join(dir, hex.EncodeToString(d[:])) }

// keep says which copies count from now on and removes the others.
func (k *keepsakes) keep(service string, files map[string]engine.File) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.of[service]
	if s == nil {
		return nil // nothing was copied
	}
	wanted := map[string]bool{}
	for _, f := range files {
		wanted[copyName(s.dir, f.Digest)] = true
	}
	s.files = files
	all, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("look through kept files: %w", err)
	}
	for _, e := range all {
		if name := filepath.Join(s.dir, e.Name()); !wanted[name] {
			_ = os.Remove(name) // it costs room, nothing else
		}
	}
	return nil
}

// file is the copy that a service has for a container path.
func (k *keepsakes) file(service, dest string) (engine.File, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.of[service]
	if s == nil {
		return engine.File{}, false
	}
	f, ok := s.files[dest]
	return f, ok
}

// open opens a copy with this content.
func (k *keepsakes) open(d tree.Digest) (*os.File, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.of {
		if f, err := os.Open(copyName(s.dir, d)); err == nil {
			return f, true
		}
	}
	return nil, false
}

// drop removes the copies of a service that keeps nothing back any more.
func (k *keepsakes) drop(service string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.of[service]; s != nil {
		_ = os.RemoveAll(s.dir)
		delete(k.of, service)
	}
}

// close removes every copy.
func (k *keepsakes) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dir != "" {
		_ = os.RemoveAll(k.dir)
	}
	k.dir, k.of = "", nil
}

// frozen lists, for a service that keeps back what is saved, the container paths
// of it as they have to stay: as copied, or as the image has them; nil where
// there was no such file.
func (l *loop) frozen(svc *service, image map[string]engine.File) map[string]*engine.File {
	was := map[string]*engine.File{}
	for saved := range svc.saved {
		rel, ok := contextPath(svc.spec, saved)
		if !ok {
			continue
		}
		for _, dest := range svc.plan.explain(rel).Dests {
			file, ok := l.s.kept.file(svc.Name, dest)
			if !ok {
				if file, ok = image[dest]; ok {
					file.Local = saved
				}
			}
			was[dest] = nil
			if ok {
				was[dest] = &file
			}
		}
	}
	return was
}

// preserve makes files, the whole tree that is wanted, what it was before the
// paths that are kept back were saved, and copies what the image does not hold.
func (f *feeder) preserve(files map[string]engine.File) error {
	for dest, was := range f.frozen {
		delete(files, dest)
		if was != nil {
			files[dest] = *was
		}
	}
	copies := map[string]engine.File{}
	for dest, file := range files {
		has, ok := f.image[dest]
		if !file.Mode.IsRegular() || ok && has.Digest == file.Digest {
			continue
		}
		if f.frozen[dest] == nil {
			from, err := f.s.parts.Index.Open(file.Local)
			if err != nil {
				continue // just removed: the watcher will say so
			}
			file, err = f.s.kept.take(f.service, file, from)
			from.Close()
			if err != nil {
				return fmt.Errorf("keep %s as it is: %w", file.Local, err)
			}
			files[dest] = file
		}
		copies[dest] = file
	}
	return f.s.kept.keep(f.service, copies)
}
