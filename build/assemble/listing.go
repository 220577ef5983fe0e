package assemble

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// A listing is what a layer holds, without the content: read once from the
// layer, then remembered beside it.
type listing struct {
	Layer   string // digest of the blob
	Entries []entry
	Small   map[string][]byte // content of the files that name users
}

type entry struct {
	node
	Path string
	Hard string // the name that this one is a hard link to
}

// listingKind is the folder of the store that holds listings by layer.
const listingKind = "listings"

// list returns the layer's listing.
func list(store *registry.Store, d layout.Descriptor) (*listing, error) {
	if raw, err := store.Meta(listingKind, d.Digest.Hex()); err == nil {
		if l, err := decodeListing(raw); err == nil && l.Layer == string(d.Digest) {
			return l, nil
		}
	}
	l := &listing{Layer: string(d.Digest), Small: map[string][]byte{}}
	err := walkLayer(store, d, func(h *tar.Header, p string, r io.Reader) error {
		e, ok, err := entryOf(h, p)
		if err != nil || !ok {
			return err
		}
		if p == "etc/passwd" || p == "etc/group" {
			if l.Small[p], err = io.ReadAll(io.LimitReader(r, 1<<20)); err != nil {
				return err
			}
		}
		l.Entries = append(l.Entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, store.PutMeta(listingKind, d.Digest.Hex(), encodeListing(l))
}

// walkLayer reads a layer's tar, whatever it is compressed with.
func walkLayer(store *registry.Store, d layout.Descriptor, visit func(h *tar.Header, p string, r io.Reader) error) error {
	f, err := store.OpenBlob(d.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	r, done, err := decompress(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	defer done()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		if err := visit(h, cleanName(h.Name), tr); errors.Is(err, fs.SkipAll) {
			return nil
		} else if err != nil {
			return fmt.Errorf("layer %s: %w", d.Digest, err)
		}
	}
}

// decompress tells the format from its first bytes: media types lie at times.
func decompress(r *bufio.Reader) (io.Reader, func(), error) {
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	default:
		return r, func() {}, nil
	}
}

// cleanName is the entry's path inside of the root, whatever the tar says.
func cleanName(name string) string {
	p := strings.TrimPrefix(path.Clean("/"+name), "/")
	if p == "" {
		return "."
	}
	return p
}

func entryOf(h *tar.Header, p string) (entry, bool, error) {
	e := entry{Path: p, node: node{UID: h.Uid, GID: h.Gid, Size: h.Size}}
	perm := fs.FileMode(h.Mode & 0o777)
	for bit, mode := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if h.Mode&bit != 0 {
			perm |= mode
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Mode = perm
	case tar.TypeDir:
		e.Mode, e.Size = fs.ModeDir|perm, 0
	case tar.TypeSymlink:
		e.Mode, e.Link, e.Size = fs.ModeSymlink|0o777, h.Linkname, 0
	case tar.TypeLink:
		e.Mode, e.Hard = perm, cleanName(h.Linkname)
	case tar.TypeChar:
		e.Mode = fs.ModeDevice | fs.ModeCharDevice | perm
	case tar.TypeBlock:
		e.Mode = fs.ModeDevice | perm
	case tar.TypeFifo:
		e.Mode = fs.ModeNamedPipe | perm
	case tar.TypeXGlobalHeader:
		return entry{}, false, nil
	default:
		return entry{}, false, fmt.Errorf("%s has the unknown type %q", p, h.Typeflag)
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = v
		}
	}
	return e, true, nil
}
