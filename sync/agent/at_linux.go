package agent

import (
	"io/fs"
	"syscall"
	"time"
	"unsafe"
)

// What stands here acts on one name in an open directory and follows no link under
// it, so that it stays there as the methods of os.Root do. They are for whole paths
// and ask the kernel forty things for each file; a thousand files feel that.

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// lstat describes what a directory has under a name.
func (d *dirHandle) lstat(name string) (fs.FileInfo, error) {
	e := &entry{name: name}
	path, err := syscall.BytePtrFromString(name)
	if err != nil {
		return nil, pathError("lstat", name, err)
	}
	for {
		_, _, errno := syscall.Syscall6(sysFstatat, uintptr(d.fd), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&e.st)), atNoFollow, 0, 0)
		switch errno {
		case 0:
			return e, nil
		case syscall.EINTR:
		default:
			return nil, pathError("lstat", name, errno)
		}
	}
}

const atNoFollow = 0x100 // AT_SYMLINK_NOFOLLOW of fstatat(2)

// rename gives what has one name in a directory another one there.
func (d *dirHandle) rename(from, to string) error {
	for {
		if err := syscall.Renameat(d.fd, from, d.fd, to); err != syscall.EINTR {
			return pathError("rename", to, err)
		}
	}
}

// create makes a new file that is ours alone so far.
func (d *dirHandle) create(name string) (*tempFile, error) {
	for {
		fd, err := syscall.Openat(d.fd, name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
		switch err {
		case nil:
			return &tempFile{fd, name}, nil
		case syscall.EINTR:
		default:
			return nil, pathError("open", name, err)
		}
	}
}

// A tempFile is a file that is being written.
type tempFile struct {
	fd   int // -1 when it is closed
	name string
}

func (f *tempFile) Write(p []byte) (written int, err error) {
	for written < len(p) {
		n, err := syscall.Write(f.fd, p[written:])
		if err != nil && err != syscall.EINTR {
			return written, pathError("write", f.name, err)
		}
		written += max(n, 0)
	}
	return written, nil
}

// reserve gives the file its blocks now. A file without them is written to the disk
// by the rename over another one, on an ext4 (auto_da_alloc, ext4(5)), and everybody
// waits for the disk then. Where a file system cannot do this nothing is lost. That there
// is no room is an error now, before the rest of the disk is taken for what will not fit.
func (f *tempFile) reserve(size int64) error {
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE of fallocate(2)
	if size <= 0 {
		return nil
	}
	if err := syscall.Fallocate(f.fd, keepSize, 0, size); err == syscall.ENOSPC || err == syscall.EDQUOT {
		return pathError("write", f.name, err)
	}
	return nil
}

// uninterrupted makes a call until no signal has cut it off.
func uninterrupted(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

func (f *tempFile) chown(uid, gid int) error {
	return pathError("chown", f.name, uninterrupted(func() error { return syscall.Fchown(f.fd, uid, gid) }))
}

func (f *tempFile) chmod(perm uint32) error {
	return pathError("chmod", f.name, uninterrupted(func() error { return syscall.Fchmod(f.fd, perm) }))
}

// times sets both times of the file, in nanoseconds since the epoch.
func (f *tempFile) times(ns int64) error {
	ts := [2]syscall.Timespec{syscall.NsecToTimespec(ns), syscall.NsecToTimespec(ns)}
	return pathError("chtimes", f.name, uninterrupted(func() error {
		if _, _, errno := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(f.fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0); errno != 0 {
			return errno
		}
		return nil
	}))
}

func (f *tempFile) close() error {
	if f.fd < 0 {
		return nil
	}
	fd := f.fd
	f.fd = -1
	return pathError("close", f.name, syscall.Close(fd))
}

// An entry is a fs.FileInfo of lstat.
type entry struct {
	name string
	st   syscall.Stat_t
}

func (e *entry) Name() string       { return e.name }
func (e *entry) Size() int64        { return e.st.Size }
func (e *entry) IsDir() bool        { return e.Mode().IsDir() }
func (e *entry) Sys() any           { return &e.st }
func (e *entry) ModTime() time.Time { return time.Unix(e.st.Mtim.Unix()) }

func (e *entry) Mode() fs.FileMode {
	m := modeOf(e.st.Mode & 0o7777)
	switch e.st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
	case syscall.S_IFDIR:
		m |= fs.ModeDir
	case syscall.S_IFLNK:
		m |= fs.ModeSymlink
	default:
		m |= fs.ModeIrregular // a socket, a device: nothing that is told apart here
	}
	return m
}
