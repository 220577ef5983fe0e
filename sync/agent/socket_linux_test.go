package agent

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A signal that comes while a peer is about to hand its stream over refuses nobody.
func TestReceiveDespiteSignals(t *testing.T) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	thread, done := make(chan int), make(chan error)
	var in, out *os.File
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread <- syscall.Gettid()
		var err error
		in, out, err = receive(pair[0])
		done <- err
	}()
	tid := <-thread
	for sent := 0; sent < 20; {
		select {
		case err := <-done:
			t.Fatalf("after %d signals: %v", sent, err)
		default:
		}
		// pid (name) state …: only a thread that waits is interrupted.
		stat, err := os.ReadFile("/proc/self/task/" + itoa(tid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "S") {
			if _, _, errno := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(tid), uintptr(syscall.SIGURG)); errno != 0 {
				t.Fatal(errno)
			}
			sent++
		}
	}
	if err := syscall.Sendmsg(pair[1], []byte{wantSync}, syscall.UnixRights(int(r.Fd()), int(w.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || in == nil || out == nil {
		t.Fatalf("%v, %v, %v", in, out, err)
	}
	in.Close()
	out.Close()
}
