package protocol

import "strings"

// Longest path and component that Linux takes (limits.h).
const (
	maxPath = 4095
	maxName = 255
)

// ValidPath says whether p is a clean absolute container path other than "/":
// no "..", no ".", no empty component, no NUL.
func ValidPath(p string) bool {
	return len(p) > 1 && p[0] == '/' && ValidRelative(p[1:])
}

// ValidRelative says the same of a path below a root. os.Root refuses what
// leads out; this refuses what has more than one spelling, so that a path is
// one key in every map.
func ValidRelative(p string) bool {
	if p == "" || len(p) > maxPath {
		return false
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." || name == ".." || len(name) > maxName || strings.IndexByte(name, 0) >= 0 {
			return false
		}
	}
	return true
}

// ValidRoot says whether p can be a root: a clean absolute path, or "/".
func ValidRoot(p string) bool { return p == "/" || ValidPath(p) }

// Join is the absolute path of a target.
func Join(root, rel string) string {
	if root == "/" {
		return "/" + rel
	}
	return root + "/" + rel
}
