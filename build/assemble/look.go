package assemble

import (
	"context"
	"io/fs"
	"path"
	"strings"

	"github.com/distribution/reference"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/registry"
)

// A Tree is the file tree of an image of the store, to look into.
type Tree struct {
	store *registry.Store
	tree  *rootfs
}

// Look opens the tree of an image. The layers are listed once; what trees
// holds is not listed again.
func Look(store *registry.Store, trees *Trees, manifest string) (*Tree, error) {
	all, err := layers(store, manifest)
	if err != nil {
		return nil, err
	}
	tree, err := trees.of(store, all)
	if err != nil {
		return nil, err
	}
	return &Tree{store, tree}, nil
}

// A Folder is a folder of an image.
type Folder struct {
	Path     string // real, without a leading slash
	Mode     fs.FileMode
	UID, GID int
}

// Folder follows links to the folder at p; false where there is none.
func (t *Tree) Folder(p string) (Folder, bool) {
	real, err := resolve(t.tree, p)
	if err != nil {
		return Folder{}, false
	}
	n := t.tree.nodes[real]
	if n == nil || !n.isDir() {
		return Folder{}, false
	}
	return Folder{real, n.Mode, n.UID, n.GID}, true
}

// User is who a container of the image runs as: the configuration's User,
// names looked up in the image. An unknown name is not ok.
func (t *Tree) User(user string) (uid, gid int, ok bool) {
	name, group, _ := strings.Cut(user, ":")
	if name == "" {
		return 0, 0, true
	}
	a := &assembly{ctx: context.Background(), store: t.store}
	if numeric(name) {
		uid = number(name)
		// As runtimes do: the group of the user's line, if there is one.
		if fields, err := find(t.tree, "etc/passwd", func(f []string) bool { return len(f) > 3 && f[2] == name }, a.read); err == nil && fields != nil {
			gid = number(fields[3])
		}
	} else {
		fields, err := find(t.tree, "etc/passwd", func(f []string) bool { return f[0] == name }, a.read)
		if err != nil || len(fields) < 4 {
			return 0, 0, false
		}
		uid, gid = number(fields[2]), number(fields[3])
	}
	switch {
	case group == "":
	case numeric(group):
		gid = number(group)
	default:
		fields, err := find(t.tree, "etc/group", func(f []string) bool { return f[0] == group }, a.read)
		if err != nil || len(fields) < 3 {
			return 0, 0, false
		}
		gid = number(fields[2])
	}
	return uid, gid, true
}

func numeric(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Base is what is remembered about an image that a Dockerfile begins with, in
// the terms of the dockerfile package.
func Base(store *registry.Store, platform, image string) (dockerfile.Base, bool) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return dockerfile.Base{}, false
	}
	// As the frontend asks for it.
	known := (&bases{store: store, platform: platform}).recall(reference.TagNameOnly(named).String())
	if known == nil {
		return dockerfile.Base{}, false
	}
	return known.base()
}

// Has says whether there is anything at p, a link to nothing included. It is not sure where
// a folder on the way is a link to what the image does not have: a volume may bring it.
func (t *Tree) Has(p string) (there, sure bool) {
	real, err := resolveParent(t.tree, p)
	if err != nil {
		return false, false
	}
	if t.tree.nodes[real] != nil {
		return true, true
	}
	dir, err := resolve(t.tree, path.Dir(path.Clean("/"+p)))
	if err != nil {
		return false, false
	}
	// Without a link on the way, a folder that is not there is no doubt.
	return false, t.tree.nodes[dir] != nil || dir == strings.Trim(path.Dir(path.Clean("/"+p)), "/")
}
