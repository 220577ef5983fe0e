package tree

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ReadDir lists dir with the stat result of each entry that keep accepts, in no
// order. keep is asked before the stat.
//
// os.ReadDir sorts and then stats by path; over 200,000 files that is most of
// the time of a scan. Here the names come from getdents and the stat goes
// through the directory's descriptor, which also means that no link can have
// taken the directory's place in between.
func (x *Index) ReadDir(dir string, keep func(path string, isDir bool) bool) ([]Entry, error) {
	entries, _, err := x.readDir(dir, keep, false)
	return entries, err
}

// readDir also returns what identifies the directory. brief leaves out the stat
// of what is known to be no directory: such entries have the ctime unlooked.
func (x *Index) readDir(dir string, keep func(path string, isDir bool) bool, brief bool) (entries []Entry, id ID, err error) {
	fd, err := openDir(x.Abs(dir), dir == ".")
	if err != nil {
		return nil, id, &fs.PathError{Op: "open", Path: x.Abs(dir), Err: err}
	}
	defer unix.Close(fd)
	var self unix.Stat_t
	if err := unix.Fstat(fd, &self); err != nil {
		return nil, id, &fs.PathError{Op: "fstat", Path: x.Abs(dir), Err: err}
	}
	id = ID{Device: self.Dev, Inode: self.Ino}
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	for {
		n, err := unix.Getdents(fd, *buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, id, &fs.PathError{Op: "readdirent", Path: x.Abs(dir), Err: err}
		}
		if n == 0 {
			return entries, id, nil
		}
		for rest := (*buf)[:n]; len(rest) > 0; {
			// struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name (getdents64(2)).
			length := binary.NativeEndian.Uint16(rest[16:])
			kind, raw := rest[18], rest[19:length]
			rest = rest[length:]
			raw = raw[:bytes.IndexByte(raw, 0)]
			if string(raw) == "." || string(raw) == ".." {
				continue
			}
			p := join(dir, string(raw))
			name := p[len(p)-len(raw):]
			if kind != unix.DT_UNKNOWN && !keep(p, kind == unix.DT_DIR) {
				continue
			}
			if brief && kind != unix.DT_UNKNOWN && kind != unix.DT_DIR {
				// DT_* are S_IF* shifted (dirent.h, IFTODT).
				entries = append(entries, Entry{Path: p, Mode: modeOf(uint32(kind) << 12), ctime: unlooked})
				continue
			}
			e, ok, err := statAt(fd, name, p)
			if err != nil {
				return nil, id, &fs.PathError{Op: "lstat", Path: x.Abs(p), Err: err}
			}
			if ok && (kind != unix.DT_UNKNOWN || keep(p, e.IsDir())) {
				entries = append(entries, e)
			}
		}
	}
}

// statNames looks at names in dir; what is gone is left out.
func (x *Index) statNames(dir string, names []string) ([]Entry, error) {
	fd, err := openDir(x.Abs(dir), dir == ".")
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: x.Abs(dir), Err: err}
	}
	defer unix.Close(fd)
	entries := make([]Entry, 0, len(names))
	for _, name := range names {
		e, ok, err := statAt(fd, name, join(dir, name))
		if err != nil {
			return nil, &fs.PathError{Op: "lstat", Path: x.Abs(join(dir, name)), Err: err}
		}
		if ok {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

var direntBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func openDir(abs string, follow bool) (int, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	for {
		fd, err := unix.Open(abs, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func statAt(fd int, name, p string) (Entry, bool, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if absent(err) {
			return Entry{}, false, nil // removed since it was listed
		}
		return Entry{}, false, err
	}
	e := Entry{Path: p, Mode: modeOf(st.Mode), MTime: nanoseconds(st.Mtim), Inode: st.Ino, ctime: nanoseconds(st.Ctim)}
	switch {
	case e.Mode.IsRegular():
		e.Size = st.Size
	case e.Mode&fs.ModeSymlink != 0:
		var link [unix.PathMax]byte
		n, err := unix.Readlinkat(fd, name, link[:])
		if err != nil {
			return Entry{}, false, nil // no link any more: its event is on the way
		}
		e.Link = string(link[:n])
	}
	return e, true, nil
}

func nanoseconds(t unix.Timespec) int64 { return t.Sec*int64(time.Second) + t.Nsec }

// ctimeOf is that of a result of os.Lstat.
func ctimeOf(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ctim.Sec*int64(time.Second) + st.Ctim.Nsec
	}
	return 0
}

// modeOf is what package os makes of st_mode.
func modeOf(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
