package agent

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// lookPath finds a program as execvp does. When it cannot, it says so and returns
// the exit code that shells use for that.
func lookPath(argv []string, stderr io.Writer) (string, int) {
	if len(argv) == 0 || argv[0] == "" {
		say(stderr, "nothing to run: the image has neither an entrypoint nor a command")
		return "", exitNotFound
	}
	name := argv[0]
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		dirs, ok := os.LookupEnv("PATH")
		if !ok {
			dirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		}
		candidates = candidates[:0]
		for dir := range strings.SplitSeq(dirs, ":") {
			if dir == "" {
				dir = "."
			}
			candidates = append(candidates, dir+"/"+name)
		}
	}
	code, cause := exitNotFound, "not found"
	for _, c := range candidates {
		info, err := os.Stat(c)
		if err != nil || info.IsDir() {
			continue
		}
		if info.Mode()&0o111 != 0 {
			return c, 0
		}
		code, cause = exitNotExecutable, "not executable"
	}
	say(stderr, name+": "+cause)
	return "", code
}

// startProcess is os.StartProcess.
func startProcess(path string, argv []string, attr *os.ProcAttr) (p *os.Process, err error) {
	err = patiently(func() error {
		p, err = os.StartProcess(path, argv, attr)
		return err
	})
	return p, err
}

// patiently executes a program. One that was just written may still be open for writing
// in another process that is between fork and exec, for about a millisecond
// (go.dev/issue/22315).
func patiently(exec func() error) error {
	for try := 0; ; try++ {
		err := exec()
		if try == 20 || !errors.Is(err, syscall.ETXTBSY) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// orphans are the processes whose parent we are, without one of them: what the
// application left behind.
func orphans(but int) []int {
	self := strconv.Itoa(os.Getpid())
	var all []int
	for _, pid := range processes() {
		if pid == but {
			continue
		}
		data, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid …; the name may hold anything (proc_pid_stat(5)).
		line := string(data)
		f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
		if len(f) > 1 && f[1] == self && f[0] != "Z" {
			all = append(all, pid)
		}
	}
	return all
}

func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

func isTerminal(fd int) bool {
	var t syscall.Termios
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TCGETS, uintptr(unsafe.Pointer(&t)))
	return errno == 0
}
