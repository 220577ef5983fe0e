package process

import (
	"os/exec"
	"strconv"
	"syscall"
)

// group gives cmd a process group, so that Ctrl-C does not reach it, and lets
// cancelling kill its whole tree: a group of Windows cannot be killed as one.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
	cmd.Cancel = func() error {
		if exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run() == nil {
			return nil
		}
		return cmd.Process.Kill()
	}
}
