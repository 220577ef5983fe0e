package engine

import (
	"io/fs"

	"github.com/kdev-io/kdev/internal/tree"
)

// A File is what one container path holds or should hold: a regular file, a
// symbolic link or a directory, as Mode says. What cannot be known counts as
// different: a regular file with a zero Digest, and whatever else Mode says.
type File struct {
	Mode   fs.FileMode // type and permission bits; permission bits 0 in a known tree: not known
	Size   int64
	Digest tree.Digest
	Link   string
	MTime  int64  // nanoseconds since the epoch; no difference by itself
	Local  string // where the content comes from, of a desired file
}

// Uncertain is the File of a path that holds nobody knows what in a known tree. In a
// desired one nobody knows what it should hold, and what is there stays, with all below it.
func Uncertain() File { return File{Mode: fs.ModeIrregular} }

func (f File) dir() bool  { return f.Mode.IsDir() }
func (f File) link() bool { return f.Mode&fs.ModeType == fs.ModeSymlink }

// certain says whether the content is known.
func (f File) certain() bool {
	switch f.Mode & fs.ModeType {
	case 0:
		return f.Digest != tree.Digest{}
	case fs.ModeSymlink, fs.ModeDir:
		return true
	}
	return false
}

// Stays says of a desired file that it leaves alone whatever is there.
func (f File) Stays() bool { return !f.Mode.IsRegular() && !f.dir() && !f.link() }

// SameContent leaves modes and times aside.
func (f File) SameContent(g File) bool {
	if f.Mode&fs.ModeType != g.Mode&fs.ModeType || !f.certain() || !g.certain() {
		return false
	}
	return f.Digest == g.Digest && (!f.link() || f.Link == g.Link)
}

const permBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// samePerm says whether known has the permission bits of f, as far as is known.
func (f File) samePerm(known File) bool {
	return known.Mode&permBits == 0 || f.link() || f.Mode&permBits == known.Mode&permBits
}
