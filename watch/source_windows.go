package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/windows"
)

// subtree is ReadDirectoryChangesW on the root with all below it.
type subtree struct {
	root string
	sink sink

	mu      sync.Mutex
	handle  windows.Handle
	stopped chan struct{} // closed to stop the reader
	reader  sync.WaitGroup
}

func openSource(root string, s sink) (source, error) { return &subtree{root: root, sink: s}, nil }

func (t *subtree) Recursive() bool { return true }

// Add opens the root, anew when it is another directory.
func (t *subtree) Add(dir string) error {
	if dir != "." {
		return nil
	}
	t.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	name, err := windows.UTF16PtrFromString(t.root)
	if err != nil {
		return err
	}
	// Sharing everything: watching must not keep anybody from renaming or deleting.
	handle, err := windows.CreateFile(name, windows.FILE_LIST_DIRECTORY,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil,
		windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OVERLAPPED, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: t.root, Err: err}
	}
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		windows.CloseHandle(handle)
		return fmt.Errorf("creating an event: %w", err)
	}
	t.handle, t.stopped = handle, make(chan struct{})
	ready := make(chan error, 1)
	t.reader.Add(1)
	go t.read(handle, event, t.stopped, ready)
	return <-ready // the caller reads the tree next: the system must be listening
}

func (t *subtree) Remove(dir string) {
	if dir == "." {
		t.stop()
	}
}

func (t *subtree) Close() error {
	t.stop()
	return nil
}

func (t *subtree) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handle == 0 {
		return
	}
	close(t.stopped)
	_ = windows.CancelIoEx(t.handle, nil)
	t.reader.Wait()
	windows.CloseHandle(t.handle)
	t.handle = 0
}

const (
	// bufferSize is the most that a network share takes (ReadDirectoryChangesW).
	bufferSize = 64 << 10

	everything = windows.FILE_NOTIFY_CHANGE_FILE_NAME | windows.FILE_NOTIFY_CHANGE_DIR_NAME | windows.FILE_NOTIFY_CHANGE_ATTRIBUTES |
		windows.FILE_NOTIFY_CHANGE_SIZE | windows.FILE_NOTIFY_CHANGE_LAST_WRITE | windows.FILE_NOTIFY_CHANGE_CREATION
)

// read hands buffers to the sink until it is stopped or the root is gone.
func (t *subtree) read(handle, event windows.Handle, stopped <-chan struct{}, ready chan<- error) {
	defer t.reader.Done()
	defer windows.CloseHandle(event)
	buf := make([]byte, bufferSize)
	for first := true; ; first = false {
		overlapped := windows.Overlapped{HEvent: event}
		err := windows.ReadDirectoryChanges(handle, &buf[0], uint32(len(buf)), true, everything, nil, &overlapped, 0)
		if first {
			ready <- err
		}
		if err != nil && !errors.Is(err, windows.ERROR_NOTIFY_ENUM_DIR) {
			t.ended(stopped, err)
			return
		}
		var n uint32
		if err == nil {
			// CancelIoEx may have come before this request was made.
			select {
			case <-stopped:
				_ = windows.CancelIoEx(handle, &overlapped)
			default:
			}
			err = windows.GetOverlappedResult(handle, &overlapped, &n, true)
		}
		switch {
		case errors.Is(err, windows.ERROR_NOTIFY_ENUM_DIR) || err == nil && n == 0:
			t.sink.uncertain("the system's buffer for file events overflowed")
		case err != nil:
			t.ended(stopped, err)
			return
		default:
			readNotifyInformation(t.sink, buf[:n], t.long)
		}
	}
}

// ended tells why reading has ended unless it was asked to: most likely the root
// is gone, and the watcher's look at it will say so.
func (t *subtree) ended(stopped <-chan struct{}, err error) {
	select {
	case <-stopped:
		return
	default:
	}
	t.sink.event(".", moved)
	t.sink.uncertain(fmt.Sprintf("reading file events: %v", err))
}

// long resolves 8.3 names, in which old programs open files; what is gone stays
// as it was reported.
func (t *subtree) long(p string) string {
	abs, err := windows.UTF16PtrFromString(filepath.Join(t.root, p))
	if err != nil {
		return p
	}
	buf := make([]uint16, windows.MAX_LONG_PATH)
	n, err := windows.GetLongPathName(abs, &buf[0], uint32(len(buf)))
	if err != nil || n == 0 || int(n) > len(buf) {
		return p
	}
	if rest, ok := strings.CutPrefix(windows.UTF16ToString(buf[:n]), t.root+`\`); ok {
		return rest
	}
	return p
}
