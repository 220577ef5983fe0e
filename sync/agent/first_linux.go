package agent

import (
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/kdev-io/kdev/sync/protocol"
)

// Some programs work as the first process of a container only: s6-overlay's /init
// ends at once otherwise, systemd too. The agent makes room for them: when they
// are to start it becomes them (execve(2)), and with it goes all that run does for
// an application. What is left is a restart of the whole container, whose new agent
// waits for the files again before it makes room.

// mustBeFirst says whether a program is such a one.
func mustBeFirst(program string) bool {
	if real, err := filepath.EvalSymlinks(program); err == nil && isInit(real) {
		return true // /sbin/init is often a link to another name
	}
	return isInit(program)
}

// isInit goes by the name, and of one that is merely called init by its place as well:
// an application with that name can be restarted in place like any other.
func isInit(program string) bool {
	switch path.Base(program) {
	case "systemd", "s6-svscan", "runit-init", "openrc-init":
		return true
	case "init":
		switch path.Dir(program) {
		case "/":
			return !ownScript(program)
		case "/sbin", "/usr/sbin", "/bin", "/usr/bin", "/lib/systemd", "/usr/lib/systemd":
			return true
		}
	}
	return false
}

// ownScript says whether /init is a script that somebody wrote to start an application;
// that of s6-overlay is one too and names s6.
func ownScript(program string) bool {
	f, err := os.Open(program)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 4<<10)
	n, _ := io.ReadFull(f, head)
	text := string(head[:n])
	return strings.HasPrefix(text, "#!") && !strings.Contains(text, "s6-") && !strings.Contains(text, "execlineb")
}

// makesRoom says whether the application will take our place. Its start waits longer for
// kdev than another's: what comes too late costs a restart of the container, before which
// the kubelet waits ten seconds and more.
func (r *runner) makesRoom() bool {
	if os.Getpid() != 1 {
		return false
	}
	program, _ := lookPath(r.argv, io.Discard)
	return program != "" && mustBeFirst(program)
}

// makeRoom becomes the application, if that is one that must be the first process
// and we are it. It returns where not.
func makeRoom(program string, argv []string) error {
	if os.Getpid() != 1 || !mustBeFirst(program) {
		return nil
	}
	// What is ignored or inherited stays so in the new program.
	signal.Reset()
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 0, 0, 0, 0, 0)
	return patiently(func() error { return syscall.Exec(program, argv, os.Environ()) })
}

// firstProcess is the container's first process where we have made room for it, and the
// signal that ends it; empty where that is not so.
func firstProcess() (name string, end syscall.Signal) {
	line, err := os.ReadFile("/proc/1/cmdline")
	if err != nil || !sameContainer("/proc/1") {
		return "", 0
	}
	// A script's interpreter comes first: /init of s6-overlay is one.
	for i, arg := range strings.Split(string(line), "\x00") {
		if i > 2 || !mustBeFirst(arg) {
			continue
		}
		if real, err := filepath.EvalSymlinks(arg); path.Base(arg) == "systemd" || err == nil && path.Base(real) == "systemd" {
			return arg, systemdHalt
		}
		return arg, syscall.SIGTERM
	}
	return "", 0
}

const systemdHalt = syscall.Signal(34 + 3) // SIGRTMIN+3 (systemd(1)); SIGTERM makes it read itself anew

// catches says whether a process has a handler for a signal. To the first process of a
// container nothing else gets through from within, not even SIGKILL
// (pid_namespaces(7)).
func catches(status string, sig syscall.Signal) bool {
	for line := range strings.Lines(status) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && set>>(sig-1)&1 == 1
		}
	}
	return false
}

// endContainer ends the container, which the kubelet then starts again.
func (r *runner) endContainer() {
	if r.ending || r.phase == protocol.PhaseAside {
		return
	}
	r.leaving = true
	switch {
	case r.phase == protocol.PhaseHeld:
		r.left()
	case r.child != 0:
		r.terminate()
	} // else it is between two runs, and afterSweep sees it
}

// left is the end of a container that was to end. In the eyes of the kubelet it has
// failed: one that did well may not be started again.
func (r *runner) left() {
	if r.lastExit == 0 {
		r.lastExit = exitSignal + int(syscall.SIGTERM)
	}
	r.phase = protocol.PhaseNone
	r.notice(&protocol.Notice{What: protocol.NoticeExited, Generation: r.bySync})
}

// alone is the program of a serve without a run.
type alone struct{}

func (alone) process() (protocol.Process, bool) { return protocol.Process{}, false }
func (alone) runs() bool                        { return false }
func (alone) syncs() bool                       { return false }
func (alone) repair() bool                      { return false }

// restarts implements program: the kubelet starts a container again that ended. In one
// whose image is not kdev's nothing would hold the new start until the files are there, so
// that the restart would be asked for again and again.
func (alone) restarts() bool {
	_, ok := endOfFirst()
	return ok
}

// endOfFirst is the signal that ends the container, where there is one.
func endOfFirst() (end syscall.Signal, ok bool) {
	name, end := firstProcess()
	if name == "" || !ofImage() {
		return 0, false
	}
	status, err := os.ReadFile("/proc/1/status")
	return end, err == nil && catches(string(status), end)
}

// ofImage says whether we are part of the container's image, and were not carried into it.
func ofImage() bool {
	self, err := os.Executable()
	return err == nil && self == inImage
}

// inImage is where an image that kdev builds has its agent.
const inImage = "/.kdev/agent"

// act ends the container where a restart is asked for; kdev knows that nothing else
// can be done.
func (alone) act(_ uint64, end *protocol.End) {
	if !end.Restart {
		return
	}
	if sig, ok := endOfFirst(); ok {
		_ = syscall.Kill(1, sig)
	}
}
