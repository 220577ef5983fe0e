package past

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/kdev-io/kdev/logs/store"
)

// A file is a head and frames. A frame of a source gives it a number in this file; a
// frame of a line names its source by it:
//
//	'S' uvarint(number) uvarint(bytes) JSON of store.Source
//	'L' uvarint(number) int64(time) flags level uvarint(bytes) message
const (
	head        = "kdev logs 1\n"
	suffix      = ".kdevlog"
	frameSource = 'S'
	frameLine   = 'L'
	maxFrame    = 4 << 20
)

// files lists the files of a folder, the oldest first.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	sort.Strings(out)
	return out, nil
}

// Any says whether a folder holds files of lines.
func Any(dir string) (bool, error) {
	list, err := files(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read kept logs: %w", err)
	}
	return len(list) > 0, nil
}

// readFile calls fn for the lines of a file. A file that was cut, as by a crash, is
// read as far as it goes. The message is valid until fn returns.
func readFile(path string, fn func(src *store.Source, l store.Line, msg []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 256<<10)
	start := make([]byte, len(head))
	if _, err := io.ReadFull(r, start); err != nil || string(start) != head {
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil // of another version, or never begun
		}
		return err
	}
	sources := map[uint64]*store.Source{}
	var buf []byte
	for {
		err := readFrame(r, sources, &buf, fn)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errBroken):
			return nil
		default:
			return fmt.Errorf("read %s: %w", filepath.Base(path), err)
		}
	}
}

// errBroken is a frame that no writer wrote.
var errBroken = errors.New("not a frame")

func readFrame(r *bufio.Reader, sources map[uint64]*store.Source, buf *[]byte, fn func(*store.Source, store.Line, []byte) error) error {
	kind, err := r.ReadByte()
	if err != nil {
		return err
	}
	number, err := binary.ReadUvarint(r)
	if err != nil {
		return broken(err)
	}
	var l store.Line
	if kind == frameLine {
		var fixed [10]byte
		if _, err := io.ReadFull(r, fixed[:]); err != nil {
			return err
		}
		l.Time = int64(binary.LittleEndian.Uint64(fixed[:]))
		l.Flags, l.Level = store.Flags(fixed[8]), fixed[9]
	} else if kind != frameSource {
		return errBroken
	}
	size, err := binary.ReadUvarint(r)
	if err != nil || size > maxFrame {
		return broken(err)
	}
	if uint64(cap(*buf)) < size {
		*buf = make([]byte, size, size*2)
	}
	body := (*buf)[:size]
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if kind == frameSource {
		src := &store.Source{}
		if json.Unmarshal(body, src) != nil {
			return errBroken
		}
		sources[number] = src
		return nil
	}
	src := sources[number]
	if src == nil {
		return errBroken
	}
	l.Len = uint32(size)
	return fn(src, l, body)
}

func broken(err error) error {
	if err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return err
	}
	return errBroken
}

func appendSource(dst []byte, number uint64, src *store.Source) []byte {
	body, err := json.Marshal(src)
	if err != nil {
		body = []byte("{}") // strings and maps of strings always marshal
	}
	dst = append(dst, frameSource)
	dst = binary.AppendUvarint(dst, number)
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	return append(dst, body...)
}

func appendLine(dst []byte, number uint64, l store.Line, msg []byte) []byte {
	dst = append(dst, frameLine)
	dst = binary.AppendUvarint(dst, number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(l.Time))
	dst = append(dst, byte(l.Flags), l.Level)
	dst = binary.AppendUvarint(dst, uint64(len(msg)))
	return append(dst, msg...)
}
