package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// renewedLimit is more than the kubelet takes: it looks at a pod every 60 to 90 seconds,
// at what it has read of a ConfigMap at most a minute before.
const renewedLimit = 5 * time.Minute

// gone stands for the content of a file that goes.
const gone = "-"

// Renewed waits until the kubelet has renewed files of a volume: a folder, then pairs of a
// path in it and the SHA-256 of the content to come, "-" for a file that goes. It
// ends early when stdin does, as it does when kdev is no more. It returns the exit code.
func Renewed(args []string) int {
	if len(args) < 3 || len(args)%2 == 0 {
		say(os.Stderr, "renewed: wants a folder and pairs of a file and its SHA-256")
		return 2
	}
	want := map[string]string{}
	for i := 1; i < len(args); i += 2 {
		want[args[i]] = args[i+1]
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), renewedLimit, errors.New("it was not renewed within "+renewedLimit.String()))
	defer cancel()
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := renewed(ctx, args[0], want); err != nil {
		say(os.Stderr, "renewed: "+err.Error())
		return 1
	}
	return 0
}

// renewed waits for contents, by their path in folder. The kubelet puts a new folder in the
// place of the old one and lets the link ..data of the volume point there; links of keys
// that come and go follow. All of that is seen at the volume's own folder.
func renewed(ctx context.Context, folder string, want map[string]string) error {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	if _, err := syscall.InotifyAddWatch(fd, folder, syscall.IN_CREATE|syscall.IN_DELETE|syscall.IN_MOVED_TO); err != nil {
		return &fs.PathError{Op: "watch", Path: folder, Err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buffer := make([]byte, 4096)
	for {
		if ok, err := holds(folder, want); ok || err != nil {
			return err
		}
		if _, err := events.Read(buffer); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

// holds says whether all files of folder have the content that is wanted.
func holds(folder string, want map[string]string) (bool, error) {
	for name, sum := range want {
		content, err := os.ReadFile(filepath.Join(folder, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if sum != gone {
				return false, nil
			}
		case err != nil:
			return false, err
		default:
			if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != sum {
				return false, nil
			}
		}
	}
	return true, nil
}
