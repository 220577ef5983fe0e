package step

import "syscall"

// Child is how a program is started that must not outlive this process: in a process group of its own, killed by the kernel
// when this process is gone, and with what it mounts in a namespace that ends with it.
func Child(mounts bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if mounts {
		attr.Unshareflags = syscall.CLONE_NEWNS
	}
	return attr
}
