package build

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// Two hundred rebuilds of one layer leave, after a collection, the newest
// images and nothing else: no layer, no lease, no unfinished file. With
// KDEV_LAYER_MB=30 (make soak-store) it is a layer of that size.
func TestManyRebuildsAreCollected(t *testing.T) {
	const rebuilds, keep = 200, 3
	size := int64(256 << 10)
	if mb, err := strconv.Atoi(os.Getenv("KDEV_LAYER_MB")); err == nil {
		size = int64(mb) << 20
	}
	root, idx := project(t, "Dockerfile", "FROM scratch\nCOPY data /data\nCMD [\"/data\"]\n")
	b, store := noEngine(t, idx)
	spec := Spec{Project: "shop", Service: "web", Root: root, Context: root, Dockerfile: filepath.Join(root, "Dockerfile"), Platform: "linux/amd64"}
	content := make([]byte, size)
	var last *Result
	for range rebuilds {
		if _, err := rand.Read(content); err != nil {
			t.Fatal(err)
		}
		write(t, root, "data", string(content))
		var err error
		if last, err = b.Build(t.Context(), spec, nil); err != nil || last.Cached {
			t.Fatalf("%+v %v", last, err)
		}
		// The disk of a test is small: what goes at the end may go before it.
		if onDisk(t, store.Dir(), "blobs") > 2<<30 {
			if _, err := store.Collect(t.Context(), layout.Policy{Keep: keep}); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := onDisk(t, store.Dir(), "blobs")
	report, err := store.Collect(t.Context(), layout.Policy{Keep: keep, Live: []layout.Digest{layout.Digest(last.Digest)}})
	if err != nil {
		t.Fatal(err)
	}
	after := onDisk(t, store.Dir(), "blobs")
	t.Logf("%d rebuilds of a layer of %d bytes: %d bytes before, %d after", rebuilds, size, before, after)
	if after > keep*size+size/2 || after != report.Size {
		t.Errorf("%d bytes stay, reported are %d; %d images of %d bytes are kept", after, report.Size, keep, size)
	}
	if n := onDisk(t, store.Dir(), "leases") + onDisk(t, store.Dir(), "uploads"); n != 0 {
		t.Errorf("%d bytes of leases and unfinished files stay", n)
	}
	if err := store.Complete(layout.Digest(last.Digest)); err != nil {
		t.Error(err)
	}
	if again, err := b.Build(t.Context(), spec, nil); err != nil || !again.Cached {
		t.Errorf("the newest image is built again: %v", err)
	}
}

// onDisk is the size of all files below a folder of the store.
func onDisk(t *testing.T, dir, below string) int64 {
	t.Helper()
	var n int64
	entries, err := os.ReadDir(filepath.Join(dir, below))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			n += onDisk(t, filepath.Join(dir, below), e.Name())
			continue
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}
