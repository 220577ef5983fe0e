//go:build unix

package layout

import (
	"os"
	"syscall"
)

// flock takes a whole-file lock that the kernel drops with the descriptor,
// however the process ends. With wait false a held lock is errHeld at once.
func flock(f *os.File, exclusive, wait bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), how); err {
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return errHeld
		default:
			return err
		}
	}
}
