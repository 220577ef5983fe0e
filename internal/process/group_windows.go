package process

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"
)

// group gives cmd a process group, so that Ctrl-C does not reach it, and lets
// cancelling kill its whole tree: a group of Windows cannot be killed as one.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
	cmd.Cancel = func() error { return killGroup(cmd) }
}

// endGroup asks the group to end, as Ctrl-Break does: Ctrl-C does not reach a
// group of its own.
func endGroup(cmd *exec.Cmd) error {
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(cmd.Process.Pid))
}

// killGroup ends the program and what it started.
func killGroup(cmd *exec.Cmd) error {
	if exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run() == nil {
		return nil
	}
	return cmd.Process.Kill()
}

// groupLives is false: what is left of a program that has ended cannot be found.
func groupLives(*exec.Cmd) bool { return false }

// sweepGroup does nothing: what is left of a program that has ended cannot be found.
func sweepGroup(*exec.Cmd) {}

func exitCode(s *os.ProcessState) int { return s.ExitCode() }
