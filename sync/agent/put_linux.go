package agent

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/kdev-io/kdev/sync/digest"
	"github.com/kdev-io/kdev/sync/patch"
	"github.com/kdev-io/kdev/sync/protocol"
)

// incoming is a file whose content arrives. After a failure the rest is
// swallowed, because the stream goes on.
type incoming struct {
	number int
	put    *protocol.Put
	dir    *dirHandle
	temp   string
	file   *tempFile
	old    fs.FileInfo
	hash   *digest.Writer
	size   int64
	decode *decoding // of an encoded content that comes in parts
	err    error
}

// put begins a file. One whose content came with it is the crew's.
func (b *batch) put(m *protocol.Put, err error) {
	in := &incoming{number: b.number, put: m, hash: digest.New(), err: err}
	if !m.Stream {
		b.group = append(b.group, in)
		if b.grouped += len(m.Inline); len(b.group) == groupMost || b.grouped >= groupSize {
			b.handOver()
		}
		return
	}
	b.wait()
	b.begin(in)
	if in.err == nil && m.Encoding != protocol.Raw {
		in.err = in.startDecoding()
	}
	b.into = in
}

// What goes to the crew at once: waking one of it takes as long as a file.
const (
	groupMost = 16
	groupSize = 64 << 10
)

// handOver gives the crew what was gathered for it.
func (b *batch) handOver() {
	group := b.group
	if len(group) == 0 {
		return
	}
	b.group, b.grouped = nil, 0
	b.crew.do(func() {
		for _, in := range group {
			b.begin(in)
			if in.err == nil {
				in.err = in.whole()
			}
			b.complete(in)
		}
	})
}

// wait waits until all that came is written.
func (b *batch) wait() {
	b.handOver()
	b.crew.wait()
}

// begin makes the temporary file.
func (b *batch) begin(in *incoming) {
	if in.err == nil {
		in.err = b.open(in)
	}
}

func (b *batch) open(in *incoming) error {
	key, name := keyOf(&in.put.Target)
	d, err := b.dirs.dir(key, true)
	if err != nil {
		return err
	}
	in.dir = d
	if in.old, err = b.expect(d, name, &in.put.Target); err != nil {
		return err
	}
	if in.old != nil && in.old.IsDir() {
		return errInTheWay
	}
	in.temp = b.temp(in.number)
	if in.file, err = d.create(in.temp); err == nil && in.old != nil {
		err = in.file.reserve(in.put.Size)
	}
	return err
}

// whole takes a content that came at once.
func (in *incoming) whole() error {
	m := in.put
	if m.Encoding == protocol.Raw {
		_, err := in.Write(m.Inline)
		return err
	}
	old, closeOld, err := in.base()
	if err != nil {
		return err
	}
	defer closeOld()
	return decodeAll(m.Encoding, old, bytes.NewReader(m.Inline), in)
}

// base opens what a patch is applied to.
func (in *incoming) base() (old io.ReaderAt, closeOld func() error, err error) {
	if in.put.Encoding != protocol.Patched {
		return nil, func() error { return nil }, nil
	}
	f, err := in.dir.root.Open(path.Base(in.put.Path))
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// data takes a part of the content.
func (b *batch) data(p []byte) error {
	if b.into == nil {
		return errors.New("content without a file")
	}
	b.into.take(p)
	return nil
}

func (in *incoming) take(p []byte) {
	if in.err != nil {
		return
	}
	if in.decode != nil {
		in.err = in.decode.feed(p)
		return
	}
	_, in.err = in.Write(p)
}

// Write takes decoded content.
func (in *incoming) Write(p []byte) (int, error) {
	if in.size += int64(len(p)); in.size > in.put.Size {
		return 0, errCorrupt // more than was announced: do not fill the disk
	}
	in.hash.Write(p)
	return in.file.Write(p)
}

func (in *incoming) drop() {
	if in.decode != nil {
		in.decode.stop()
	}
	in.hash.Stop()
	if in.file != nil {
		in.file.close()
		in.dir.root.Remove(in.temp)
	}
}

func (b *batch) putEnd(end *protocol.PutEnd) error {
	in := b.into
	b.into = nil
	if in.decode != nil && in.err == nil {
		in.err = in.decode.finish()
	}
	if in.err == nil && end.Abort {
		in.err = errAborted
	}
	b.complete(in)
	return nil
}

// complete stages a file whose content is there, or gives it up.
func (b *batch) complete(in *incoming) {
	defer b.dirs.release(in.dir)
	if in.err == nil && (in.size != in.put.Size || in.hash.Sum() != in.put.Digest) {
		in.err = errCorrupt
	}
	if in.err == nil {
		in.err = b.finish(in)
	}
	if in.err != nil {
		in.drop()
		b.note(in.number, &in.put.Target, in.err)
	}
}

// finish gives the temporary file owner, mode and time, and stages it. The owner
// is that of what is replaced, else of the directory, where that is permitted.
func (b *batch) finish(in *incoming) error {
	m := in.put
	uid, gid := ownerOf(first(in.old, in.dir.info))
	if uid != b.uid || gid != b.gid {
		if err := in.file.chown(uid, gid); err != nil && in.old != nil {
			b.mu.Lock()
			b.owner++
			b.mu.Unlock()
		}
	}
	perm := m.Perm
	if !m.SetPerm && in.old != nil && in.old.Mode().IsRegular() {
		perm = permOf(in.old)
	}
	if err := in.file.chmod(perm); err != nil {
		return err
	}
	if m.MTime != 0 {
		if err := in.file.times(m.MTime); err != nil {
			return err
		}
	}
	if err := in.file.close(); err != nil {
		return err
	}
	key, name := keyOf(&m.Target)
	b.stage(staged{in.number, key, name, in.temp, protocol.File{Type: protocol.Regular, Perm: m.Perm, Digest: m.Digest}})
	return nil
}

// A decoding turns encoded content back while it arrives: the decoder reads from
// a pipe that feed writes to.
type decoding struct {
	w    *io.PipeWriter
	done chan error
}

func (in *incoming) startDecoding() error {
	old, closeOld, err := in.base()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	d := &decoding{w: w, done: make(chan error, 1)}
	in.decode = d
	go func() {
		err := decodeAll(in.put.Encoding, old, bufio.NewReaderSize(r, 32<<10), in)
		closeOld()
		if err == nil {
			r.CloseWithError(errCorrupt) // nothing may follow
		} else {
			r.CloseWithError(err) // what feed returns
		}
		d.done <- err
	}()
	return nil
}

// encoded is a reader of which flate takes no more than it must.
type encoded interface {
	io.Reader
	io.ByteReader
}

// decodeAll writes what an encoded content stands for.
func decodeAll(e protocol.Encoding, old io.ReaderAt, from encoded, to io.Writer) error {
	var err error
	switch e {
	case protocol.Deflated:
		z := flate.NewReader(from)
		_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{z}, make([]byte, 32<<10))
	default:
		err = patch.Apply(to, old, from)
	}
	var bad flate.CorruptInputError
	if errors.As(err, &bad) || errors.Is(err, patch.ErrCorrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCorrupt
	}
	if err == nil {
		// What follows the end of the content is not ours.
		if _, rerr := from.ReadByte(); rerr == nil {
			err = errCorrupt
		}
	}
	return err
}

func (d *decoding) feed(p []byte) error {
	_, err := io.Copy(d.w, bytes.NewReader(p))
	return err
}

func (d *decoding) finish() error {
	d.w.Close()
	err := <-d.done
	d.done <- err
	return err
}

// stop ends the goroutine whatever it is doing.
func (d *decoding) stop() {
	d.w.CloseWithError(errAborted)
	<-d.done
}
