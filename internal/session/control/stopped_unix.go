//go:build unix

package control

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// stopped says whether a process is suspended (Ctrl-Z): the kernel still takes calls to
// its socket, and nobody answers them. The word for it is that of proc(5), which is read
// where there is one, and of ps(1).
func stopped(pid int) bool {
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		after := stat[bytes.LastIndexByte(stat, ')')+1:] // of the command's name, which may hold anything
		return bytes.HasPrefix(bytes.TrimLeft(after, " "), []byte("T"))
	}
	state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(state)), "T")
}
