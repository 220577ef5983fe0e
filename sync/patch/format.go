package patch

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
)

// A patch is deflated and then a list of operations, each a varint whose low two
// bits are the kind and whose rest is a length, or for move a zigzag distance.
const (
	opCopy    = iota // the next n bytes are those of the old file at the offset
	opDiff           // n bytes follow; each is added to one of the old file
	opLiteral        // n bytes follow
	opMove           // the offset changes by a distance
)

// ErrCorrupt is the cause when a patch is none, or does not fit the old file.
var ErrCorrupt = errors.New("not a patch of this file")

const bufferSize = 32 << 10

// Apply writes the new file to w.
func Apply(w io.Writer, old io.ReaderAt, patch io.Reader) error {
	z := flate.NewReader(patch)
	defer z.Close()
	r := bufio.NewReaderSize(z, bufferSize)
	a := applier{w: w, old: old, r: r, buf: make([]byte, bufferSize), other: make([]byte, bufferSize)}
	for {
		op, err := binary.ReadUvarint(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return corrupt(err)
		}
		kind, n := op&3, op>>2
		if kind == opMove {
			a.at += int64(n>>1) ^ -int64(n&1)
			continue
		}
		if err := a.bytes(kind, n); err != nil {
			return err
		}
	}
}

type applier struct {
	w          io.Writer
	old        io.ReaderAt
	r          io.Reader
	at         int64 // in the old file
	buf, other []byte
}

func (a *applier) bytes(kind, n uint64) error {
	for n > 0 {
		part := a.buf[:min(n, uint64(len(a.buf)))]
		if kind != opCopy {
			if _, err := io.ReadFull(a.r, part); err != nil {
				return corrupt(err)
			}
		}
		if kind != opLiteral {
			from := part
			if kind == opDiff {
				from = a.other[:len(part)]
			}
			if a.at < 0 {
				return ErrCorrupt
			}
			if _, err := a.old.ReadAt(from, a.at); err != nil {
				if err == io.EOF {
					return ErrCorrupt
				}
				return err
			}
			if kind == opDiff {
				for i, b := range from {
					part[i] += b
				}
			}
		}
		if _, err := a.w.Write(part); err != nil {
			return err
		}
		a.at += int64(len(part))
		n -= uint64(len(part))
	}
	return nil
}

// corrupt tells a broken patch from a stream that broke.
func corrupt(err error) error {
	var bad flate.CorruptInputError
	if errors.As(err, &bad) || err == io.EOF || err == io.ErrUnexpectedEOF || err.Error() == overflow {
		return ErrCorrupt
	}
	return err
}

// overflow is binary.ReadUvarint's error for a number that is too long; it has
// no exported value.
const overflow = "binary: varint overflows a 64-bit integer"
