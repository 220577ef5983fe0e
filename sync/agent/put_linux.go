package agent

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/kdev-io/kdev/sync/patch"
	"github.com/kdev-io/kdev/sync/protocol"
)

// incoming is a file whose content arrives. After a failure the rest is
// swallowed, because the stream goes on.
type incoming struct {
	put    *protocol.Put
	dir    *dirHandle
	temp   string
	file   *os.File
	old    fs.FileInfo
	hash   hash.Hash
	size   int64
	decode *decoding // of an encoded content
	err    error
}

// put begins a file, and ends it when its content came with it.
func (b *batch) put(m *protocol.Put, valid bool) error {
	in := &incoming{put: m, hash: sha256.New()}
	if !valid {
		in.err = errBadPath
	} else {
		in.err = b.open(in)
	}
	b.into = in
	if m.Stream {
		return nil
	}
	in.take(m.Inline)
	return b.putEnd(&protocol.PutEnd{})
}

func (b *batch) open(in *incoming) error {
	m := in.put
	key, name := keyOf(&m.Target)
	d, err := b.dir(key, true)
	if err != nil {
		return err
	}
	in.dir = d
	if in.old, err = b.expect(d, name, &m.Target); err != nil {
		return err
	}
	if in.old != nil && in.old.IsDir() {
		return errInTheWay
	}
	in.temp = b.temp()
	if in.file, err = d.root.OpenFile(in.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	if m.Encoding != protocol.Raw {
		var old io.ReaderAt
		var closeOld func() error
		if m.Encoding == protocol.Patched {
			f, err := d.root.Open(name)
			if err != nil {
				return err
			}
			old, closeOld = f, f.Close
		}
		in.decode = startDecoding(m.Encoding, old, closeOld, in)
	}
	return nil
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
	if in.file != nil {
		in.file.Close()
		in.dir.root.Remove(in.temp)
	}
}

func (b *batch) putEnd(end *protocol.PutEnd) error {
	in := b.into
	b.into = nil
	err := in.err
	if in.decode != nil && err == nil {
		err = in.decode.finish()
	}
	switch {
	case err != nil:
	case end.Abort:
		err = errAborted
	case in.size != in.put.Size || [32]byte(in.hash.Sum(nil)) != in.put.Digest:
		err = errCorrupt
	default:
		err = b.finish(in)
	}
	if err != nil {
		in.drop()
		b.note(&in.put.Target, err)
	}
	return nil
}

// finish gives the temporary file owner, mode and time, and stages it. The owner
// is that of what is replaced, else of the directory, where that is permitted.
func (b *batch) finish(in *incoming) error {
	m := in.put
	uid, gid := ownerOf(first(in.old, in.dir.info))
	if uid != os.Geteuid() || gid != os.Getegid() {
		if err := in.file.Chown(uid, gid); err != nil && in.old != nil {
			b.owner++
		}
	}
	perm := m.Perm
	if !m.SetPerm && in.old != nil && in.old.Mode().IsRegular() {
		perm = permOf(in.old)
	}
	if err := in.file.Chmod(modeOf(perm)); err != nil {
		return err
	}
	if err := in.file.Close(); err != nil {
		return err
	}
	if m.MTime != 0 {
		t := unixTime(m.MTime)
		if err := in.dir.root.Chtimes(in.temp, t, t); err != nil {
			return err
		}
	}
	key, name := keyOf(&m.Target)
	b.staged = append(b.staged, staged{key, name, in.temp, protocol.File{Type: protocol.Regular, Perm: m.Perm, Digest: m.Digest}})
	return nil
}

// A decoding turns encoded content back while it arrives: the decoder reads from
// a pipe that feed writes to.
type decoding struct {
	w    *io.PipeWriter
	done chan error
}

func startDecoding(e protocol.Encoding, old io.ReaderAt, closeOld func() error, to io.Writer) *decoding {
	r, w := io.Pipe()
	d := &decoding{w: w, done: make(chan error, 1)}
	go func() {
		var err error
		encoded := bufio.NewReaderSize(r, 32<<10) // flate reads no further than it must from one
		switch e {
		case protocol.Deflated:
			z := flate.NewReader(encoded)
			_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{z}, make([]byte, 32<<10))
		default:
			if err = patch.Apply(to, old, encoded); errors.Is(err, patch.ErrCorrupt) {
				err = errCorrupt
			}
		}
		if closeOld != nil {
			closeOld()
		}
		if err == nil {
			// What follows the end of the stream is not ours.
			if _, rerr := encoded.ReadByte(); rerr == nil {
				err = errCorrupt
			}
		}
		if err == nil {
			r.CloseWithError(errCorrupt)
		} else {
			r.CloseWithError(err) // what feed returns
		}
		d.done <- err
	}()
	return d
}

func (d *decoding) feed(p []byte) error {
	_, err := io.Copy(d.w, bytes.NewReader(p))
	return err
}

func (d *decoding) finish() error {
	d.w.Close()
	err := <-d.done
	d.done <- err
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCorrupt
	}
	return err
}

// stop ends the goroutine whatever it is doing.
func (d *decoding) stop() {
	d.w.CloseWithError(errAborted)
	<-d.done
}
