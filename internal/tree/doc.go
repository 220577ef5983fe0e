// Package tree is what kdev knows about the files of one project: an index of
// stat results and content hashes that watch, build and sync share, so that
// nothing is read twice.
//
// In: a root directory, and questions about paths below it (slash-separated,
// relative to the root, "." for the root itself).
// Out: entries as lstat saw them, digests that are remembered for as long as
// the stat result stays the same, and, for the watcher alone, what differs from
// the state that it last reported (settle.go).
// It never writes to the tree, never follows a symbolic link, and holds no
// opinion about which files matter: that is package ignore's and the caller's.
//
// Invariant: a remembered digest belongs to the size, mtime and inode that the
// file had both before and after it was read.
package tree
