package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/distribution"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A Store is the image store of this machine, as go-containerregistry's types.
type Store struct{ *layout.Store }

// OpenStore opens the store in dir; empty means DefaultDir.
func OpenStore(dir string) (*Store, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return nil, err
		}
	}
	s, err := layout.Open(dir)
	if err != nil {
		return nil, &problem.Problem{
			Code: "store-unusable", Summary: "the image store cannot be used", Where: dir, Err: err,
			Hint: "free some space or correct the folder's owner; it may be deleted, kdev then builds again",
		}
	}
	return &Store{s}, nil
}

// WithLease is the same store, but what it writes and finds is held by the lease.
func (s *Store) WithLease(l *layout.Lease) *Store { return &Store{s.Store.WithLease(l)} }

// DefaultDir is ${XDG_DATA_HOME:-~/.local/share}/kdev/registry.
func DefaultDir() (string, error) {
	base := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the image store: %w", err)
		}
		base = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(base, "kdev", "registry"), nil
}

// HandlerOptions say who may write through a Handler.
type HandlerOptions = distribution.Options

// Handler serves the store by the OCI distribution spec.
func Handler(s *Store, opts HandlerOptions) http.Handler {
	return distribution.Handler(s.Store, opts)
}

// Has says whether the blob is here.
func (s *Store) Has(h v1.Hash) bool {
	d, err := layout.ParseDigest(h.String())
	return err == nil && s.Store.Has(d, -1)
}

// Image returns an image by the repository's tag, or by its digest, whichever
// repository it is in. Layers are opened when they are read.
func (s *Store) Image(repo, tagOrDigest string) (v1.Image, error) {
	d, err := layout.ParseDigest(tagOrDigest)
	if err != nil {
		e, err := s.Resolve(repo, tagOrDigest)
		if err != nil {
			return nil, err
		}
		d = e.Digest
	}
	raw, err := s.ReadBlob(d)
	if err != nil {
		return nil, fmt.Errorf("image %s@%s: %w", repo, d, err)
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil {
		return nil, fmt.Errorf("image %s@%s: %w", repo, d, err)
	}
	if m.IsIndex() {
		return nil, fmt.Errorf("image %s@%s is an index of images for several platforms", repo, d)
	}
	return partial.CompressedToImage(&image{store: s, raw: raw, manifest: m})
}

// PutImage stores what of the image is not here yet and tags it; an empty tag
// enters it by digest only. Layers that the store has are not read.
func (s *Store) PutImage(ctx context.Context, repo, tag string, img v1.Image) (v1.Hash, error) {
	layers, err := img.Layers()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("store %s: %w", repo, err)
	}
	for _, l := range layers {
		if err := ctx.Err(); err != nil {
			return v1.Hash{}, err
		}
		if err := s.putLayer(ctx, l); err != nil {
			return v1.Hash{}, fmt.Errorf("store %s: %w", repo, diskFull(err))
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("store %s: %w", repo, err)
	}
	if _, err := s.PutBlob(config); err != nil {
		return v1.Hash{}, fmt.Errorf("store %s: %w", repo, diskFull(err))
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("store %s: %w", repo, err)
	}
	mt, err := img.MediaType()
	if err != nil {
		return v1.Hash{}, fmt.Errorf("store %s: %w", repo, err)
	}
	d, err := s.PutManifest(repo, tag, string(mt), manifest)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("store %s: %w", repo, diskFull(err))
	}
	return v1.NewHash(string(d))
}

func (s *Store) putLayer(ctx context.Context, l v1.Layer) error {
	h, err := l.Digest()
	if err != nil {
		return err
	}
	d, err := layout.ParseDigest(h.String())
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	if s.Store.Has(d, size) {
		return nil
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	u, err := s.NewUpload()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	if _, err := u.ReadFrom(r); err != nil {
		u.Cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	_, err = u.Commit(d)
	return err
}

// An image of the store, read lazily.
type image struct {
	store    *Store
	raw      []byte
	manifest *layout.Manifest
}

func (i *image) MediaType() (types.MediaType, error) {
	return types.MediaType(i.manifest.MediaType), nil
}

func (i *image) RawManifest() ([]byte, error) { return i.raw, nil }

func (i *image) RawConfigFile() ([]byte, error) {
	return i.store.ReadBlob(i.manifest.Config.Digest)
}

func (i *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range append(i.manifest.Layers, *i.manifest.Config) {
		if string(d.Digest) == h.String() {
			return &layer{i.store, d}, nil
		}
	}
	return nil, fmt.Errorf("layer %s: %w", h, fs.ErrNotExist)
}

type layer struct {
	store *Store
	desc  layout.Descriptor
}

func (l *layer) Digest() (v1.Hash, error) { return v1.NewHash(string(l.desc.Digest)) }

func (l *layer) Size() (int64, error) { return l.desc.Size, nil }

func (l *layer) MediaType() (types.MediaType, error) { return types.MediaType(l.desc.MediaType), nil }

func (l *layer) Compressed() (io.ReadCloser, error) {
	if !l.store.Store.Has(l.desc.Digest, l.desc.Size) {
		return nil, fmt.Errorf("layer %s: %w", l.desc.Digest, fs.ErrNotExist)
	}
	return l.store.OpenBlob(l.desc.Digest)
}

// soundToken is a token that was written as a whole, by kdev or by a person: it
// goes into an HTTP header (RFC 6750, 2.1) and an environment variable.
var soundToken = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]{16,256}$`)

// Token is the password for writes over HTTP, made at the first call and where
// its file is damaged.
func (s *Store) Token() (string, error) {
	b, err := s.MetaOnce("registry", "token", soundToken.Match, newToken)
	if err != nil {
		return "", fmt.Errorf("token of the image store: %w", err)
	}
	return string(b), nil
}

func diskFull(err error) error {
	if errors.Is(err, errNoSpace) {
		return &problem.Problem{
			Code: "store-full", Summary: "the disk that holds the image store is full", Err: err,
			Hint: "run `kdev registry gc`, or free space on that disk",
		}
	}
	return err
}
