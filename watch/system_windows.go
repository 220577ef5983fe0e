package watch

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// A share reports through SMB what its server knows of, which is not all.
func deliversEvents(abs string) (kind string, ok bool) {
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(abs) + `\`)
	if err != nil {
		return "", true
	}
	if windows.GetDriveType(root) == windows.DRIVE_REMOTE {
		return "a network drive", false
	}
	return "", true
}
