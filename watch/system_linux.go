package watch

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func openSource(root string, s sink) (source, error) { return openNotify(root, s) }

// File systems on which another machine, or the host of this one, makes changes
// that inotify(7) does not report (statfs(2) f_type).
var silentKinds = map[int64]string{
	unix.NFS_SUPER_MAGIC:   "NFS",
	unix.SMB_SUPER_MAGIC:   "SMB",
	unix.CIFS_SUPER_MAGIC:  "CIFS",
	unix.SMB2_SUPER_MAGIC:  "SMB",
	unix.V9FS_MAGIC:        "9p",
	unix.FUSE_SUPER_MAGIC:  "FUSE", // sshfs, and virtiofs, through which VMs see their host's files
	unix.AFS_SUPER_MAGIC:   "AFS",
	unix.CEPH_SUPER_MAGIC:  "Ceph",
	unix.CODA_SUPER_MAGIC:  "Coda",
	unix.OCFS2_SUPER_MAGIC: "OCFS2",
	0x786f4256:             "vboxsf",
	0x6a656a63:             "fakeowner", // Docker Desktop's wrapper around shared folders
	0xbacbacbc:             "VMware shared folders",
	0x7c7c6673:             "Parallels shared folders",
}

func deliversEvents(abs string) (kind string, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(abs, &st); err != nil {
		return "", true
	}
	kind, known := silentKinds[int64(st.Type)&0xffffffff]
	return kind, !known
}

func limitText(used int) string {
	name, limit := lowest("fs.inotify.max_user_watches", "user.max_inotify_watches")
	return fmt.Sprintf("the system allows no more file watches: kdev uses %d, the limit for all programs of this user is %d; "+
		"directories without a watch are looked at every %d ms. Raise it with: sudo sysctl %s=%d",
		used, limit, pollEvery.Milliseconds(), name, max(524288, 2*limit))
}

func instancesText() string {
	name, limit := lowest("fs.inotify.max_user_instances", "user.max_inotify_instances")
	return fmt.Sprintf("the system allows no more inotify instances: the limit for all programs of this user is %d; "+
		"the whole tree is looked at every %d ms. Raise it with: sudo sysctl %s=%d",
		limit, pollEvery.Milliseconds(), name, max(512, 2*limit))
}

// lowest returns the limit that is reached first. That of the user namespace
// (namespaces(7)) is the lower one where a container's owner has set it.
func lowest(names ...string) (name string, limit int) {
	name = names[0]
	for _, n := range names {
		text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(n, ".", "/"))
		if err != nil {
			continue
		}
		if v, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && (limit == 0 || v < limit) {
			name, limit = n, v
		}
	}
	return name, limit
}
