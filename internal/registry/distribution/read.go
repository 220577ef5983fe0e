package distribution

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// blobs serves GET, HEAD and DELETE of one blob. A blob is visible in every
// repository: the store belongs to one user.
func (h *handler) blobs(w http.ResponseWriter, r *http.Request, name, ref string, from origin) {
	d, err := layout.ParseDigest(ref)
	if err != nil {
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodDelete:
		// A blob may belong to images of other repositories; the collector
		// knows, a client does not.
		if h.write(w, r, name) {
			fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "blobs go by garbage collection: kdev registry gc")
		}
		return
	default:
		w.Header().Set("Allow", "GET, HEAD, DELETE")
		fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "only GET, HEAD and DELETE here")
		return
	}
	// A client that pushes asks first, and leaves out what is here: from now
	// on it has to stay.
	if r.Method == http.MethodHead && h.allowed(r) {
		if err := h.lease.Hold(d); err != nil {
			// What cannot be held is as good as not here: the client sends it, and
			// learns why that does not work. An answer to HEAD has no words.
			failure(w, fmt.Errorf("%w: %w", fs.ErrNotExist, err), "BLOB_UNKNOWN")
			return
		}
	}
	f, err := h.open(r, name, d, from)
	if err != nil {
		failure(w, err, "BLOB_UNKNOWN")
		return
	}
	defer f.Close()
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Docker-Content-Digest", string(d))
	header.Set("ETag", strconv.Quote(string(d)))
	// A digest never changes its content.
	header.Set("Cache-Control", "max-age=31536000, immutable")
	// ServeContent answers ranges and lets the kernel copy from file to socket.
	http.ServeContent(w, r, "", time.Time{}, f)
}

// open gives a blob's content: what is here undamaged, else what is on its way here.
func (h *handler) open(r *http.Request, name string, d layout.Digest, from origin) (io.ReadSeekCloser, error) {
	f, err := h.store.OpenBlob(d)
	if err == nil {
		return f, nil
	}
	if from.cache != nil && r.Method == http.MethodGet && errors.Is(err, fs.ErrNotExist) {
		if coming, ok := from.blob(r.Context(), d); ok {
			return coming, nil
		}
	}
	return nil, err
}

func (h *handler) manifests(w http.ResponseWriter, r *http.Request, name, ref string, from origin) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		silence := from.manifest(r.Context(), ref)
		if silence != nil && !h.held(name, ref) {
			from.silent(w, r, silence)
			return
		}
		h.getManifest(w, r, name, ref)
	case http.MethodPut:
		if h.write(w, r, name) {
			h.putManifest(w, r, name, ref)
		}
	case http.MethodDelete:
		if h.write(w, r, name) {
			h.deleteManifest(w, name, ref)
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "only GET, HEAD, PUT and DELETE here")
	}
}

// held says whether the store has something under a tag or digest.
func (h *handler) held(name, ref string) bool {
	d, err := layout.ParseDigest(ref)
	if err == nil {
		_, err = h.store.Stat(d)
		return err == nil
	}
	_, err = h.store.Resolve(name, ref)
	return err == nil
}

func (h *handler) getManifest(w http.ResponseWriter, r *http.Request, name, ref string) {
	d, err := layout.ParseDigest(ref)
	if err != nil {
		e, rerr := h.store.Resolve(name, ref)
		if rerr != nil {
			failure(w, rerr, "MANIFEST_UNKNOWN")
			return
		}
		d = e.Digest
	}
	raw, err := h.store.ReadBlob(d)
	if err != nil {
		failure(w, err, "MANIFEST_UNKNOWN")
		return
	}
	// The media type is read from the document, so that a manifest is served
	// by digest even where the index has lost it (a running pod needs it).
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN", fmt.Sprintf("%s is no manifest", d))
		return
	}
	header := w.Header()
	header.Set("Content-Type", m.MediaType)
	header.Set("Content-Length", strconv.Itoa(len(raw)))
	header.Set("Docker-Content-Digest", string(d))
	header.Set("ETag", strconv.Quote(string(d)))
	if r.Method == http.MethodGet {
		w.Write(raw)
	}
}

func (h *handler) deleteManifest(w http.ResponseWriter, name, ref string) {
	d, err := layout.ParseDigest(ref)
	if err == nil {
		err = h.store.RemoveManifest(name, d)
	} else {
		err = h.store.Untag(name, ref)
	}
	if err != nil {
		failure(w, err, "MANIFEST_UNKNOWN")
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (h *handler) tags(w http.ResponseWriter, r *http.Request, name string) {
	tags, err := h.store.Tags(name)
	if err != nil {
		failure(w, err, "NAME_UNKNOWN")
		return
	}
	page, ok := paginate(w, r, tags)
	if !ok {
		return
	}
	answer(w, http.StatusOK, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{name, page})
}

func (h *handler) catalog(w http.ResponseWriter, r *http.Request) {
	names, err := h.store.Repositories()
	if err != nil {
		failure(w, err, "NAME_UNKNOWN")
		return
	}
	// An entry that another tool wrote has no repository.
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	page, ok := paginate(w, r, names)
	if !ok {
		return
	}
	answer(w, http.StatusOK, map[string][]string{"repositories": page})
}

// paginate cuts sorted names by the query's n and last, and links to the rest.
func paginate(w http.ResponseWriter, r *http.Request, names []string) ([]string, bool) {
	q := r.URL.Query()
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearch(names, last)
		if found {
			i++
		}
		names = names[i:]
	}
	if v := q.Get("n"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			fail(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", fmt.Sprintf("n=%q is no count", v))
			return nil, false
		}
		if n < len(names) {
			names = names[:n]
			if n > 0 {
				next := url.URL{Path: r.URL.Path, RawQuery: url.Values{"n": {v}, "last": {names[n-1]}}.Encode()}
				w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, next.String()))
			}
		}
	}
	if names == nil {
		names = []string{} // the spec wants a list, not null
	}
	return names, true
}

// referrers lists the artifacts whose subject is the given manifest, which
// need not exist.
func (h *handler) referrers(w http.ResponseWriter, r *http.Request, name, ref string) {
	subject, err := layout.ParseDigest(ref)
	if err != nil {
		fail(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	entries, err := h.store.Entries()
	if err != nil {
		failure(w, err, "NAME_UNKNOWN")
		return
	}
	want := r.URL.Query().Get("artifactType")
	if want != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	list := []layout.Descriptor{}
	seen := map[layout.Digest]bool{}
	for _, e := range entries {
		if e.Repository != name || e.Subject != subject || seen[e.Digest] {
			continue
		}
		seen[e.Digest] = true
		d, err := h.referrer(e)
		if errors.Is(err, fs.ErrNotExist) {
			continue // collected meanwhile
		}
		if err != nil {
			failure(w, err, "MANIFEST_UNKNOWN")
			return
		}
		if want == "" || d.ArtifactType == want {
			list = append(list, d)
		}
	}
	b, err := json.Marshal(struct {
		SchemaVersion int                 `json:"schemaVersion"`
		MediaType     string              `json:"mediaType"`
		Manifests     []layout.Descriptor `json:"manifests"`
	}{2, layout.OCIIndex, list})
	if err != nil {
		fail(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	w.Header().Set("Content-Type", layout.OCIIndex)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b)
}

func (h *handler) referrer(e layout.Entry) (layout.Descriptor, error) {
	raw, err := h.store.ReadBlob(e.Digest)
	if err != nil {
		return layout.Descriptor{}, err
	}
	m, err := layout.ParseManifest(raw, e.MediaType)
	if err != nil {
		return layout.Descriptor{}, err
	}
	d := layout.Descriptor{MediaType: m.MediaType, Digest: e.Digest, Size: int64(len(raw)), ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	// Artifacts from before OCI 1.1 say what they are by their config's type.
	if d.ArtifactType == "" && m.Config != nil {
		d.ArtifactType = m.Config.MediaType
	}
	return d, nil
}
