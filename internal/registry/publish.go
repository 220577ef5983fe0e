package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// Publish makes an image of the store pullable under repo and tag. With a
// shared folder it already is; otherwise the blobs that the registry lacks are
// sent. Layers that are in the registry only (an engine pushed them there)
// need not be in the store.
func (e *Endpoint) Publish(ctx context.Context, s *Store, repo, tag, digest string) error {
	if e.Shared {
		return nil
	}
	d, err := layout.ParseDigest(digest)
	if err != nil {
		return err
	}
	raw, err := s.ReadBlob(d)
	if err != nil {
		return fmt.Errorf("publish %s: %w", repo, err)
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return fmt.Errorf("publish %s: %w", repo, err)
	}
	for _, need := range m.Needs() {
		if err := e.send(ctx, s, repo, need.Digest); err != nil {
			return fmt.Errorf("publish %s: %w", repo, err)
		}
	}
	if tag == "" {
		tag = digest
	}
	return e.putManifest(ctx, repo, tag, m.MediaType, raw)
}

// send uploads a blob that the registry does not have.
func (e *Endpoint) send(ctx context.Context, s *Store, repo string, d layout.Digest) error {
	resp, err := e.do(ctx, http.MethodHead, e.url("%s/blobs/%s", repo, d), nil, 0)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	return e.putBlob(ctx, repo, d, f, fi.Size())
}

func (e *Endpoint) putManifest(ctx context.Context, repo, ref, mediaType string, raw []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, e.url("%s/manifests/%s", repo, ref), bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+e.Token)
	req.Header.Set("Content-Type", mediaType)
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return notTaken(fmt.Sprintf("PUT manifest %s/%s", repo, ref), resp)
	}
	return nil
}

// Adopt finishes a push of the engine: the manifest that was pushed under tag
// loses that tag, and it and its config are in the store. Layers are where
// the registry has them.
func (e *Endpoint) Adopt(ctx context.Context, s *Store, repo, tag, digest string) error {
	d, err := layout.ParseDigest(digest)
	if err != nil {
		return err
	}
	if e.Shared {
		if err := s.Complete(d); err != nil {
			return &problem.Problem{Code: "push-incomplete", Summary: "the engine said that it pushed " + repo + ", but not all of it is in the image store", Err: err,
				Hint: "run it again; if it stays, remove the engine's image and build once more"}
		}
		return s.Untag(repo, tag)
	}
	if err := e.fetch(ctx, s, repo, d); err != nil {
		return fmt.Errorf("take over %s from the registry: %w", repo, err)
	}
	resp, err := e.do(ctx, http.MethodDelete, e.url("%s/manifests/%s", repo, tag), nil, 0)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// fetch copies a manifest and its configuration into the store, and those of
// an index's children; layers stay where they are.
func (e *Endpoint) fetch(ctx context.Context, s *Store, repo string, d layout.Digest) error {
	raw, err := e.manifest(ctx, repo, d)
	if err != nil {
		return err
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return err
	}
	for _, child := range m.Manifests {
		if err := e.fetch(ctx, s, repo, child.Digest); err != nil {
			return err
		}
	}
	if m.Config != nil {
		config, err := e.blob(ctx, repo, m.Config.Digest)
		if err != nil {
			return err
		}
		if _, err := s.PutBlob(config); err != nil {
			return diskFull(err)
		}
	}
	_, err = s.PutPartialManifest(repo, "", m.MediaType, raw)
	return err
}

// Pull copies the layers of an image that Adopt took over into the store, for
// a builder that lays others over them. With a shared folder they are there.
func (e *Endpoint) Pull(ctx context.Context, s *Store, repo, digest string) error {
	raw, err := s.ReadBlob(layout.Digest(digest))
	if err != nil {
		return err
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return err
	}
	for _, l := range m.Layers {
		if err := e.pullLayer(ctx, s, repo, l); err != nil {
			return fmt.Errorf("take over %s from the registry: %w", repo, diskFull(err))
		}
	}
	return nil
}

func (e *Endpoint) pullLayer(ctx context.Context, s *Store, repo string, l layout.Descriptor) error {
	if s.Store.Has(l.Digest, l.Size) {
		return nil
	}
	resp, err := e.do(ctx, http.MethodGet, e.url("%s/blobs/%s", repo, l.Digest), nil, 0)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET blob %s: %s", l.Digest, resp.Status)
	}
	u, err := s.NewUpload()
	if err != nil {
		return err
	}
	if _, err := u.ReadFrom(resp.Body); err != nil {
		u.Cancel()
		return err
	}
	_, err = u.Commit(l.Digest)
	return err
}

func (e *Endpoint) manifest(ctx context.Context, repo string, d layout.Digest) ([]byte, error) {
	resp, err := e.do(ctx, http.MethodGet, e.url("%s/manifests/%s", repo, d), nil, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET manifest %s@%s: %s", repo, d, resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, layout.MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if got := layout.DigestOf(raw); got != d {
		return nil, &layout.DamagedError{Digest: d, Got: got}
	}
	return raw, nil
}

// Available says whether the cluster can pull the image now: the cache asks,
// since a store may have been cleaned or cut short.
func (e *Endpoint) Available(ctx context.Context, s *Store, repo, digest string) bool {
	d, err := layout.ParseDigest(digest)
	if err != nil {
		return false
	}
	if e.Shared {
		return s.Complete(d) == nil
	}
	if _, err := s.ReadBlob(d); err != nil {
		return false
	}
	_, err = e.manifest(ctx, repo, d)
	return err == nil
}
