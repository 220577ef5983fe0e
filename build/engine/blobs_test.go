package engine

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

func describe(b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func TestBlobs(t *testing.T) {
	dir := t.TempDir()
	store, err := registry.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &blobs{store: store}
	open := func(d ocispec.Descriptor) (content.Writer, error) {
		return b.Writer(t.Context(), content.WithRef("x"), content.WithDescriptor(d))
	}
	put := func(text []byte, d ocispec.Descriptor) error {
		t.Helper()
		w, err := open(d)
		if err != nil {
			return err
		}
		defer w.Close()
		if _, err := w.Write(text); err != nil {
			return err
		}
		return w.Commit(t.Context(), d.Size, d.Digest)
	}
	layer := bytes.Repeat([]byte("layer"), 1000)
	d := describe(layer)
	if _, err := b.Info(t.Context(), d.Digest); !errdefs.IsNotFound(err) {
		t.Errorf("before: %v", err)
	}

	// What is not what it should be is not kept.
	for name, c := range map[string]struct {
		text []byte
		d    ocispec.Descriptor
	}{
		"too long":  {append(layer[:len(layer):len(layer)], 'x'), d},
		"too short": {layer[1:], d},
		"other":     {bytes.ToUpper(layer), d},
	} {
		if err := put(c.text, c.d); err == nil {
			t.Errorf("%s: no error", name)
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "uploads")); len(left) != 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
	w, err := open(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(layer[:10]); err != nil {
		t.Fatal(err)
	}
	if err := w.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if st, err := w.Status(); err != nil || st.Offset != 0 || st.Total != d.Size {
		t.Errorf("%+v %v", st, err)
	}
	w.Close() // as where a build is cancelled
	if left, _ := os.ReadDir(filepath.Join(dir, "uploads")); len(left) != 0 {
		t.Errorf("a cancelled one leaves %v", left)
	}

	before := b.received.Load()
	if err := put(layer, d); err != nil || b.received.Load()-before != d.Size {
		t.Fatalf("%d bytes: %v", b.received.Load()-before, err)
	}
	if info, err := b.Info(t.Context(), d.Digest); err != nil || info.Size != d.Size {
		t.Errorf("%+v %v", info, err)
	}
	if _, err := open(d); !errdefs.IsAlreadyExists(err) {
		t.Errorf("it would be sent again: %v", err)
	}
	r, err := b.ReaderAt(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, layer) {
		t.Errorf("%d bytes are read: %v", len(got), err)
	}

	// A blob that lost its end is sent again.
	if err := os.Truncate(filepath.Join(dir, "blobs", "sha256", layout.Digest(d.Digest).Hex()), 7); err != nil {
		t.Fatal(err)
	}
	if err := put(layer, d); err != nil || !store.Store.Has(layout.Digest(d.Digest), d.Size) {
		t.Errorf("the damaged blob stays: %v", err)
	}
	if _, err := b.Info(t.Context(), "md5:0"); !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
}
