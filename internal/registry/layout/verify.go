package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
)

// A look is what a blob's file looked like when its content was last seen to be
// what its name says. A file whose look is another one is read again before it
// is used.
type look struct {
	size     int64
	modified int64 // in microseconds: some shared folders keep no more
}

func lookOf(fi fs.FileInfo) look { return look{fi.Size(), fi.ModTime().UnixMicro()} }

// verifiedKind is the folder of the store that remembers looks by blob.
const verifiedKind = "verified"

// remembered is the size from which on a look is kept beside the store. Smaller
// blobs are read faster than a file about them is written.
const remembered = 256 << 10

// checks are what a process knows about the blobs' files, and what it dropped.
type checks struct {
	mu      sync.Mutex
	looks   map[Digest]look
	dropped []string
	named   map[Digest]bool // blobs that dropped names
	tell    []func(string)

	hashing sync.Mutex // one blob is read at a time: the disk is one
}

func newChecks() *checks { return &checks{looks: map[Digest]look{}, named: map[Digest]bool{}} }

// sound gives the size of a blob whose content is what its name says. It costs a
// stat, unless the file is not the one that was verified before: then it is read
// once. A damaged one is removed, and the error is fs.ErrNotExist, as for one
// that is not there.
func (s *Store) sound(d Digest) (int64, error) {
	fi, err := os.Stat(s.blobPath(d))
	if err != nil {
		return 0, err
	}
	if s.verified(d, fi) {
		return fi.Size(), nil
	}
	s.checks.hashing.Lock()
	defer s.checks.hashing.Unlock()
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if fi, err = f.Stat(); err != nil {
		return 0, err
	}
	if s.verified(d, fi) { // by now, for another caller
		return fi.Size(), nil
	}
	h := sha256.New()
	_, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 256<<10))
	if err == nil && Digest("sha256:"+hex.EncodeToString(h.Sum(nil))) == d {
		s.remember(d, fi)
		return fi.Size(), nil
	}
	s.drop(d, fi)
	return 0, fmt.Errorf("blob %s was damaged and is dropped: %w", d, fs.ErrNotExist)
}

// exists says whether the blob has a file, sound or not.
func (s *Store) exists(d Digest) bool {
	_, err := os.Stat(s.blobPath(d))
	return err == nil
}

// verified says whether the file is as it was when its content was last verified.
func (s *Store) verified(d Digest, fi fs.FileInfo) bool {
	now := lookOf(fi)
	s.checks.mu.Lock()
	before, ok := s.checks.looks[d]
	s.checks.mu.Unlock()
	if ok && before == now {
		return true
	}
	if now.size < remembered {
		return false
	}
	raw, err := s.Meta(verifiedKind, d.Hex())
	if err != nil || string(raw) != now.String() {
		return false
	}
	s.checks.mu.Lock()
	defer s.checks.mu.Unlock()
	s.checks.looks[d] = now
	return true
}

func (l look) String() string { return fmt.Sprintf("%d %d", l.size, l.modified) }

// remember keeps the look of a file whose content is right. What cannot be kept
// is read again by the next process.
func (s *Store) remember(d Digest, fi fs.FileInfo) {
	now := lookOf(fi)
	s.checks.mu.Lock()
	s.checks.looks[d] = now
	delete(s.checks.named, d)
	s.checks.mu.Unlock()
	if now.size >= remembered {
		_ = s.PutMeta(verifiedKind, d.Hex(), []byte(now.String()))
	}
}

// drop removes a damaged blob, unless its file is another one by now.
func (s *Store) drop(d Digest, fi fs.FileInfo) {
	now, err := os.Stat(s.blobPath(d))
	if err != nil || !os.SameFile(now, fi) {
		return
	}
	_ = os.Remove(s.blobPath(d))
	// A listing may have been read from it.
	_ = s.RemoveMeta("listings", d.Hex())
	s.note(d, fmt.Sprintf("blob %s of %d bytes, whose content is not what its name says; it is made or fetched again where it is needed", d, fi.Size()))
}

// Lost tells of a blob that something of the store was remembered to need, and
// that is not here though no collector took it. Where err, of Complete, names
// another one, it is that. One that was dropped already is not told of again.
func (s *Store) Lost(d Digest, err error) {
	var absent *AbsentError
	if errors.As(err, &absent) {
		d = absent.Digest
	}
	s.checks.mu.Lock()
	named := s.checks.named[d]
	s.checks.mu.Unlock()
	if !named && !s.exists(d) {
		s.note(d, fmt.Sprintf("what needs blob %s, which is missing; it is made or fetched again", d))
	}
}

func (s *Store) note(d Digest, line string) {
	c := s.checks
	c.mu.Lock()
	c.named[d] = true
	c.dropped = append(c.dropped, line)
	tell := slices.Clone(c.tell)
	c.mu.Unlock()
	for _, t := range tell {
		t(line)
	}
}

// Dropped says, a line each, what was found damaged and was not kept.
func (s *Store) Dropped() []string {
	s.checks.mu.Lock()
	defer s.checks.mu.Unlock()
	return slices.Clone(s.checks.dropped)
}

// OnDrop has tell hear what Dropped says, and what is dropped from now on: at the
// moment in which it is found, from whichever goroutine finds it.
func (s *Store) OnDrop(tell func(string)) {
	s.checks.mu.Lock()
	before := slices.Clone(s.checks.dropped)
	s.checks.tell = append(s.checks.tell, tell)
	s.checks.mu.Unlock()
	for _, line := range before {
		tell(line)
	}
}

// An AbsentError is a blob that a manifest of the store needs and that is not here.
type AbsentError struct{ Digest, Manifest Digest }

func (e *AbsentError) Error() string {
	return fmt.Sprintf("blob %s of manifest %s is not in the store", e.Digest, e.Manifest)
}

func (e *AbsentError) Unwrap() error { return fs.ErrNotExist }
