package layout

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Unfinished blobs of this process are nobody's once it is gone; those of an
// HTTP client may be resumed after a restart of the server, for a day.
const (
	prefixPut  = "put-"
	prefixHTTP = "http-"
	resumable  = 24 * time.Hour
)

// DigestOf is the digest of b.
func DigestOf(b []byte) Digest {
	h := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(h[:]))
}

// An Upload is a blob that is being written. Its hash runs along, so that
// Commit reads nothing again. Not safe for concurrent use.
type Upload struct {
	store *Store
	id    string
	file  *os.File // holds an exclusive flock for as long as somebody writes
	hash  hash.Hash
	size  int64
}

// NewUpload starts a blob. Either Commit or Cancel ends it.
func (s *Store) NewUpload() (*Upload, error) { return s.newUpload(prefixPut) }

// NewResumableUpload starts a blob that ResumeUpload finds again by its ID,
// in another process too.
func (s *Store) NewResumableUpload() (*Upload, error) { return s.newUpload(prefixHTTP) }

func (s *Store) newUpload(prefix string) (*Upload, error) {
	for {
		id := prefix + rand.Text()
		f, err := os.OpenFile(s.uploadPath(id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrNotExist) {
			// The store's folder was removed under a running process.
			if err = s.ensure(); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		// Between open and lock, a sweep of another process may have taken
		// the file for an abandoned one.
		if err := flock(f, true, true); err != nil || !s.linked(f, id) {
			f.Close()
			continue
		}
		return &Upload{store: s, id: id, file: f, hash: sha256.New()}, nil
	}
}

// ResumeUpload continues the upload id; the error is fs.ErrNotExist where
// there is none, or another process has it.
func (s *Store) ResumeUpload(id string) (*Upload, error) {
	if !strings.HasPrefix(id, prefixHTTP) || strings.ContainsAny(id, "/\\") {
		return nil, fs.ErrNotExist
	}
	f, err := os.OpenFile(s.uploadPath(id), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	u := &Upload{store: s, id: id, file: f, hash: sha256.New()}
	if err = flock(f, true, false); err != nil || !s.linked(f, id) {
		f.Close()
		return nil, fs.ErrNotExist
	}
	if u.size, err = io.Copy(u.hash, f); err != nil {
		f.Close()
		return nil, err
	}
	return u, nil
}

// ID names the upload for ResumeUpload.
func (u *Upload) ID() string { return u.id }

// Size is how much was written.
func (u *Upload) Size() int64 { return u.size }

// Open is the upload's file for a reader of what was written so far. It stays
// readable when the upload ends, whichever way.
func (u *Upload) Open() (*os.File, error) { return os.Open(u.file.Name()) }

// Digest is the hash of what was written.
func (u *Upload) Digest() Digest {
	return Digest("sha256:" + hex.EncodeToString(u.hash.Sum(nil)))
}

func (u *Upload) Write(p []byte) (int, error) {
	n, err := u.file.Write(p)
	u.hash.Write(p[:n])
	u.size += int64(n)
	return n, err
}

// ReadFrom appends all of r; on an error the upload is as it was before, so
// that a client whose connection broke can send the chunk again.
func (u *Upload) ReadFrom(r io.Reader) (int64, error) {
	before, err := u.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return 0, err
	}
	size := u.size
	// struct{io.Writer} hides ReadFrom: io.Copy would call it again.
	n, err := io.CopyBuffer(struct{ io.Writer }{u}, r, make([]byte, 256<<10))
	if err == nil {
		return n, nil
	}
	if rerr := u.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(before); rerr != nil {
		return 0, errors.Join(err, rerr)
	}
	if rerr := u.file.Truncate(size); rerr != nil {
		return 0, errors.Join(err, rerr)
	}
	if _, rerr := u.file.Seek(size, io.SeekStart); rerr != nil {
		return 0, errors.Join(err, rerr)
	}
	u.size = size
	return 0, err
}

// Commit makes the blob visible under its digest. A want that differs from
// the content gives a *DamagedError and removes the upload.
func (u *Upload) Commit(want Digest) (Digest, error) {
	got := u.Digest()
	if want != "" && want != got {
		u.Cancel()
		return "", &DamagedError{Digest: want, Got: got}
	}
	defer u.file.Close() // not before the rename: the lock keeps sweeps away
	if l := u.store.lease; l != nil {
		if err := l.Hold(got); err != nil {
			os.Remove(u.file.Name())
			return "", err
		}
	}
	dst := u.store.blobPath(got)
	before, err := os.Stat(dst)
	if err == nil && u.store.verified(got, before) {
		os.Remove(u.file.Name())
		return got, nil
	}
	// What is there was never verified, or has changed since: this content is right.
	if err := os.Rename(u.file.Name(), dst); err != nil {
		os.Remove(u.file.Name())
		return "", fmt.Errorf("store blob %s: %w", got, err)
	}
	if err == nil && before.Size() != u.size {
		u.store.note(got, fmt.Sprintf("blob %s of %d bytes, which should have %d; it is replaced", got, before.Size(), u.size))
	}
	if fi, err := u.file.Stat(); err == nil {
		u.store.remember(got, fi)
	}
	return got, nil
}

// Cancel throws the upload away.
func (u *Upload) Cancel() {
	os.Remove(u.file.Name())
	u.file.Close()
}

// Suspend lets go of the upload without ending it; ResumeUpload continues.
func (u *Upload) Suspend() { u.file.Close() }

// PutBlob stores b and returns its digest.
func (s *Store) PutBlob(b []byte) (Digest, error) {
	d := DigestOf(b)
	if s.Has(d, int64(len(b))) {
		return d, nil
	}
	u, err := s.NewUpload()
	if err != nil {
		return "", err
	}
	if _, err := u.Write(b); err != nil {
		u.Cancel()
		return "", err
	}
	return u.Commit(d)
}

func (s *Store) uploadPath(id string) string { return filepath.Join(s.dir, "uploads", id) }

// linked says whether f is still the file under its name.
func (s *Store) linked(f *os.File, id string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(s.uploadPath(id))
	return err == nil && os.SameFile(a, b)
}

// sweepUploads removes what no living process writes: a held lock is the
// sign of life, since the kernel drops it with its process.
func (s *Store) sweepUploads() error {
	entries, err := os.ReadDir(filepath.Join(s.dir, "uploads"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			continue // finished meanwhile
		}
		if strings.HasPrefix(e.Name(), prefixHTTP) && s.now().Sub(fi.ModTime()) < resumable {
			continue
		}
		// replace() does not lock its small files; they live for microseconds.
		if s.now().Sub(fi.ModTime()) < time.Minute {
			continue
		}
		f, err := os.OpenFile(s.uploadPath(e.Name()), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if flock(f, true, false) == nil {
			os.Remove(f.Name())
		}
		f.Close()
	}
	return nil
}
