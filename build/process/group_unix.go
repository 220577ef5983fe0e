//go:build unix

package process

import (
	"os/exec"
	"syscall"
)

// group gives cmd a process group and lets cancelling kill all of it.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
