package assemble

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// Media type of a layer that is not compressed: its digest is its diff ID, and
// neither side spends time on it.
const layerType = "application/vnd.oci.image.layer.v1.tar"

// A layer of an image: the blob, and the digest of its tar.
type layer struct {
	layout.Descriptor
	DiffID layout.Digest
}

// A change is a node that a layer sets; a nil node removes.
type change struct {
	path   string
	node   *node
	digest string // of a file's content, in hex
}

// changes are what the overlay differs by from what is below, sorted, with the
// content's digest of each file.
func (a *assembly) changes(o *overlay) ([]change, error) {
	out := make([]change, 0, len(o.changed))
	for p, n := range o.changed {
		below, err := o.lower.lstat(p)
		if err != nil {
			return nil, err
		}
		if n != nil && below != nil && n.isDir() && sameFolder(n, below) {
			continue // a folder that was there already
		}
		c := change{path: p, node: n}
		if n != nil && n.isRegular() {
			if c.digest, err = a.digest(n); err != nil {
				return nil, err
			}
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b change) int {
		if a.path < b.path {
			return -1
		}
		return 1
	})
	return out, nil
}

func sameFolder(a, b *node) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && len(a.Xattrs) == 0 && len(b.Xattrs) == 0
}

// digest is the hash of a file's content.
func (a *assembly) digest(n *node) (string, error) {
	switch {
	case n.Content.Context != "":
		d, err := a.hash(n.Content.Context)
		if err != nil {
			return "", fmt.Errorf("hash %s: %w", n.Content.Context, err)
		}
		return d, nil
	case n.Content.Layer != "":
		// A place in a blob that never changes is as good as a hash.
		h := sha256.Sum256([]byte(n.Content.Layer + "\x00" + n.Content.Path))
		return hex.EncodeToString(h[:]), nil
	default:
		h := sha256.Sum256(n.Content.Data)
		return hex.EncodeToString(h[:]), nil
	}
}

// layerKind is the folder of the store that remembers layers by what they hold.
const layerKind = "layers"

// write makes the layer of the changes, or finds the one that was made of the
// same ones before.
func (a *assembly) write(changes []change) (layer, error) {
	key, err := layerKey(changes)
	if err != nil {
		return layer{}, err
	}
	if raw, err := a.store.Meta(layerKind, key); err == nil {
		var l layer
		if json.Unmarshal(raw, &l.Descriptor) == nil {
			if a.store.Store.Has(l.Digest, l.Size) {
				l.DiffID = l.Digest
				return l, nil
			}
			a.store.Lost(l.Digest, nil)
		}
	}
	spool, err := a.fetch(changes)
	if err != nil {
		return layer{}, err
	}
	defer spool.close()
	u, err := a.store.NewUpload()
	if err != nil {
		return layer{}, err
	}
	if err := a.writeTar(u, changes, spool); err != nil {
		u.Cancel()
		return layer{}, err
	}
	l := layer{Descriptor: layout.Descriptor{MediaType: layerType, Size: u.Size()}}
	if l.Digest, err = u.Commit(""); err != nil {
		return layer{}, err
	}
	l.DiffID = l.Digest
	raw, err := json.Marshal(l.Descriptor)
	if err != nil {
		return layer{}, err
	}
	return l, a.store.PutMeta(layerKind, key, raw)
}

// layerKey covers all that goes into the tar.
func layerKey(changes []change) (string, error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, c := range changes {
		var line struct {
			Path, Digest, Link string
			Gone               bool
			Mode               fs.FileMode
			UID, GID           int
			Xattrs             map[string]string
		}
		line.Path, line.Digest, line.Gone = c.path, c.digest, c.node == nil
		if c.node != nil {
			line.Mode, line.UID, line.GID, line.Link, line.Xattrs = c.node.Mode, c.node.UID, c.node.GID, c.node.Link, c.node.Xattrs
		}
		if err := enc.Encode(line); err != nil {
			return "", err
		}
	}
	return "1-" + hex.EncodeToString(h.Sum(nil)), nil
}

func (a *assembly) writeTar(w io.Writer, changes []change, spool *spool) error {
	buffered := bufio.NewWriterSize(w, 256<<10)
	tw := tar.NewWriter(buffered)
	for _, c := range changes {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		if err := a.writeEntry(tw, c, spool); err != nil {
			return fmt.Errorf("%s: %w", c.path, err)
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

func (a *assembly) writeEntry(tw *tar.Writer, c change, spool *spool) error {
	n := c.node
	if n == nil {
		return unsupported("a step removes files")
	}
	h := &tar.Header{
		Name: c.path, Mode: int64(n.Mode.Perm()), Uid: n.UID, Gid: n.GID, ModTime: TimeOf(c.digest),
	}
	for mode, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if n.Mode&mode != 0 {
			h.Mode |= bit
		}
	}
	for k, v := range n.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+k] = v
	}
	switch {
	case n.isDir():
		h.Typeflag, h.Name = tar.TypeDir, c.path+"/"
		if c.path == "." {
			h.Name = "./"
		}
	case n.isLink():
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, n.Link, 0o777
	default:
		h.Typeflag, h.Size = tar.TypeReg, n.Size
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		return a.writeContent(tw, c, spool)
	}
	return tw.WriteHeader(h)
}

// writeContent copies a file, and sees that it is the one that was hashed.
func (a *assembly) writeContent(tw io.Writer, c change, spool *spool) error {
	if c.node.Content.Layer != "" && c.node.Content.Data == nil {
		return spool.copy(tw, c.node.Content)
	}
	if c.node.Content.Context == "" {
		_, err := tw.Write(c.node.Content.Data)
		return err
	}
	f, err := a.open(c.node.Content.Context)
	if err != nil {
		return &changedError{c.node.Content.Context, err}
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(tw, h), f, c.node.Size); err != nil {
		return &changedError{c.node.Content.Context, err}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != c.digest {
		return &changedError{c.node.Content.Context, nil}
	}
	return nil
}

// A changedError is a file that was saved while the layer was written.
type changedError struct {
	path  string
	cause error
}

func (e *changedError) Error() string {
	return fmt.Sprintf("%s changed while it was read", e.path)
}

func (e *changedError) Unwrap() error { return e.cause }

// TimeOf is the modification time of a file of the content with that digest, in hex. It follows from
// the content, so that equal inputs give equal layers and a web server does
// not answer "not modified" after an edit, as it would with a constant one.
func TimeOf(digest string) time.Time {
	const begin, span = 1_000_000_000, 600_000_000 // 2001-09 to 2020-09
	b, err := hex.DecodeString(digest)
	if err != nil || len(b) < 8 {
		return time.Unix(begin, 0)
	}
	return time.Unix(begin+int64(binary.BigEndian.Uint64(b)%span), 0)
}

// A spool holds files that were copied out of other layers, which can only be
// read from their beginning.
type spool struct {
	file  *os.File
	where map[place]section
}

type place struct{ layer, path string }

type section struct{ offset, size int64 }

// fetch reads each layer that changes copy from once.
func (a *assembly) fetch(changes []change) (*spool, error) {
	wanted := map[string]map[string]bool{}
	for _, c := range changes {
		if c.node == nil || !c.node.isRegular() || c.node.Content.Layer == "" || c.node.Content.Data != nil {
			continue
		}
		from := c.node.Content.Layer
		if wanted[from] == nil {
			wanted[from] = map[string]bool{}
		}
		wanted[from][c.node.Content.Path] = true
	}
	if len(wanted) == 0 {
		return &spool{}, nil
	}
	f, err := os.CreateTemp("", "kdev-layer-")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name()) // goes with the descriptor, however the process ends
	s := &spool{file: f, where: map[place]section{}}
	offset := int64(0)
	for from, paths := range wanted {
		err := walkLayer(a.store, layout.Descriptor{Digest: layout.Digest(from)}, func(h *tar.Header, p string, r io.Reader) error {
			if !paths[p] || h.Typeflag != tar.TypeReg {
				return nil
			}
			n, err := io.Copy(f, r)
			if err != nil {
				return err
			}
			s.where[place{from, p}] = section{offset, n}
			offset += n
			return a.ctx.Err()
		})
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *spool) copy(w io.Writer, c content) error {
	at, ok := s.where[place{c.Layer, c.Path}]
	if !ok {
		return fmt.Errorf("layer %s no longer holds %s", c.Layer, c.Path)
	}
	_, err := io.Copy(w, io.NewSectionReader(s.file, at.offset, at.size))
	return err
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// read returns a small file's content: of passwd and group.
func (a *assembly) read(n *node) ([]byte, error) {
	switch {
	case n.Content.Data != nil:
		return n.Content.Data, nil
	case n.Content.Context != "":
		f, err := a.open(n.Content.Context)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, 1<<20))
	default:
		var buf bytes.Buffer
		err := walkLayer(a.store, layout.Descriptor{Digest: layout.Digest(n.Content.Layer)}, func(_ *tar.Header, p string, r io.Reader) error {
			if p != n.Content.Path {
				return nil
			}
			if _, err := io.Copy(&buf, io.LimitReader(r, 1<<20)); err != nil {
				return err
			}
			return fs.SkipAll
		})
		return buf.Bytes(), err
	}
}
