package assemble

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// A node is a file, folder or link of an image or of the build context.
type node struct {
	Mode     fs.FileMode // type, permissions, setuid, setgid, sticky
	UID, GID int
	Size     int64
	Link     string            // target of a symbolic link
	Xattrs   map[string]string // as PAX has them
	Content  content           // of a regular file
}

func (n *node) isDir() bool     { return n.Mode.IsDir() }
func (n *node) isLink() bool    { return n.Mode&fs.ModeSymlink != 0 }
func (n *node) isRegular() bool { return n.Mode.IsRegular() }

// content says where a file's bytes are. One of its fields is set.
type content struct {
	Data    []byte // the bytes themselves
	Context string // path in the build context
	Layer   string // digest of the layer in the store that holds it, under Path
	Path    string
}

// An fsys is a file tree to look into. Paths are slash-separated and clean,
// without a leading slash; "." is the root.
type fsys interface {
	// lstat returns the node, or nil where there is none.
	lstat(p string) (*node, error)
	// readDir returns the names in a folder, sorted.
	readDir(p string) ([]string, error)
}

// maxLinks is what the kernel follows, and BuildKit's fs.RootPath.
const maxLinks = 255

// resolve follows every symbolic link in p as if the tree were the root of a
// chroot. What does not exist is taken as it is written, as fs.RootPath does.
func resolve(f fsys, p string) (string, error) {
	return follow(f, p, true)
}

// resolveParent is resolve, but for the last component.
func resolveParent(f fsys, p string) (string, error) {
	return follow(f, p, false)
}

func follow(f fsys, p string, last bool) (string, error) {
	done := "."
	rest := strings.Split(strings.Trim(path.Clean("/"+p), "/"), "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, name)
		if len(rest) == 0 && !last {
			return next, nil
		}
		n, err := f.lstat(next)
		if err != nil {
			return "", err
		}
		if n == nil || !n.isLink() {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many links", p)
		}
		if path.IsAbs(n.Link) {
			done = "."
		}
		rest = append(strings.Split(n.Link, "/"), rest...)
	}
	return done, nil
}

// stat follows links; nil where there is nothing.
func stat(f fsys, p string) (*node, error) {
	r, err := resolve(f, p)
	if err != nil {
		return nil, err
	}
	return f.lstat(r)
}

// emptyFS is FROM scratch.
type emptyFS struct{}

func (emptyFS) lstat(p string) (*node, error) {
	if p == "." {
		return &node{Mode: fs.ModeDir | 0o755}, nil
	}
	return nil, nil
}

func (emptyFS) readDir(string) ([]string, error) { return nil, nil }

// An overlay is a tree and the changes to it that one layer holds.
type overlay struct {
	lower   fsys
	changed map[string]*node    // nil: removed
	names   map[string][]string // by folder: names that changed, unsorted
}

func newOverlay(lower fsys) *overlay {
	return &overlay{lower, map[string]*node{}, map[string][]string{}}
}

func (o *overlay) set(p string, n *node) {
	if _, ok := o.changed[p]; !ok {
		dir, name := path.Split(p)
		dir = path.Clean(dir)
		o.names[dir] = append(o.names[dir], name)
	}
	o.changed[p] = n
}

func (o *overlay) lstat(p string) (*node, error) {
	if n, ok := o.changed[p]; ok {
		return n, nil
	}
	// Below something that is no folder any more there is nothing.
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if n, ok := o.changed[dir]; ok && (n == nil || !n.isDir()) {
			return nil, nil
		}
	}
	return o.lower.lstat(p)
}

func (o *overlay) readDir(p string) ([]string, error) {
	names, err := o.lower.readDir(p)
	if err != nil {
		return nil, err
	}
	added := o.names[p]
	if len(added) == 0 {
		return names, nil
	}
	return merge(names, added, func(name string) bool {
		n, ok := o.changed[path.Join(p, name)]
		return !ok || n != nil
	}), nil
}
