package watch

import "golang.org/x/sys/unix"

// FSEvents reports what this machine changes. On these file systems others do.
var silentKinds = map[string]string{
	"nfs": "NFS", "smbfs": "SMB", "afpfs": "AFP", "webdav": "WebDAV", "osxfuse": "FUSE", "macfuse": "FUSE", "fuse-t": "FUSE", "9p": "9p", "virtiofs": "virtiofs",
}

func deliversEvents(abs string) (kind string, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(abs, &st); err != nil {
		return "", true
	}
	kind, known := silentKinds[unix.ByteSliceToString(st.Fstypename[:])]
	return kind, !known
}
