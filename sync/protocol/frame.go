package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A frame is: length of the payload (4 bytes, little endian), CRC-32C of kind
// and payload (4), kind (1), payload.
const headerSize = 9

// MaxPayload bounds a frame, and with it the memory that a peer can make us use.
const MaxPayload = 256 << 10

// ErrFrame is the cause when bytes are no frame of ours.
var ErrFrame = errors.New("not a frame of the sync protocol")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Writer writes frames through a buffer. Not safe for concurrent use.
type Writer struct {
	w    *bufio.Writer
	sent int64
	e    encoder // its buffer serves one message after the other
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 32<<10)} }

// Write writes one frame; the bytes leave with Flush at the latest.
func (w *Writer) Write(k Kind, payload []byte) error {
	if len(payload) > MaxPayload {
		return errors.New("frame too large")
	}
	var head [headerSize]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(payload)))
	head[8] = byte(k)
	sum := crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, payload)
	binary.LittleEndian.PutUint32(head[4:], sum)
	if _, err := w.w.Write(head[:]); err != nil {
		return err
	}
	w.sent += int64(headerSize + len(payload))
	_, err := w.w.Write(payload)
	return err
}

// Send writes one message.
func (w *Writer) Send(m Message) error {
	w.e.b = w.e.b[:0]
	m.encode(&w.e)
	return w.Write(m.Kind(), w.e.b)
}

// Flush hands everything on.
func (w *Writer) Flush() error { return w.w.Flush() }

// Sent is the number of bytes written so far.
func (w *Writer) Sent() int64 { return w.sent }

// A Reader reads frames. Not safe for concurrent use.
type Reader struct {
	r   *bufio.Reader
	buf []byte
	got int64
}

// NewReader returns a Reader from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 32<<10)} }

// Read returns the next frame. The payload is valid until the next call.
func (r *Reader) Read() (Kind, []byte, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r.r, head[:1]); err != nil {
		return 0, nil, err // io.EOF between two frames is an end
	}
	if _, err := io.ReadFull(r.r, head[1:]); err != nil {
		return 0, nil, unexpected(err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > MaxPayload {
		return 0, nil, ErrFrame
	}
	if int(n) > cap(r.buf) {
		r.buf = make([]byte, n, max(int(n), 4<<10))
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return 0, nil, unexpected(err)
	}
	sum := crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, r.buf)
	if sum != binary.LittleEndian.Uint32(head[4:]) {
		return 0, nil, ErrFrame
	}
	r.got += int64(headerSize) + int64(n)
	return Kind(head[8]), r.buf, nil
}

// Receive returns the next message. What it holds is its own.
func (r *Reader) Receive() (Message, error) {
	k, payload, err := r.Read()
	if err != nil {
		return nil, err
	}
	return Decode(k, payload)
}

// Received is the number of bytes read so far.
func (r *Reader) Received() int64 { return r.got }

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
