package agent

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/sync/tunnel"
)

// Carry stands in for the application: it has run end it, listens on the ports, of
// which there may be none, and carries what connects over stdin and stdout, until these end. Then run
// starts the application again. It returns the exit code.
func Carry(args []string, opts Options) int {
	if err := carry(args, opts); err != nil {
		say(os.Stderr, err.Error())
		return 1
	}
	return 0
}

func carry(args []string, opts Options) error {
	ports, err := portsOf(args)
	if err != nil {
		return err
	}
	hold, err := takePlace(opts)
	if err != nil {
		return err
	}
	defer hold.Close()
	var doors []*door
	for _, port := range ports {
		d, err := listenOn(port)
		if err != nil {
			return errors.New("port " + itoa(port) + ": " + textOf(err))
		}
		doors = append(doors, d)
	}
	t := tunnel.New(&stdio{in: pollable(0), out: pollable(1)}, nil)
	for _, d := range doors {
		go d.serve(t) // ends with the process
	}
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		var b [1]byte
		_, _ = hold.Read(b[:]) // run has ended, or given the place to another one
	}()
	select {
	case <-t.Done():
	case <-lost:
	}
	return nil
}

// takePlace asks run to end the application, and waits until it has.
func takePlace(opts Options) (*os.File, error) {
	fd, err := connect(opts.socket(), 2*time.Second)
	if err != nil {
		return nil, err
	}
	if err := syscall.Sendmsg(fd, []byte{wantPlace}, nil, nil, 0); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	hold := pollable(fd)
	var b [1]byte
	if _, err := hold.Read(b[:]); err != nil {
		hold.Close()
		return nil, errors.New("the application's place was given to another one")
	}
	return hold, nil
}

func portsOf(args []string) ([]int, error) {
	var ports []int
	for _, arg := range args {
		port, err := strconv.Atoi(arg)
		if err != nil || port < 1 || port > 65535 {
			return nil, errors.New(arg + " is no port")
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// stdio is the stream to kdev.
type stdio struct{ in, out *os.File }

func (s *stdio) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *stdio) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *stdio) Close() error                { return errors.Join(s.in.Close(), s.out.Close()) }

// A door is a port that accepts connections. It is made of system calls, as
// everything here: package net would make the agent half as large again.
type door struct {
	port, fd int
}

// bindPatience is how long a port may still be in use: what carried it before may
// be about to leave.
const bindPatience = 2 * time.Second

// listenOn accepts what comes to the port, of both families where the kernel has
// IPv6.
func listenOn(port int) (*door, error) {
	end := time.Now().Add(bindPatience)
	for {
		fd, err := bound(syscall.AF_INET6, &syscall.SockaddrInet6{Port: port})
		if err == syscall.EAFNOSUPPORT || err == syscall.EADDRNOTAVAIL {
			fd, err = bound(syscall.AF_INET, &syscall.SockaddrInet4{Port: port})
		}
		if err == nil {
			return &door{port, fd}, nil
		}
		if err != syscall.EADDRINUSE || time.Now().After(end) {
			return nil, err
		}
		time.Sleep(20 * time.Millisecond) // nothing can tell that a port has become free
	}
}

func bound(family int, at syscall.Sockaddr) (int, error) {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil && family == syscall.AF_INET6 {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0)
	}
	if err == nil {
		err = syscall.Bind(fd, at)
	}
	if err == nil {
		err = syscall.Listen(fd, syscall.SOMAXCONN)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (d *door) serve(t *tunnel.Tunnel) {
	for {
		fd, _, err := syscall.Accept4(d.fd, syscall.SOCK_CLOEXEC)
		switch err {
		case nil:
			go join(t, d.port, fd)
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS:
			time.Sleep(100 * time.Millisecond) // others will close some
		case syscall.EBADF, syscall.EINVAL:
			return
		}
	}
}

func join(t *tunnel.Tunnel, port, fd int) {
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	conn := &caller{File: pollable(fd), fd: fd}
	c, err := t.Open(port)
	if err != nil {
		conn.Close()
		return
	}
	tunnel.Join(conn, c)
}

// A caller is an accepted connection.
type caller struct {
	*os.File
	fd   int
	mu   sync.Mutex // of closed: the number may be another's afterwards
	done bool
}

func (c *caller) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return os.ErrClosed
	}
	return syscall.Shutdown(c.fd, syscall.SHUT_WR)
}

func (c *caller) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	return c.File.Close()
}

// Environ writes the environment of the container, each variable with a zero byte
// at its end, and returns the exit code.
func Environ() int {
	var all []byte
	for _, v := range os.Environ() {
		all = append(append(all, v...), 0)
	}
	if _, err := os.Stdout.Write(all); err != nil {
		return 1
	}
	return 0
}
