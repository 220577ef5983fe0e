package session

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kdev-io/kdev/sync/tunnel"
)

// serve joins a connection that came to one of a container's ports with the program
// here. One that does not listen yet, or is just being started again, is waited for.
// What is no port of the container is refused: the other end says which one it is,
// and this machine has more programs than the one that stands in.
func (st *stand) serve(ctx context.Context, conn *tunnel.Conn, ports []int) {
	if !slices.Contains(ports, conn.Port) {
		return
	}
	port := st.localPort(conn.Port, ports[0])
	if st.isOurs(port) {
		return // it would come back to the pod
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-conn.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	defer watching.Wait()
	defer cancel()
	here := dialLocal(ctx, net.JoinHostPort("localhost", strconv.Itoa(port)))
	if here == nil {
		return
	}
	defer context.AfterFunc(ctx, func() { here.Close() })()
	tunnel.Join(here, conn)
}

// dialLocal connects to a program of this machine; nil: nobody listened for as long
// as a connection waits. What a program does at a port has no signal.
func dialLocal(ctx context.Context, to string) *net.TCPConn {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for wait := localRetry; ; wait = min(2*wait, longestLocalRetry) {
		here, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
		if err == nil {
			return here.(*net.TCPConn)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// localRetry is the time between two tries to reach a program, longestLocalRetry
// what it grows to.
const (
	localRetry        = 50 * time.Millisecond
	longestLocalRetry = 400 * time.Millisecond
)

// avoid says which ports of localhost the session itself has, by what has them. A
// connection that is carried to one of these would come back to the pod.
func (st *stand) avoid(ours map[int]string) {
	st.mu.Lock()
	st.ours = map[int]bool{}
	for port := range ours {
		st.ours[port] = true
	}
	st.mu.Unlock()
	for _, c := range st.wanted {
		for _, p := range c.ports {
			if port := st.localPort(p, c.ports[0]); ours[port] != "" {
				st.s.front.tell(Notice{Level: Warn, Service: st.config.Name, Code: "stand-in-port",
					Text: fmt.Sprintf("port %d of this machine is that of %s: what connects to port %d of the pods of %s cannot come to the program here; give one of them another port: `local: {port: LOCAL:%d}`",
						port, ours[port], p, st.config.Name, p)})
			}
		}
	}
}

func (st *stand) isOurs(port int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.ours[port]
}

// localPort is the port on this machine for one of a container, whose main one is
// first.
func (st *stand) localPort(port, first int) int {
	if st.config.Port != 0 && port == cmp.Or(st.config.To, first) {
		return st.config.Port
	}
	return port
}
