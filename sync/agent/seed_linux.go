package agent

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Seed copies folders of the image into volumes that will be mounted over them:
// pairs of a folder and the place where its volume is mounted now. It is how files
// get into a container whose root is read-only. What the container's user cannot
// read is left out, since its application cannot read it either. It returns the
// exit code.
func Seed(pairs []string) int {
	if len(pairs) == 0 || len(pairs)%2 != 0 {
		say(os.Stderr, "seed: wants pairs of a folder and a volume")
		return 2
	}
	for i := 0; i < len(pairs); i += 2 {
		if err := seed(pairs[i], pairs[i+1]); err != nil {
			say(os.Stderr, "seed: "+err.Error())
			return 1
		}
	}
	return 0
}

// seed copies what is in from to the existing folder to. A file that is there
// already, because the pod's sandbox was made anew, is replaced.
func seed(from, to string) error {
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	var dirs []seededDir
	err = filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // the image has no such folder: the volume is empty
		case errors.Is(err, fs.ErrPermission):
			say(os.Stderr, "seed: left out: "+err.Error())
			return nil
		case err != nil:
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if info.IsDir() {
			dirs = append(dirs, seededDir{rel, info})
			if rel == "." {
				return nil
			}
			if err := root.Mkdir(rel, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			return nil
		}
		if err := root.Remove(rel); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return seedOne(root, p, rel, info)
	})
	if err != nil {
		return err
	}
	// Last, because a folder may be one that nobody may write to.
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := like(root, dirs[i].rel, dirs[i].info); err != nil && dirs[i].rel != "." {
			return err // the volume itself is the cluster's
		}
	}
	return nil
}

type seededDir struct {
	rel  string
	info fs.FileInfo
}

func seedOne(root *os.Root, p, rel string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(p)
		if err != nil {
			return err
		}
		if err := root.Symlink(to, rel); err != nil {
			return err
		}
		uid, gid := ownerOf(info)
		_ = root.Lchown(rel, uid, gid) // not permitted: the container's user keeps it
		return nil
	case !info.Mode().IsRegular():
		return nil
	}
	in, err := os.Open(p)
	if errors.Is(err, fs.ErrPermission) {
		say(os.Stderr, "seed: left out: "+err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := root.OpenFile(rel, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 64<<10))
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return like(root, rel, info)
}

// like gives what is at rel the owner, where that is permitted, the mode and the
// time of info.
func like(root *os.Root, rel string, info fs.FileInfo) error {
	uid, gid := ownerOf(info)
	if uid != os.Geteuid() || gid != os.Getegid() {
		_ = root.Lchown(rel, uid, gid)
	}
	return errors.Join(root.Chmod(rel, modeOf(permOf(info))), root.Chtimes(rel, time.Time{}, info.ModTime()))
}
