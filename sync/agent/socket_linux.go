package agent

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// The socket has an abstract name (unix(7)): a read-only root has no place for
// another, and it goes with the process. All containers of a pod share the name
// space of abstract sockets, so the name holds the container's mount namespace,
// and both sides check that the other one is in it.

var errNoRun = errors.New("no agent runs this container's application")

func (o Options) socket() string {
	if o.Socket != "" {
		return "@" + o.Socket
	}
	ns, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		ns = "unknown"
	}
	return "@kdev-agent/" + ns
}

// What a process of this container wants of run: the first byte that it sends.
const (
	wantSync  byte = iota // serve: take the stream that comes along
	wantPlace             // carry: let it stand in for the application
)

// A listener accepts serve and carry processes of this container.
type listener struct {
	fd      int
	refused func(error)
}

func listen(name string, refused func(error)) (*listener, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: name}); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	if err := syscall.Listen(fd, 8); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return &listener{fd, refused}, nil
}

// accept returns the stdin and stdout of the next serve, and its socket; of a
// carry the socket alone.
func (l *listener) accept() (in, out, hold *os.File, err error) {
	for {
		fd, _, err := syscall.Accept4(l.fd, syscall.SOCK_CLOEXEC)
		switch {
		case err == syscall.EINTR, err == syscall.ECONNABORTED:
			continue
		case err != nil:
			return nil, nil, nil, err
		}
		in, out, err := receive(fd)
		if err != nil {
			l.refused(err)
			syscall.Close(fd)
			continue
		}
		return in, out, pollable(fd), nil
	}
}

// peerLimit is how long a peer that connected may say nothing.
const peerLimit = time.Second

// receive checks the peer and takes the two descriptors that a serve sends.
func receive(fd int) (in, out *os.File, err error) {
	if err := checkPeer(fd); err != nil {
		return nil, nil, err
	}
	// A peer that sends nothing must not keep others out.
	limit := syscall.NsecToTimeval(peerLimit.Nanoseconds())
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		return nil, nil, err
	}
	var b [1]byte
	oob := make([]byte, syscall.CmsgSpace(2*4))
	n, err := receiveMessage(fd, b[:], oob)
	if err != nil {
		return nil, nil, err
	}
	if b[0] == wantPlace && n == 0 {
		return nil, nil, nil
	}
	var fds []int
	if msgs, err := syscall.ParseSocketControlMessage(oob[:n]); err == nil {
		for i := range msgs {
			if got, err := syscall.ParseUnixRights(&msgs[i]); err == nil {
				fds = append(fds, got...)
			}
		}
	}
	if len(fds) != 2 {
		for _, f := range fds {
			syscall.Close(f)
		}
		return nil, nil, errors.New("no stream was handed over")
	}
	return pollable(fds[0]), pollable(fds[1]), nil
}

// receiveMessage returns how many bytes of oob a message has filled. A wait with a limit is
// cut short by every signal, those of Go's own scheduler included, whatever their handlers
// ask for (signal(7)).
func receiveMessage(fd int, p, oob []byte) (int, error) {
	for end := time.Now().Add(peerLimit); ; {
		_, n, _, _, err := syscall.Recvmsg(fd, p, oob, syscall.MSG_CMSG_CLOEXEC)
		if err != syscall.EINTR || time.Now().After(end) {
			return n, err
		}
	}
}

// pollable makes a file that another goroutine can close, and that has deadlines
// where the kernel can poll it.
func pollable(fd int) *os.File {
	_ = syscall.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), "kdev")
}

// connect finds the run of this container. While one is there, or is about to
// be, it tries again: an exec can be faster than the first process.
func connect(name string, limit time.Duration) (int, error) {
	end := time.Now().Add(limit)
	for {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		if err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: name}); err == nil {
			if err = checkPeer(fd); err == nil {
				return fd, nil
			}
		}
		syscall.Close(fd)
		if !runIsThere() {
			return -1, errNoRun
		}
		if time.Now().After(end) {
			return -1, err
		}
		time.Sleep(5 * time.Millisecond) // nothing can tell that a listener has come
	}
}

// checkPeer makes sure that the process at the other end is of this container:
// one that we can see (the process ID of any other is 0) and that has our mounts.
func checkPeer(fd int) error {
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return err
	}
	if cred.Pid <= 0 || !sameContainer("/proc/"+itoa(int(cred.Pid))) {
		return errors.New("the process is not of this container")
	}
	return nil
}

// sameContainer compares mount namespaces, and where another user's may not be
// read, the control groups.
func sameContainer(proc string) bool {
	theirs, err := os.Readlink(proc + "/ns/mnt")
	if err == nil {
		ours, err := os.Readlink("/proc/self/ns/mnt")
		return err == nil && ours == theirs
	}
	a, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return false
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	return err == nil && len(a) > 0 && string(a) == string(b)
}

// runIsThere looks for a run among the processes of this container, or for the
// runtime's own process that is about to become one.
func runIsThere() bool {
	for _, pid := range processes() {
		proc := "/proc/" + itoa(pid)
		line, err := os.ReadFile(proc + "/cmdline")
		if err != nil {
			continue
		}
		args := strings.Split(string(line), "\x00")
		isRun := len(args) > 1 && strings.HasSuffix(args[0], "/agent") && args[1] == "run"
		isInit := pid == 1 && len(args) > 1 && args[1] == "init" && strings.Contains(args[0], "runc")
		if isInit || isRun && sameContainer(proc) {
			return true
		}
	}
	return false
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE)
}
