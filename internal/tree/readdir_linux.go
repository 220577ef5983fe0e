package tree

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"sync"
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
	fd, err := openDir(x.Abs(dir), dir == ".")
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: x.Abs(dir), Err: err}
	}
	defer unix.Close(fd)
	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	var entries []Entry
	for {
		n, err := unix.Getdents(fd, *buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "readdirent", Path: x.Abs(dir), Err: err}
		}
		if n == 0 {
			return entries, nil
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
			e, ok, err := statAt(fd, name, p)
			if err != nil {
				return nil, &fs.PathError{Op: "lstat", Path: x.Abs(p), Err: err}
			}
			if ok && (kind != unix.DT_UNKNOWN || keep(p, e.IsDir())) {
				entries = append(entries, e)
			}
		}
	}
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
	e := Entry{Path: p, Mode: modeOf(st.Mode), MTime: st.Mtim.Sec*int64(time.Second) + st.Mtim.Nsec, Inode: st.Ino}
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
