package assemble

import (
	"fmt"
	"io/fs"
	"path"

	"github.com/moby/buildkit/solver/pb"
)

// mkdirAll makes p and what is missing above it. p has no links any more.
func mkdirAll(dst *overlay, p string, m fs.FileMode, owner *user) error {
	n, err := dst.lstat(p)
	if err != nil {
		return err
	}
	if n != nil {
		if n.isDir() {
			return nil
		}
		return failedCopy{fmt.Errorf("mkdir /%s: not a directory", p)}
	}
	if p != "." {
		if err := mkdirAll(dst, path.Dir(p), m, owner); err != nil {
			return err
		}
	}
	made := &node{Mode: m}
	if owner != nil {
		made.UID, made.GID = owner.UID, owner.GID
	}
	dst.set(p, made)
	return nil
}

// mkdirAction is WORKDIR.
func mkdirAction(dst *overlay, a *pb.FileActionMkDir, owner *user) error {
	if a.Timestamp != -1 {
		return unsupported("a fixed creation time")
	}
	p, err := resolve(dst, a.Path)
	if err != nil {
		return err
	}
	m := fs.ModeDir | fs.FileMode(a.Mode)&0o777
	if a.MakeParents {
		return mkdirAll(dst, p, m, owner)
	}
	if n, err := dst.lstat(p); err != nil || n != nil {
		return err
	}
	if n, err := dst.lstat(path.Dir(p)); err != nil {
		return err
	} else if n == nil || !n.isDir() {
		return failedCopy{fmt.Errorf("mkdir %s: no such folder", a.Path)}
	}
	made := &node{Mode: m}
	if owner != nil {
		made.UID, made.GID = owner.UID, owner.GID
	}
	dst.set(p, made)
	return nil
}

// mkfileAction is the body of a heredoc.
func mkfileAction(dst *overlay, a *pb.FileActionMkFile, owner *user) error {
	if a.Timestamp != -1 {
		return unsupported("a fixed creation time")
	}
	p, err := resolve(dst, a.Path)
	if err != nil {
		return err
	}
	old, err := dst.lstat(p)
	if err != nil {
		return err
	}
	if old != nil && !old.isRegular() {
		return failedCopy{fmt.Errorf("%s is no file", a.Path)}
	}
	if up, err := dst.lstat(path.Dir(p)); err != nil {
		return err
	} else if up == nil || !up.isDir() {
		return failedCopy{fmt.Errorf("%s: no such folder", a.Path)}
	}
	n := &node{Mode: fs.FileMode(a.Mode) & 0o777, Size: int64(len(a.Data)), Content: content{Data: a.Data}}
	if a.Data == nil {
		n.Content.Data = []byte{}
	}
	if old != nil {
		n.Mode, n.UID, n.GID = old.Mode, old.UID, old.GID
	}
	if owner != nil {
		n.UID, n.GID = owner.UID, owner.GID
	}
	dst.set(p, n)
	return nil
}
