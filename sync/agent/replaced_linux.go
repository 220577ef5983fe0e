package agent

import (
	"sync"
	"syscall"
)

// replaced are files that a batch took the name from, kept open until its answer is
// on the way. A file system frees the blocks of a file when nobody has it open any
// more, and that may be slow: an ext4 that discards took 0.7 ms for each, ten times
// as long as the writing of a small file.
type replaced struct {
	mu  sync.Mutex
	fds []int
	off bool // no more can be held
}

// heldMost bounds the open files; of a lower limit of the process, half is used.
const heldMost = 16 << 10

const oPath = 0x200000 // O_PATH of open(2): needs no permission to read

// hold keeps what a directory has under a name, if there is something. What cannot
// be held is freed at once, which costs time and nothing else. On NFS nothing is: there
// an open file is renamed aside before another takes its name, which is missing meanwhile.
func (r *replaced) hold(d *dirHandle, name string) {
	if d.nfs || !r.room() {
		return
	}
	// One component and no link followed: it stays in the directory.
	fd, err := syscall.Openat(d.fd, name, oPath|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch err {
	case nil:
		r.fds = append(r.fds, fd)
	case syscall.EMFILE, syscall.ENFILE:
		r.off = true
	}
}

func (r *replaced) room() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off || len(r.fds) >= heldMost {
		return false
	}
	if len(r.fds) == 0 || len(r.fds) == cap(r.fds) {
		var limit syscall.Rlimit
		if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || uint64(len(r.fds)) >= limit.Cur/2 {
			r.off = true
		}
	}
	return !r.off
}

// free lets them go.
func (r *replaced) free() {
	for _, fd := range r.fds {
		syscall.Close(fd)
	}
	r.fds = nil
}
