package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A Store is one layout directory. It is safe for concurrent use, by several
// processes too; two Stores of one directory see each other's writes at once.
type Store struct {
	dir   string
	now   func() time.Time
	index *indexCache
	lease *Lease // nil, or what keeps the blobs that this Store writes and sees

	checks *checks // shared with the same store under a lease
}

// Option changes how a Store behaves.
type Option func(*Store)

// WithClock sets the clock that stamps index entries and ages uploads.
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// Open uses dir as a store and makes it one if it is not yet. What a killed
// process left behind is removed; what could not be read is dropped and
// named by Dropped.
func Open(dir string, opts ...Option) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, now: time.Now, index: &indexCache{}, checks: newChecks()}
	for _, o := range opts {
		o(s)
	}
	if err := s.ensure(); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	if err := s.repairIndex(); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	if err := s.sweepUploads(); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	return s, nil
}

// Now is the time by the store's clock.
func (s *Store) Now() time.Time { return s.now() }

// Dir is the store's absolute folder.
func (s *Store) Dir() string { return s.dir }

// WithLease is the same store for a builder or a server: each blob that it
// writes, or finds by Has or Complete, is held by the lease from that moment on.
func (s *Store) WithLease(l *Lease) *Store {
	held := *s
	held.lease = l
	return &held
}

func (s *Store) ensure() error {
	// 0700: images may be private, and the folder holds the write token.
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	for _, d := range []string{"blobs/sha256", "uploads", "kdev", "leases"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			return err
		}
	}
	marker := filepath.Join(s.dir, "oci-layout")
	raw, err := os.ReadFile(marker)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var says struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err == nil && json.Unmarshal(raw, &says) == nil && says.Version != "" {
		return nil
	}
	if err == nil {
		s.note("", "the file oci-layout, which said no version; it is written anew")
	}
	return s.replace(marker, []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// Blob paths and reads.

func (s *Store) blobPath(d Digest) string {
	return filepath.Join(s.dir, "blobs", "sha256", d.Hex())
}

// Stat returns the size of the blob's file, or an error that is fs.ErrNotExist.
// It is not the size of the blob where the file is damaged.
func (s *Store) Stat(d Digest) (int64, error) {
	fi, err := os.Stat(s.blobPath(d))
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// Size is how many bytes all blobs have.
func (s *Store) Size() (int64, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "blobs", "sha256"))
	if err != nil {
		return 0, fmt.Errorf("measure the image store: %w", err)
	}
	var n int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it is gone by now
			n += info.Size()
		}
	}
	return n, nil
}

// Has says whether the blob is here, undamaged, with the size that its
// descriptor gives; a size below zero is not compared. A damaged one is removed,
// and Dropped names it; the rebuild that follows replaces it.
func (s *Store) Has(d Digest, size int64) bool {
	// First the lease, then the look: a collector between them sees the lease.
	if s.lease != nil && s.lease.Hold(d) != nil {
		return false
	}
	n, err := s.sound(d)
	return err == nil && (size < 0 || n == size)
}

// OpenBlob opens the blob for reading. The error is fs.ErrNotExist where it is
// missing, or was damaged and is dropped.
func (s *Store) OpenBlob(d Digest) (*os.File, error) {
	if _, err := s.sound(d); err != nil {
		return nil, err
	}
	return os.Open(s.blobPath(d))
}

// ReadBlob returns the content of a small blob, verified. A damaged one is removed.
func (s *Store) ReadBlob(d Digest) ([]byte, error) {
	b, err := s.read(d)
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		_, _ = s.sound(d)
	}
	return b, err
}

func (s *Store) read(d Digest) ([]byte, error) {
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxManifest {
		return nil, fmt.Errorf("blob %s is larger than %d bytes", d, MaxManifest)
	}
	if got := DigestOf(b); got != d {
		return nil, &DamagedError{Digest: d, Got: got}
	}
	return b, nil
}

// A DamagedError is a blob whose content is not what its name says.
type DamagedError struct{ Digest, Got Digest }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("blob %s is damaged: it hashes to %s", e.Digest, e.Got)
}

// RemoveBlob deletes a blob; a missing one is no error. Readers that have it open keep it.
func (s *Store) RemoveBlob(d Digest) error {
	if err := os.Remove(s.blobPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Complete says whether everything that the manifest d needs is here, undamaged
// and with the right sizes; the error names the first thing that is not, an
// *AbsentError where that is a blob. Children of an index are followed.
func (s *Store) Complete(d Digest) error {
	if !s.Has(d, -1) {
		return fmt.Errorf("manifest %s: %w", d, fs.ErrNotExist)
	}
	raw, err := s.ReadBlob(d)
	if err != nil {
		return err
	}
	m, err := ParseManifest(raw, "")
	if err != nil {
		return err
	}
	var absent error
	for _, need := range m.Needs() { // all of them: each damaged one has to go
		if !s.Has(need.Digest, need.Size) && absent == nil {
			absent = &AbsentError{need.Digest, d}
		}
	}
	if absent != nil {
		return absent
	}
	for _, child := range m.Manifests {
		if err := s.Complete(child.Digest); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a small file so that a reader sees the old or the new
// content and never a part.
func (s *Store) replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Join(s.dir, "uploads"), prefixPut)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
