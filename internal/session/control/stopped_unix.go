//go:build unix

package control

import (
	"os/exec"
	"strconv"
	"strings"
)

// stopped says whether a process is suspended (Ctrl-Z): the kernel still takes calls to
// its socket, and nobody answers them. The word for it is that of ps(1).
func stopped(pid int) bool {
	state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(state)), "T")
}
