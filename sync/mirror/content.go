package mirror

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"os"
	"time"

	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/digest"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/patch"
	"github.com/kdev-io/kdev/sync/protocol"
)

// How a file's content travels: as a patch where the version that the container
// holds is at hand and the patch is small; deflated where the network is slow and
// the content gives way; else as it is, since the stream to a local cluster takes
// more bytes a second than deflate does.
const (
	farAway    = 5 * time.Millisecond // shortest round trip
	worthwhile = 0.9                  // of its size, for compression
	sampleSize = 64 << 10
)

// patched sends a big file as a patch. done is false where it has to go whole.
func (c *conversation) patched(op engine.Op, m *protocol.Put) (done bool, local, err error) {
	w := c.w
	if op.File.Size < patchMin || op.Old == nil || !op.Old.Mode.IsRegular() || w.tries[op.Path] > 0 {
		return false, nil, nil
	}
	p, err := w.m.patch(op.Old.Digest, op.File)
	switch {
	case err == nil:
	case errors.Is(err, errChanged):
		return false, err, nil
	default:
		return false, nil, nil // no base, or a patch does not pay
	}
	m.Encoding = protocol.Patched
	if len(p) <= inlineLimit {
		m.Inline = p
		return true, nil, c.out.Send(m)
	}
	m.Stream = true
	if err := c.out.Send(m); err != nil {
		return true, nil, err
	}
	for len(p) > 0 {
		n := min(len(p), chunkSize)
		if err := c.out.Write(protocol.KindData, p[:n]); err != nil {
			return true, nil, err
		}
		p = p[n:]
	}
	return true, nil, c.out.Send(&protocol.PutEnd{})
}

// deflate compresses a small file, or returns nil where that does not pay.
func (c *conversation) deflate(content []byte) []byte {
	if !c.far() || len(content) < 1<<10 {
		return nil
	}
	var b bytes.Buffer
	z, err := c.compressor(&b)
	if err != nil {
		return nil
	}
	z.Write(content)
	z.Close()
	if float64(b.Len()) > worthwhile*float64(len(content)) {
		return nil
	}
	return b.Bytes()
}

// compressor is the connection's one, writing to w: a new one is a megabyte to be
// cleared, for each of a thousand small files.
func (c *conversation) compressor(w io.Writer) (*flate.Writer, error) {
	if c.z != nil {
		c.z.Reset(w)
		return c.z, nil
	}
	z, err := flate.NewWriter(w, flate.BestSpeed)
	c.z = z
	return z, err
}

// stream sends a big file in pieces, with bounded memory, and keeps a copy of
// what it sent to make the next patch from.
func (c *conversation) stream(f *os.File, m *protocol.Put) (local, err error) {
	m.Stream = true
	sample := make([]byte, sampleSize)
	n, rerr := io.ReadFull(f, sample)
	if rerr != nil && rerr != io.ErrUnexpectedEOF && rerr != io.EOF {
		return rerr, nil
	}
	if c.deflate(sample[:n]) != nil {
		m.Encoding = protocol.Deflated
	}
	if err := c.out.Send(m); err != nil {
		return nil, err
	}
	frames := &frameWriter{out: c.out}
	var to io.Writer = frames
	var z *flate.Writer
	if m.Encoding == protocol.Deflated {
		if z, err = c.compressor(frames); err != nil {
			return nil, err
		}
		to = z
	}
	h := digest.New()
	defer h.Stop()
	kept := c.w.m.bases.record(m.Size)
	size, rerr := io.Copy(io.MultiWriter(to, h, kept), io.MultiReader(bytes.NewReader(sample[:n]), io.LimitReader(f, m.Size)))
	if frames.err != nil {
		kept.drop()
		return nil, frames.err
	}
	if z != nil {
		if err := z.Close(); err != nil {
			kept.drop()
			return nil, err
		}
	}
	if err := frames.flush(); err != nil {
		kept.drop()
		return nil, err
	}
	if local = rerr; local == nil && (size != m.Size || tree.Digest(h.Sum()) != m.Digest) {
		local = errChanged
	}
	if local != nil {
		kept.drop()
	} else {
		kept.keep(m.Digest)
	}
	return local, c.out.Send(&protocol.PutEnd{Abort: local != nil})
}

// A frameWriter writes Data frames.
type frameWriter struct {
	out *protocol.Writer
	buf []byte
	err error // of the connection
}

func (f *frameWriter) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(len(p), chunkSize-len(f.buf))
		f.buf = append(f.buf, p[:n]...)
		p = p[n:]
		if len(f.buf) == chunkSize {
			if err := f.flush(); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

func (f *frameWriter) flush() error {
	if len(f.buf) > 0 && f.err == nil {
		f.err = f.out.Write(protocol.KindData, f.buf)
		f.buf = f.buf[:0]
	}
	return f.err
}

// patch returns the patch from one version of a file to what it is now. All
// replicas ask for the same one.
func (m *Mirror) patch(old tree.Digest, file engine.File) ([]byte, error) {
	return m.patches.get(old, file.Digest, func() ([]byte, error) { return m.makePatch(old, file) })
}

func (m *Mirror) makePatch(old tree.Digest, file engine.File) ([]byte, error) {
	data, release, ok := m.bases.open(old)
	if !ok {
		return nil, errNoBase
	}
	defer release()
	f, err := m.open(file)
	if err != nil {
		return nil, errChanged
	}
	defer f.Close()
	var b bytes.Buffer
	h := digest.New()
	defer h.Stop()
	kept := m.bases.record(file.Size)
	err = patch.Make(&b, data, io.TeeReader(f, io.MultiWriter(h, kept)), min(file.Size/2, patchMost))
	if err != nil {
		kept.drop()
		return nil, err
	}
	if tree.Digest(h.Sum()) != file.Digest {
		kept.drop()
		return nil, errChanged
	}
	kept.keep(file.Digest)
	return b.Bytes(), nil
}
