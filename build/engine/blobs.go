package engine

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// blobs is the image store as BuildKit reads and writes it through a session. A
// blob that is there is refused as such, so BuildKit does not send it.
type blobs struct {
	store    *registry.Store
	received atomic.Int64 // bytes of what was not there
}

func parse(d digest.Digest) (layout.Digest, error) {
	at, err := layout.ParseDigest(string(d))
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return at, nil
}

func (b *blobs) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	at, err := parse(d)
	if err != nil {
		return content.Info{}, err
	}
	if !b.store.Store.Has(at, -1) {
		return content.Info{}, fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
	}
	size, err := b.store.Stat(at)
	return content.Info{Digest: d, Size: size}, err
}

func (b *blobs) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	at, err := parse(desc.Digest)
	if err != nil {
		return nil, err
	}
	f, err := b.store.OpenBlob(at)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, errdefs.ErrNotFound)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &blob{f, info.Size()}, nil
}

type blob struct {
	*os.File
	size int64
}

func (b *blob) Size() int64 { return b.size }

func (b *blobs) Writer(_ context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	at, err := parse(o.Desc.Digest)
	if err != nil {
		return nil, err
	}
	size := int64(-1)
	if o.Desc.Size > 0 {
		size = o.Desc.Size
	}
	if b.store.Store.Has(at, size) {
		return nil, fmt.Errorf("blob %s: %w", at, errdefs.ErrAlreadyExists)
	}
	// One of another size lost its end with the machine. It has to go: nothing is
	// sent for what is there.
	if err := b.store.RemoveBlob(at); err != nil {
		return nil, err
	}
	u, err := b.store.NewUpload()
	if err != nil {
		return nil, err
	}
	return &upload{blobs: b, Upload: u, ref: o.Ref, want: at, size: size, begun: b.store.Now()}, nil
}

// An upload is a blob on its way into the store.
type upload struct {
	blobs *blobs
	*layout.Upload
	ref   string
	want  layout.Digest
	size  int64 // as it was announced; -1: it was not
	begun time.Time
	ended bool
}

func (u *upload) Write(p []byte) (int, error) {
	if u.size >= 0 && u.Upload.Size()+int64(len(p)) > u.size {
		return 0, fmt.Errorf("blob %s has more than the %d bytes that it should: %w", u.want, u.size, errdefs.ErrFailedPrecondition)
	}
	n, err := u.Upload.Write(p)
	u.blobs.received.Add(int64(n))
	return n, err
}

func (u *upload) Digest() digest.Digest { return digest.Digest(u.Upload.Digest()) }

func (u *upload) Status() (content.Status, error) {
	return content.Status{Ref: u.ref, Offset: u.Upload.Size(), Total: max(u.size, 0), Expected: digest.Digest(u.want), StartedAt: u.begun, UpdatedAt: u.begun}, nil
}

func (u *upload) Truncate(size int64) error {
	if size == u.Upload.Size() {
		return nil
	}
	if size != 0 {
		return fmt.Errorf("continue blob %s at %d: %w", u.want, size, errdefs.ErrNotImplemented)
	}
	again, err := u.blobs.store.NewUpload()
	if err != nil {
		return err
	}
	u.Upload.Cancel()
	u.Upload = again
	return nil
}

func (u *upload) Commit(_ context.Context, size int64, expected digest.Digest, _ ...content.Opt) error {
	if size > 0 && size != u.Upload.Size() {
		return fmt.Errorf("blob %s has %d bytes and should have %d: %w", u.want, u.Upload.Size(), size, errdefs.ErrFailedPrecondition)
	}
	if expected != "" && expected != digest.Digest(u.want) {
		return fmt.Errorf("blob %s is committed as %s: %w", u.want, expected, errdefs.ErrFailedPrecondition)
	}
	u.ended = true
	_, err := u.Upload.Commit(u.want)
	return err
}

// Close throws away what was not committed.
func (u *upload) Close() error {
	if !u.ended {
		u.ended = true
		u.Cancel()
	}
	return nil
}

// What follows is asked by nobody for the sake of an export, or has no meaning here.

func (b *blobs) Update(ctx context.Context, info content.Info, _ ...string) (content.Info, error) {
	return b.Info(ctx, info.Digest) // the store keeps no labels
}

func (b *blobs) Walk(context.Context, content.WalkFunc, ...string) error { return nil }

func (b *blobs) Delete(context.Context, digest.Digest) error { return errdefs.ErrNotImplemented }

func (b *blobs) Status(_ context.Context, ref string) (content.Status, error) {
	return content.Status{}, fmt.Errorf("upload %s: %w", ref, errdefs.ErrNotFound)
}

func (b *blobs) ListStatuses(context.Context, ...string) ([]content.Status, error) { return nil, nil }

func (b *blobs) Abort(context.Context, string) error { return nil } // Close did
