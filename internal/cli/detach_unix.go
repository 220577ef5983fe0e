//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// ownSession keeps the terminal's end and its Ctrl-C away from a command: setsid(2).
func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
