package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kdev-io/kdev/internal/session"
)

// A stream is frames: one JSON value a line. Both ends bound what they take in.
const (
	longestFrame   = 32 << 20 // a State of some hundred services is below 5 MB
	longestCommand = 64 << 10
)

var errTooLong = errors.New("a frame is longer than it may be")

// readFrame reads one line without its end. It returns io.EOF at the end of the
// stream, io.ErrUnexpectedEOF where the last line was cut off.
func readFrame(r *bufio.Reader, longest int) ([]byte, error) {
	var frame []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(frame)+len(part) > longest {
			return nil, errTooLong
		}
		frame = append(frame, part...)
		switch {
		case err == nil:
			return frame[:len(frame)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(frame) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// decodeCommand reads what a client asks for. A field that this kdev does not
// know is refused: it would not be done.
func decodeCommand(r io.Reader) (session.Command, error) {
	var c session.Command
	text, err := io.ReadAll(io.LimitReader(r, longestCommand+1))
	if err != nil {
		return c, err
	}
	if len(text) > longestCommand {
		return c, errTooLong
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return session.Command{}, fmt.Errorf("read a command: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return session.Command{}, errors.New("read a command: something follows it")
	}
	return c, nil
}
