package layout

import (
	"os"

	"golang.org/x/sys/windows"
)

// flock takes a lock that the kernel drops with the handle, however the process
// ends. With wait false a held lock is errHeld at once. Locks of Windows forbid
// others to read and write what they cover, so it is a byte that no file has.
func flock(f *os.File, exclusive, wait bool) error {
	var how uint32
	if exclusive {
		how |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	if !wait {
		how |= windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if err == windows.ERROR_LOCK_VIOLATION || err == windows.ERROR_IO_PENDING {
		return errHeld
	}
	return err
}
