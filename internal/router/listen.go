package router

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// portTries is how many following ports are tried when the wanted one is busy.
	portTries = 20
	// asking bounds how long a client may take to say what it wants, idling how long
	// it may keep a connection for later.
	asking = 10 * time.Second
	idling = 2 * time.Minute
)

// A Listener is a port on this machine's loopback addresses.
type Listener struct {
	Port int
	on   []net.Listener
}

// Listen opens a port, or the next free one. A port counts as busy when either of
// 127.0.0.1 and ::1 is taken: browsers lead localhost to both, and half of the
// requests would reach somebody else.
func Listen(port int) (*Listener, error) {
	var err error
	for i := range portTries {
		wanted := port + i
		if port == 0 {
			wanted = 0
		}
		if wanted > 65535 {
			break
		}
		var l *Listener
		if l, err = listen(wanted); err == nil {
			return l, nil
		}
		if !InUse(err) {
			break
		}
	}
	return nil, err
}

// InUse says whether a port could not be opened because it is taken. What Windows says
// then has another number than the constant of that name.
func InUse(err error) bool {
	const windows = syscall.Errno(10048)
	return errors.Is(err, syscall.EADDRINUSE) || runtime.GOOS == "windows" && errors.Is(err, windows)
}

func listen(port int) (*Listener, error) {
	v4, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	l := &Listener{Port: v4.Addr().(*net.TCPAddr).Port, on: []net.Listener{v4}}
	v6, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(l.Port)))
	switch {
	case err == nil:
		l.on = append(l.on, v6)
	case InUse(err):
		v4.Close()
		return nil, err
	}
	return l, nil // a machine without IPv6 has the one address
}

// Shadowed says whether another program has the port of addr, one of 127.0.0.1, on ::1:
// what is asked of localhost then reaches that one.
func Shadowed(addr net.Addr) bool {
	l, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(addr.(*net.TCPAddr).Port)))
	if err == nil {
		l.Close()
	}
	return err != nil && InUse(err)
}

// Close closes a listener that was not served.
func (l *Listener) Close() {
	for _, on := range l.on {
		on.Close()
	}
}

// Serve answers on a listener until ctx is done, and returns when the last answer
// has ended. It closes the listener.
func (r *Router) Serve(ctx context.Context, l *Listener) {
	var conns, answers sync.WaitGroup // what was upgraded is an answer, no longer a connection
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			answers.Add(1)
			defer answers.Done()
			r.ServeHTTP(w, req)
		}),
		ReadHeaderTimeout: asking,
		IdleTimeout:       idling,
		ErrorLog:          r.proxy.ErrorLog,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
		// An upgraded connection is no longer the server's: it ends with this context.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	var serving sync.WaitGroup
	for _, on := range l.on {
		serving.Go(func() { _ = server.Serve(guarded{on, ctx}) })
	}
	serving.Wait()
	conns.Wait()
	answers.Wait()
}

// guarded gives the writes of its connections their deadline, and ends them with ctx.
type guarded struct {
	net.Listener
	ctx context.Context
}

func (g guarded) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &clientConn{conn, context.AfterFunc(g.ctx, func() { conn.Close() })}, nil
}

// portOf is the port of this machine at which a request came.
func portOf(req *http.Request) int {
	if addr, ok := req.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return addr.Port
	}
	return 0
}
