package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/router"
)

const (
	// readyPatience is how long a new connection waits for a Ready pod, so that
	// a page reloaded in the middle of a rollout loads instead of failing.
	readyPatience = 10 * time.Second
	// dialPatience bounds one try to reach a pod, redial is until the next one
	// where nothing is heard of the pod.
	dialPatience = 3 * time.Second
	redial       = 100 * time.Millisecond
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
	pod     string // the only one; "" is any that is ready
	port    config.Port
	dial    func(ctx context.Context, to podPort) (io.ReadWriteCloser, error)
	pick    func() (podPort, bool) // a Ready pod now
	changed func() (<-chan struct{}, func())

	// tell gets what kept a connection from its pod, or "" when one got there.
	tell   func(why string)
	failed string // what was told last; the loop's alone

	listener *net.TCPListener
	local    int
}

// listeners are those that a session holds open, each with the forwarder that had
// it last. They outlive the forwarders, so that no connection is refused while a
// configuration is applied.
type listeners []*forwarder

// open gives a forwarder the listener of one that wanted the same and is not in
// use, or a new one.
func (all *listeners) open(f *forwarder, used []*forwarder) (told string, err error) {
	i := slices.IndexFunc(*all, func(was *forwarder) bool {
		return was.wanted() == f.wanted() && !slices.Contains(used, was)
	})
	if i >= 0 {
		f.listener, f.local = (*all)[i].listener, (*all)[i].local
		(*all)[i] = f
		return "", nil
	}
	if told, err = f.listen(); err == nil {
		*all = append(*all, f)
	}
	return told, err
}

// close closes what none of those in use has.
func (all *listeners) close(used []*forwarder) {
	*all = slices.DeleteFunc(*all, func(f *forwarder) bool {
		unused := !slices.Contains(used, f)
		if unused {
			f.listener.Close()
		}
		return unused
	})
}

// wanted names the place on this machine that a forwarder is to have.
func (f *forwarder) wanted() string {
	if f.port.Local == 0 { // any
		return fmt.Sprintf("%s %s/%s:%d", f.port.Host, f.service, f.pod, f.port.Remote)
	}
	return fmt.Sprintf("%s:%d", f.port.Host, f.port.Local)
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
		var l net.Listener
		l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(local)))
		if err == nil && host == "127.0.0.1" && router.Shadowed(l.Addr()) {
			l.Close()
			err = syscall.EADDRINUSE
		}
		if err == nil {
			f.listener = l.(*net.TCPListener)
			f.local = f.listener.Addr().(*net.TCPAddr).Port
			if i > 0 {
				told = fmt.Sprintf("port %d is in use: %s is at %d instead", f.port.Local, f.service, f.local)
			}
			return told, nil
		}
		if !router.InUse(err) {
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
// The listener stays open, for whoever serves next.
func (f *forwarder) run(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = f.listener.SetDeadline(time.Unix(1, 0)) // fails on a closed one only
	})
	defer func() {
		if !stop() {
			<-interrupted
			_ = f.listener.SetDeadline(time.Time{})
		}
	}()
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
	pod, err := reach(ctx, f.pick, f.dial, f.changed)
	if err != nil {
		if ctx.Err() == nil {
			f.told(err)
		}
		return // the client sees a closed connection
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
	n, err := io.Copy(router.Bounded(conn), pod)
	if ctx.Err() == nil && n == 0 {
		f.told(err) // such as that nothing listens at the port
	}
	closeWrite(conn)
	// The answer is complete; a client that keeps its half open would hold this
	// connection for ever.
	cancel()
	copies.Wait()
}

// told passes on what a connection met; no error is that it got to its pod.
func (f *forwarder) told(err error) {
	switch {
	case f.tell == nil:
	case err == nil:
		f.tell("")
	case strings.Contains(err.Error(), "connection refused"): // the kubelet wraps it in ids of the pod's sandbox
		f.tell("nothing listens on this port in its pod")
	default:
		f.tell(err.Error())
	}
}

// closeWrite ends one direction where the stream knows how to.
func closeWrite(s io.Closer) {
	if half, ok := s.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// reach returns a stream to a Ready pod, waiting readyPatience for one to come.
// One that went between the look and the call is passed over. The error is that
// of the last call, or ctx's.
func reach(ctx context.Context, pick func() (podPort, bool), dial func(context.Context, podPort) (io.ReadWriteCloser, error), changes func() (<-chan struct{}, func())) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	changed, stop := changes()
	defer stop()
	retry := time.NewTimer(0)
	<-retry.C
	defer retry.Stop()
	var last error
	for {
		if to, ok := pick(); ok {
			dialling, done := context.WithTimeout(ctx, dialPatience)
			pod, err := dial(dialling, to)
			done()
			if err == nil {
				return pod, nil
			}
			last = err
			retry.Reset(redial)
		}
		select {
		case <-changed:
		case <-retry.C:
		case <-ctx.Done():
			return nil, cmp.Or(last, ctx.Err())
		}
	}
}
