package agent

import (
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
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

func isInit(program string) bool {
	switch path.Base(program) {
	case "init", "systemd", "s6-svscan", "runit-init", "openrc-init":
		return true
	}
	return false
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
	return syscall.Exec(program, argv, os.Environ())
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
	name, _ := firstProcess()
	return name != "" && ofImage()
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
	if name, sig := firstProcess(); name != "" && end.Restart && ofImage() {
		_ = syscall.Kill(1, sig)
	}
}
