package distribution

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"sync"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

func (h *handler) putManifest(w http.ResponseWriter, r *http.Request, name, ref string) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, layout.MaxManifest+1))
	if err != nil {
		fail(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
		return
	}
	if len(raw) > layout.MaxManifest {
		fail(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", fmt.Sprintf("a manifest may have %d bytes", layout.MaxManifest))
		return
	}
	tag := ref
	if want, err := layout.ParseDigest(ref); err == nil {
		tag = ""
		if got := layout.DigestOf(raw); got != want {
			fail(w, http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("the manifest hashes to %s", got))
			return
		}
	} else if !layout.ValidTag(ref) {
		fail(w, http.StatusBadRequest, "TAG_INVALID", fmt.Sprintf("%q is neither a digest nor a tag", ref))
		return
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	m, err := layout.ParseManifest(raw, mediaType)
	if err != nil {
		fail(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
		return
	}
	d, err := h.store.PutManifest(name, tag, mediaType, raw)
	if err != nil {
		failure(w, err, "MANIFEST_BLOB_UNKNOWN")
		return
	}
	done := []layout.Digest{d}
	for _, n := range m.Needs() {
		done = append(done, n.Digest)
	}
	h.lease.Drop(done...)
	if m.Subject != nil {
		w.Header().Set("OCI-Subject", string(m.Subject.Digest))
	}
	w.Header().Set("Docker-Content-Digest", string(d))
	w.Header().Set("Location", "/v2/"+name+"/manifests/"+string(d))
	w.WriteHeader(http.StatusCreated)
}

// upload serves the path /v2/<name>/blobs/uploads/<id>; id is empty for a new one.
func (h *handler) upload(w http.ResponseWriter, r *http.Request, name, id string) {
	if id == "" {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "an upload begins with POST")
			return
		}
		h.begin(w, r, name)
		return
	}
	u, err := h.uploads.take(id)
	if errors.Is(err, errBusy) {
		fail(w, http.StatusConflict, "BLOB_UPLOAD_INVALID", "another request writes to this upload")
		return
	}
	if err != nil {
		failure(w, err, "BLOB_UPLOAD_UNKNOWN")
		return
	}
	switch r.Method {
	case http.MethodGet:
		h.progress(w, name, u, http.StatusNoContent)
	case http.MethodPatch:
		if h.chunk(w, r, name, u) {
			h.progress(w, name, u, http.StatusAccepted)
			return
		}
		h.uploads.giveBack(u)
	case http.MethodPut:
		h.finish(w, r, name, u)
	case http.MethodDelete:
		u.Cancel()
		h.uploads.end(u)
		w.WriteHeader(http.StatusNoContent)
	default:
		h.uploads.giveBack(u)
		w.Header().Set("Allow", "GET, PATCH, PUT, DELETE")
		fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "only GET, PATCH, PUT and DELETE here")
	}
}

// begin is POST: a mount of a blob that is here, a whole blob in one request,
// or a session.
func (h *handler) begin(w http.ResponseWriter, r *http.Request, name string) {
	q := r.URL.Query()
	if from := q.Get("mount"); from != "" {
		// The blob may be in any repository: the spec lets a registry find it by itself.
		if d, err := layout.ParseDigest(from); err == nil && h.store.Has(d, -1) {
			created(w, name, d)
			return
		}
	}
	u, err := h.store.NewResumableUpload()
	if err != nil {
		failure(w, err, "BLOB_UPLOAD_INVALID")
		return
	}
	h.uploads.hold(u)
	if q.Get("digest") != "" {
		h.finish(w, r, name, u)
		return
	}
	h.progress(w, name, u, http.StatusAccepted)
}

// contentRange is the spec's form; some clients send HTTP's own prefix too.
var contentRange = regexp.MustCompile(`^(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]+|\*))?$`)

// parseRange reads a chunk's Content-Range: first and last byte, both included.
func parseRange(s string) (first, last int64, err error) {
	m := contentRange.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, fmt.Errorf("Content-Range %q: want <first>-<last>", s)
	}
	first, _ = strconv.ParseInt(m[1], 10, 64)
	last, _ = strconv.ParseInt(m[2], 10, 64)
	if last < first {
		return 0, 0, fmt.Errorf("Content-Range %q ends before it begins", s)
	}
	return first, last, nil
}

// chunk appends the body. Chunks come in order; one that does not follow is
// answered 416 and changes nothing.
func (h *handler) chunk(w http.ResponseWriter, r *http.Request, name string, u *layout.Upload) bool {
	if v := r.Header.Get("Content-Range"); v != "" {
		first, last, err := parseRange(v)
		if err != nil {
			fail(w, http.StatusBadRequest, "BLOB_UPLOAD_INVALID", err.Error())
			return false
		}
		if first != u.Size() {
			progressHeader(w, name, u)
			fail(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", fmt.Sprintf("the next byte is %d", u.Size()))
			return false
		}
		if r.ContentLength >= 0 && r.ContentLength != last-first+1 {
			fail(w, http.StatusBadRequest, "SIZE_INVALID", "Content-Length and Content-Range differ")
			return false
		}
	}
	if _, err := u.ReadFrom(r.Body); err != nil {
		// A client that is cut while it sends does not read why.
		_, _ = io.CopyN(io.Discard, r.Body, unread)
		failure(w, err, "BLOB_UPLOAD_INVALID")
		return false
	}
	return true
}

// unread bounds how much is read of what cannot be kept.
const unread = 8 << 30

func (h *handler) finish(w http.ResponseWriter, r *http.Request, name string, u *layout.Upload) {
	want, err := layout.ParseDigest(r.URL.Query().Get("digest"))
	if err != nil {
		h.uploads.giveBack(u)
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	if !h.chunk(w, r, name, u) {
		h.uploads.giveBack(u)
		return
	}
	defer h.uploads.end(u)
	if _, err := u.Commit(want); err != nil {
		var damaged *layout.DamagedError
		if errors.As(err, &damaged) {
			fail(w, http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("the content hashes to %s", damaged.Got))
			return
		}
		failure(w, err, "BLOB_UPLOAD_INVALID")
		return
	}
	created(w, name, want)
}

func created(w http.ResponseWriter, name string, d layout.Digest) {
	w.Header().Set("Location", "/v2/"+name+"/blobs/"+string(d))
	w.Header().Set("Docker-Content-Digest", string(d))
	w.WriteHeader(http.StatusCreated)
}

func progressHeader(w http.ResponseWriter, name string, u *layout.Upload) {
	w.Header().Set("Location", "/v2/"+name+"/blobs/uploads/"+u.ID())
	w.Header().Set("Docker-Upload-UUID", u.ID())
	// "0-0" for nothing is what the reference registry says.
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, u.Size()-1)))
}

// progress gives the upload back before it answers: the client's next request
// may come at once.
func (h *handler) progress(w http.ResponseWriter, name string, u *layout.Upload, status int) {
	progressHeader(w, name, u)
	h.uploads.giveBack(u)
	w.WriteHeader(status)
}

// uploads keeps sessions open between requests, so that no byte is hashed
// twice. A session that this process does not know, because it was restarted,
// is resumed from the store.
type uploads struct {
	store *layout.Store
	mu    sync.Mutex
	open  map[string]*session
}

type session struct {
	upload *layout.Upload
	busy   bool
}

var errBusy = errors.New("upload is busy")

// idle is how many sessions may wait for their next request; the oldest ones
// are suspended to their file, so that forgotten ones hold no descriptor.
const idle = 256

func newUploads(store *layout.Store) *uploads {
	return &uploads{store: store, open: map[string]*session{}}
}

// take gives the caller the upload alone, until giveBack or end.
func (s *uploads) take(id string) (*layout.Upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.open[id]; o != nil {
		if o.busy {
			return nil, errBusy
		}
		o.busy = true
		return o.upload, nil
	}
	u, err := s.store.ResumeUpload(id)
	if err != nil {
		return nil, fmt.Errorf("upload: %w", fs.ErrNotExist)
	}
	s.open[id] = &session{upload: u, busy: true}
	return u, nil
}

// hold makes a new upload known, taken by the caller.
func (s *uploads) hold(u *layout.Upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= idle {
		for id, o := range s.open {
			if !o.busy {
				o.upload.Suspend()
				delete(s.open, id)
			}
		}
	}
	s.open[u.ID()] = &session{upload: u, busy: true}
}

func (s *uploads) giveBack(u *layout.Upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.open[u.ID()]; o != nil {
		o.busy = false
	}
}

func (s *uploads) end(u *layout.Upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, u.ID())
}
