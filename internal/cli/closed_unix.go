//go:build unix

package cli

import (
	"context"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// untilClosed is ctx, done too when nobody reads out any more: a command that follows would
// notice that only with the next thing that it writes. end gives back what that takes.
func untilClosed(ctx context.Context, out io.Writer) (_ context.Context, end func()) {
	file, ok := out.(*os.File)
	if !ok {
		return ctx, func() {}
	}
	// A terminal's end is a signal, and not every system can poll one.
	if info, err := file.Stat(); err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return ctx, func() {}
	}
	wake, stop, err := os.Pipe()
	if err != nil {
		return ctx, func() {} // without it, the next write tells
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		defer cancel()
		// Nothing is asked for: the kernel always tells of the other end's close.
		fds := []unix.PollFd{{Fd: int32(file.Fd())}, {Fd: int32(wake.Fd())}}
		for {
			_, err := unix.Poll(fds, -1)
			if err != unix.EINTR {
				return
			}
		}
	})
	return ctx, func() {
		stop.Close()
		work.Wait()
		wake.Close()
		cancel()
	}
}
