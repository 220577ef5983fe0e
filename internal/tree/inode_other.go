//go:build !unix

package tree

import "io/fs"

// Windows has file IDs, but only through an open handle for each file.
func inodeOf(fs.FileInfo) uint64 { return 0 }
