package past

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/kdev-io/kdev/logs/store"
)

// Limit is how many bytes of lines are kept.
const Limit = 256 << 20

// fileBytes is how long one file becomes: the grain in which old lines go.
const fileBytes = 8 << 20

// ErrBusy says that another process keeps the lines of this folder.
var ErrBusy = errors.New("another process keeps these logs")

// Dir is the folder of a project's lines below the user's state folder
// ($XDG_STATE_HOME, else ~/.local/state).
func Dir(getenv func(string) string, key string) (string, error) {
	state := getenv("XDG_STATE_HOME")
	if state == "" {
		home := getenv("HOME")
		if home == "" {
			return "", errors.New("find the state folder: neither XDG_STATE_HOME nor HOME is set")
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "kdev", "logs", key), nil
}

// A Writer keeps lines in a folder. It belongs to one goroutine.
type Writer struct {
	// Hide takes out of a line, in place, what is not to be kept; nil keeps all.
	Hide func(line []byte) []byte

	dir     string
	limit   int64
	lock    *flock.Flock
	file    *os.File
	written int64
	numbers map[int]uint64   // of sources in the current file, by their ID
	kept    map[string]int64 // time of the last line of each container that is on disk
	buf     []byte
	line    []byte // what Hide works on: the store's lines are shared
}

// Open begins to keep lines in a folder, which it makes. It reads what is there, to
// know what is kept already.
func Open(dir string, limit int64) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep logs: %w", err)
	}
	w := &Writer{dir: dir, limit: limit, lock: flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600)), kept: map[string]int64{}}
	locked, err := w.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("keep logs: %w", err)
	}
	if !locked {
		return nil, ErrBusy
	}
	err = Read(dir, func(src *store.Source, l store.Line, _ []byte) error {
		if k := identity(src); k != "" {
			w.kept[k] = max(w.kept[k], l.Time)
		}
		return nil
	})
	if err != nil {
		_ = w.lock.Close()
		return nil, err
	}
	return w, nil
}

// identity names a container over processes; "" for what is not one.
func identity(src *store.Source) string {
	if src.Kind != store.Container {
		return ""
	}
	return src.PodUID + "/" + src.Container
}

// Run keeps the lines of a store until ctx is done, then what is left of it.
func (w *Writer) Run(ctx context.Context, st *store.Store) error {
	cur := st.Cursor(false)
	defer cur.Close()
	for {
		segs, _ := cur.Next()
		for i := range segs {
			for _, l := range segs[i].Lines {
				if err := w.add(segs[i].Source, l, segs[i].Text(l)); err != nil {
					return err
				}
			}
		}
		if len(segs) > 0 {
			continue
		}
		if err := w.flush(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-cur.Changed():
		case <-ctx.Done():
			continue
		}
		// One write for what comes within a moment; nobody waits for the disk.
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (w *Writer) add(src *store.Source, l store.Line, msg []byte) error {
	if k := identity(src); k != "" && l.Time != 0 {
		if l.Time <= w.kept[k] {
			return nil // kept by an earlier run
		}
	}
	if w.file == nil || w.written > fileBytes {
		if err := w.next(); err != nil {
			return err
		}
	}
	number, ok := w.numbers[src.ID]
	if !ok {
		number = uint64(len(w.numbers))
		w.numbers[src.ID] = number
		w.buf = appendSource(w.buf, number, src)
	}
	if w.Hide != nil {
		w.line = append(w.line[:0], msg...)
		msg = w.Hide(w.line)
	}
	w.buf = appendLine(w.buf, number, l, msg)
	if len(w.buf) > 256<<10 {
		return w.flush()
	}
	return nil
}

func (w *Writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	n, err := w.file.Write(w.buf)
	w.written += int64(n)
	w.buf = w.buf[:0]
	if err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	return nil
}

// next begins a file and drops the oldest ones beyond the limit.
func (w *Writer) next() error {
	if err := w.closeFile(); err != nil {
		return err
	}
	have, err := files(w.dir)
	if err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	total := int64(fileBytes)
	for i := len(have) - 1; i >= 0; i-- {
		info, err := os.Stat(have[i])
		if err != nil {
			continue
		}
		if total += info.Size(); total > w.limit {
			_ = os.Remove(have[i])
		}
	}
	name := fmt.Sprintf("%020d%s", time.Now().UnixNano(), suffix)
	w.file, err = os.OpenFile(filepath.Join(w.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	w.numbers = map[int]uint64{}
	w.written = 0
	w.buf = append(w.buf, head...)
	return nil
}

func (w *Writer) closeFile() error {
	if w.file == nil {
		return nil
	}
	err := w.flush()
	if cerr := w.file.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("keep logs: %w", cerr)
	}
	w.file = nil
	return err
}

// Close ends keeping. The lock's file stays: removing it would race with another
// process that opens it.
func (w *Writer) Close() error {
	err := w.closeFile()
	if cerr := w.lock.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("keep logs: %w", cerr)
	}
	return err
}

// Read calls fn for every line that a folder holds, the oldest file first. Sources
// are new for each file. The message is valid until fn returns.
func Read(dir string, fn func(src *store.Source, l store.Line, msg []byte) error) error {
	list, err := files(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read kept logs: %w", err)
	}
	for _, path := range list {
		if err := readFile(path, fn); err != nil {
			return fmt.Errorf("read kept logs: %w", err)
		}
	}
	return nil
}
