package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

const (
	// readyPatience is how long a new connection waits for a Ready pod, so that
	// a page reloaded in the middle of a rollout loads instead of failing.
	readyPatience = 10 * time.Second
	// portTries is how many following ports are tried when the wanted one is busy.
	portTries = 20
)

// podPort is where a connection is to go.
type podPort struct {
	pod  string
	port int
}

// A forwarder holds one local listener and hands each connection to a Ready
// pod of its service. The listener stays open through rollouts: only the
// connections of a pod that went are lost.
type forwarder struct {
	service string
	port    config.Port
	dial    func(ctx context.Context, to podPort) (io.ReadWriteCloser, error)
	pick    func() (podPort, bool) // a Ready pod now
	changed func() (<-chan struct{}, func())

	listener net.Listener
	local    int
}

// listen opens the local port, or the next free one when that is busy and the
// port was not asked for by number on the command line. told is empty when the
// wanted port was free.
func (f *forwarder) listen() (told string, err error) {
	host := f.port.Host
	if host == "" {
		host = "127.0.0.1"
	}
	for i := range portTries {
		local := f.port.Local + i
		if f.port.Local == 0 {
			local = 0
		}
		f.listener, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(local)))
		if err == nil {
			f.local = f.listener.Addr().(*net.TCPAddr).Port
			if i > 0 {
				told = fmt.Sprintf("port %d is in use: %s is at %d instead", f.port.Local, f.service, f.local)
			}
			return told, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return "", &problem.Problem{
		Code:    "port-unavailable",
		Summary: fmt.Sprintf("cannot listen on port %d for %s", f.port.Local, f.service),
		Hint:    fmt.Sprintf("choose another local port: `ports: [LOCAL:%d]` of services.%s in kdev.yaml", f.port.Remote, f.service),
		Err:     err,
	}
}

// url is where a browser finds it.
func (f *forwarder) url() string {
	host := f.port.Host
	if host == "" || host == "127.0.0.1" || host == "::1" {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(f.local))
}

// run serves until ctx is done and returns when the last connection is closed.
func (f *forwarder) run(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	stop := context.AfterFunc(ctx, func() { f.listener.Close() })
	defer stop()
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely: others will close some.
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		conns.Go(func() { f.serve(ctx, conn) })
	}
}

// serve joins one connection with a pod.
func (f *forwarder) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	to, ok := f.await(ctx)
	if !ok {
		return
	}
	pod, err := f.dial(ctx, to)
	if err != nil {
		return // the pod went between the look and the call; the client sees a closed connection
	}
	defer pod.Close()
	// Closing both ends unblocks the copies when the session ends.
	stop := context.AfterFunc(ctx, func() { conn.Close(); pod.Close() })
	defer stop()
	var copies sync.WaitGroup
	copies.Go(func() {
		_, _ = io.Copy(pod, conn)
		closeWrite(pod)
	})
	_, _ = io.Copy(conn, pod)
	closeWrite(conn)
	// The answer is complete; a client that keeps its half open would hold this
	// connection for ever.
	cancel()
	copies.Wait()
}

// closeWrite ends one direction where the stream knows how to.
func closeWrite(s io.Closer) {
	if half, ok := s.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// await returns a Ready pod, waiting readyPatience for one to come.
func (f *forwarder) await(ctx context.Context) (podPort, bool) {
	changed, stop := f.changed()
	defer stop()
	timeout := time.NewTimer(readyPatience)
	defer timeout.Stop()
	for {
		if to, ok := f.pick(); ok {
			return to, true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return podPort{}, false
		case <-ctx.Done():
			return podPort{}, false
		}
	}
}
