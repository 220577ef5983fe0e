//go:build !linux

package step

import "syscall"

// Child is how a program is started: in a process group of its own. What needs more runs on Linux only.
func Child(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
