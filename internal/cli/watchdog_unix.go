//go:build unix

package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"syscall"
)

// watchdog is what puts a terminal back when kdev is gone without a word. Its
// standard input is a pipe whose other end only kdev holds: an end of it without
// "done" is a crash, or a kill that no program can catch. Signals of the keyboard
// are kdev's affair.
//
// What it writes undoes what the dashboard turns on: synchronized output, mouse,
// bracketed paste, key protocols, progress, the hidden cursor, the other screen.
const watchdog = `trap '' HUP INT QUIT TERM TSTP TTIN TTOU
saved=$(stty -g <&3) || exit 1
echo ready
read -r word
[ "$word" = done ] && exit 0
stty "$saved" <&3
printf '\033[?2026l\033[?1000l\033[?1002l\033[?1003l\033[?1006l\033[?2004l\033[<u\033[>4;0m\033]9;4;0\007\033[0m\033[?25h\033[?1049l' >&4
[ -s "$1" ] && cat "$1" >&4
printf '\r\nkdev has ended without a word; everything stays in the cluster, kdev up goes on with it\r\n' >&4
`

// watchTerminal starts the watchdog over a terminal. release ends it; it is not
// nil, even where there can be no watchdog: the dashboard does without.
func watchTerminal(in, out any, getenv func(string) string) (release func()) {
	inFile, ok1 := in.(*os.File)
	outFile, ok2 := out.(*os.File)
	if !ok1 || !ok2 {
		return func() {}
	}
	crash := crashFile(getenv)
	cmd := exec.Command("/bin/sh", "-c", watchdog, "kdev-watchdog", crash)
	cmd.ExtraFiles = []*os.File{inFile, outFile}
	// A session of its own: what is sent to kdev's process group is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	words, err := cmd.StdinPipe()
	if err != nil {
		return func() {}
	}
	said, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return func() {}
	}
	// It has to have seen the terminal before anything changes it.
	_, _ = bufio.NewReader(said).ReadString('\n')
	return func() {
		_, _ = io.WriteString(words, "done\n")
		_ = words.Close()
		_ = cmd.Wait()
		_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
		_ = os.Remove(crash)
	}
}

// crashFile is where the Go runtime writes why it ended, besides the screen that
// the dashboard covers. Its name is "" where there is no place for it.
func crashFile(getenv func(string) string) string {
	dir, err := stateDir(getenv)
	if err != nil {
		return ""
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ""
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("crash-%d.txt", os.Getpid())), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return ""
	}
	defer f.Close() // the runtime keeps a descriptor of its own
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return ""
	}
	return f.Name()
}
