package agent

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/sync/protocol"
)

// A store is what was acknowledged since the container's root came into being.
type store struct {
	boot   [16]byte
	clock  func() time.Time
	isNew  bool   // the container's root came into being with it
	device uint64 // of that root

	mu      sync.Mutex
	version uint64
	files   map[string]acked // by absolute path; Absent for what was removed
	last    protocol.Last
	tidied  map[string]bool // directories that leftovers were removed from
}

// file.Perm is what kdev said, not what is there: a file keeps the permission
// bits of what it replaced, and kdev compares with what it would say again.
type acked struct {
	file  protocol.File
	stamp stamp
}

// A stamp changes whenever a file does: while it is the same the content need
// not be hashed again. ctime cannot be set by programs.
type stamp struct {
	inode        uint64
	size         int64
	mtime, ctime syscall.Timespec
	perm         uint32 // the bits that are there, see acked
}

// newStore returns an empty one; run says that this agent runs the application.
func newStore(run bool) *store {
	s := &store{files: map[string]acked{}, clock: time.Now, isNew: run}
	rand.Read(s.boot[:]) // never fails: crypto/rand
	var root syscall.Stat_t
	if err := syscall.Stat("/", &root); err != nil {
		s.isNew = false
	}
	s.device = root.Dev
	return s
}

func (s *store) put(path string, f protocol.File, st stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.files[path] = acked{f, st}
}

func (s *store) get(path string) (acked, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.files[path]
	return a, ok
}

func (s *store) now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// carriedOut notes the end of a batch.
func (s *store) carriedOut(gen uint64, took time.Duration, bytes int64, results []protocol.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Generation, s.last.Took, s.last.Failed = gen, int64(took), ""
	s.last.Bytes += bytes
	if len(results) > 0 {
		s.last.Failed = results[0].Path + ": " + results[0].Text
	}
}

func (s *store) lastBatch() protocol.Last {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// entries lists what is there now at the acknowledged paths, so that what
// somebody changed by hand is not taken for synced.
func (s *store) entries() []protocol.Entry {
	s.mu.Lock()
	paths := slices.Sorted(maps.Keys(s.files))
	s.mu.Unlock()
	all := make([]protocol.Entry, 0, len(paths))
	for _, p := range paths {
		f, err := s.look(p)
		if err != nil {
			f = protocol.File{Type: protocol.Unknown}
		}
		if a, ok := s.get(p); ok && a.file.Type == f.Type {
			f.Perm = a.file.Perm
		}
		all = append(all, protocol.Entry{Path: p, File: f})
	}
	return all
}

// said puts in the permission bits that kdev said, where they are those that came of it; none
// where kdev said nothing: they are what a RUN or the cluster made them.
func (s *store) said(path string, f protocol.File) protocol.File {
	a, ok := s.get(path)
	switch {
	case !ok || a.file.Type != f.Type:
		f.Perm = 0
	case a.stamp.perm == f.Perm:
		f.Perm = a.file.Perm
	}
	return f
}

// look says what an absolute path holds. It follows links above the last
// component, as the application does.
func (s *store) look(path string) (protocol.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		if absent(err) {
			return protocol.File{}, nil
		}
		return protocol.File{}, err
	}
	return s.describe(path, info, func() (io.ReadCloser, error) { return os.Open(path) }, func() (string, error) { return os.Readlink(path) })
}

// describe turns a stat result into a File; the content is hashed unless the
// stamp says that it is the one that was acknowledged.
func (s *store) describe(path string, info fs.FileInfo, open func() (io.ReadCloser, error), readlink func() (string, error)) (protocol.File, error) {
	f := protocol.File{Perm: permOf(info)}
	switch {
	case info.IsDir():
		f.Type = protocol.Directory
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := readlink()
		if err != nil {
			return f, err
		}
		return protocol.File{Type: protocol.Symlink, Link: to}, nil
	case !info.Mode().IsRegular():
		return protocol.File{Type: protocol.Other}, nil
	default:
		f.Type, f.Size = protocol.Regular, info.Size()
		if a, ok := s.get(path); ok && a.file.Type == protocol.Regular && a.stamp == stampOf(info) {
			f.Digest = a.file.Digest
			return f, nil
		}
		r, err := open()
		if err != nil {
			return f, err
		}
		defer r.Close()
		h := sha256.New()
		if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, make([]byte, 32<<10)); err != nil {
			return f, err
		}
		h.Sum(f.Digest[:0])
	}
	return f, nil
}

func stampOf(info fs.FileInfo) stamp {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{st.Ino, st.Size, st.Mtim, st.Ctim, st.Mode & 0o7777}
}

func permOf(info fs.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Mode & 0o7777
	}
	return uint32(info.Mode().Perm())
}

func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// modeOf turns st_mode's bits into Go's.
func modeOf(perm uint32) fs.FileMode {
	m := fs.FileMode(perm & 0o777)
	if perm&syscall.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if perm&syscall.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if perm&syscall.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}
