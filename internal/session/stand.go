package session

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/local"
	"github.com/kdev-io/kdev/internal/router"
	"github.com/kdev-io/kdev/sync/transport"
	"github.com/kdev-io/kdev/sync/tunnel"
)

// A stand is what lets a program on this machine stand in for a service's own: the
// environment of one of its containers, a stream to each container over which the
// connections to its ports come here, and ports here that lead to other Services.
// It outlives the loops, as the program does. Its methods are for the loop's
// goroutine, except where they say otherwise.
type stand struct {
	s      *Session
	config *config.StandIn
	status func() local.Status
	// print writes what a command of the agent prints; dial opens a stream to one.
	print func(ctx context.Context, at containerKey, out io.Writer, command ...string) error
	dial  func(command ...string) transport.Dialer

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	reading  context.CancelFunc // of the environment; nil: nobody reads
	from     containerKey       // whose environment it is
	wanted   []standContainer
	carriers map[containerKey]*carrier
	sites    map[string]*site // by Service
	doors    []*forwarder

	mu   sync.Mutex
	vars []string // of the container; nil until they were read
	read int      // how often they were
	err  error    // why they could not be
}

// A standContainer is a container whose ports are to be carried here.
type standContainer struct {
	key   containerKey
	ports []int // the main one first
}

// A carrier is the stream to one container.
type carrier struct {
	ports  []int
	cancel context.CancelFunc

	up  bool  // connections come; stand.mu
	err error // why they do not; stand.mu
}

func newStand(ctx context.Context, s *Session, c *config.StandIn, status func() local.Status) *stand {
	st := &stand{s: s, config: c, status: status, carriers: map[containerKey]*carrier{}, sites: map[string]*site{}}
	st.ctx, st.cancel = context.WithCancel(ctx)
	st.print = func(ctx context.Context, at containerKey, out io.Writer, command ...string) error {
		return s.parts.Kube.Exec(ctx, s.front.namespace, at.pod, at.container, command, nil, out, io.Discard)
	}
	st.dial = func(command ...string) transport.Dialer { return transport.Command(s.parts.Kube.Config, command...) }
	return st
}

// close ends all of it, and returns when nothing is left.
func (st *stand) close() {
	st.cancel()
	st.work.Wait()
	for _, d := range st.doors {
		d.listener.Close()
	}
}

// want says which containers run now, and whether their connections are to come
// here.
func (st *stand) want(containers []standContainer, carry bool) {
	st.wanted = containers
	there := func(key containerKey) bool {
		return slices.ContainsFunc(containers, func(c standContainer) bool { return c.key == key })
	}
	if st.reading != nil && !there(st.from) {
		st.reading()
		st.reading = nil
	}
	if st.reading == nil && len(containers) > 0 {
		ctx, cancel := context.WithCancel(st.ctx)
		st.reading, st.from = cancel, containers[0].key
		at := st.from
		st.work.Go(func() { st.readEnvironment(ctx, at) })
	}
	for key, c := range st.carriers {
		i := slices.IndexFunc(containers, func(c standContainer) bool { return c.key == key })
		if i < 0 || !slices.Equal(containers[i].ports, c.ports) {
			c.cancel()
			delete(st.carriers, key)
		}
	}
	for _, c := range containers {
		if st.carriers[c.key] != nil || !carry || len(c.ports) == 0 {
			continue
		}
		ctx, cancel := context.WithCancel(st.ctx)
		one := &carrier{ports: c.ports, cancel: cancel}
		st.carriers[c.key] = one
		st.work.Go(func() { st.carry(ctx, c.key, one) })
	}
}

// environment is what was last read, and how often it was; and why it could not be.
func (st *stand) environment() (vars []string, read int, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.vars, st.read, st.err
}

// carrying says whether the connections of each container come here, and if not
// why, as far as that is known.
func (st *stand) carrying() (all bool, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	all = true
	for _, c := range st.carriers {
		all = all && c.up
		err = cmp.Or(err, c.err)
	}
	return all, err
}

// standRetry is the time between two tries to reach a container, longestRetry what
// it grows to.
const (
	standRetry   = 100 * time.Millisecond
	longestRetry = 2 * time.Second
)

// readEnvironment asks a container for its environment until it answers.
func (st *stand) readEnvironment(ctx context.Context, at containerKey) {
	st.again(ctx, func() bool {
		var out bytes.Buffer
		err := st.print(ctx, at, &out, build.Agent, "env")
		if ctx.Err() != nil {
			return true
		}
		st.mu.Lock()
		if st.err = err; err == nil {
			st.vars, st.read = strings.Split(strings.TrimSuffix(out.String(), "\x00"), "\x00"), st.read+1
		}
		st.mu.Unlock()
		st.s.locals.signal()
		return err == nil
	})
}

// again does something until it is done, with a growing time between two tries.
func (st *stand) again(ctx context.Context, do func() (done bool)) {
	for wait := standRetry; !do(); wait = min(2*wait, longestRetry) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// carry keeps the stream to one container open.
func (st *stand) carry(ctx context.Context, at containerKey, c *carrier) {
	command := []string{build.Agent, "carry"}
	for _, port := range c.ports {
		command = append(command, strconv.Itoa(port))
	}
	dialer := st.dial(command...)
	tell := func(up bool, err error) {
		st.mu.Lock()
		c.up, c.err = up, err
		st.mu.Unlock()
		st.s.locals.signal()
	}
	for ctx.Err() == nil {
		st.again(ctx, func() bool {
			stream, err := dialer.Dial(ctx, st.s.front.namespace, at.pod, at.container)
			if err != nil {
				if ctx.Err() == nil {
					tell(false, err)
				}
				return ctx.Err() != nil
			}
			t := tunnel.New(stream, func(conn *tunnel.Conn) { st.serve(ctx, conn, c.ports[0]) })
			defer t.Close()
			carried := false
			select {
			case <-t.Up():
				carried = true
				tell(true, nil)
				select {
				case <-t.Done():
				case <-ctx.Done():
				}
			case <-t.Done():
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				return true
			}
			err = t.Err()
			if errors.Is(err, io.EOF) {
				err = nil // the container has ended, or the agent was told to
			}
			tell(false, err)
			return carried // at once: it worked until now
		})
	}
}

// serve joins a connection that came to a port of a container with the program
// here. One that is just being started again is waited for.
func (st *stand) serve(ctx context.Context, conn *tunnel.Conn, first int) {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	to := net.JoinHostPort("localhost", strconv.Itoa(st.localPort(conn.Port, first)))
	tick := time.NewTicker(localRetry)
	defer tick.Stop()
	for {
		here, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
		if err == nil {
			tunnel.Join(here.(*net.TCPConn), conn)
			return
		}
		if st.status().Phase == local.Ready {
			return // it runs and does not listen: the client sees a closed connection
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// localRetry is the time between two tries to reach a program that is being
// started. What it does at a port has no signal.
const localRetry = 50 * time.Millisecond

// localPort is the port on this machine for one of a container, whose main one is
// first.
func (st *stand) localPort(port, first int) int {
	if st.config.Port != 0 && port == cmp.Or(st.config.To, first) {
		return st.config.Port
	}
	return port
}

// reach finds a place on this machine from which a Service is reached, and keeps
// it. The ports are the Service's own where an address has them free.
func (st *stand) reach(n named) (site, bool) {
	if s := st.sites[n.name]; s != nil {
		return *s, true
	}
	if len(n.ports) == 0 {
		return site{}, false
	}
	listeners, host := st.listen(n.ports)
	if listeners == nil {
		return site{}, false
	}
	at := &site{host: host, ports: map[int]int{}}
	var places []string
	for i, l := range listeners {
		port := n.ports[i]
		backend := router.Backend{Service: n.name, Port: intstr.FromInt(port)}
		d := &forwarder{
			service: n.name, listener: l, changed: st.s.parts.Live.Subscribe, dial: st.s.front.pod,
			pick: func() (podPort, bool) {
				ready, _, _ := st.s.front.ready(backend)
				if len(ready) == 0 {
					return podPort{}, false
				}
				return anyOf(ready), true
			},
		}
		at.ports[port] = l.Addr().(*net.TCPAddr).Port
		places = append(places, l.Addr().String())
		st.doors = append(st.doors, d)
		st.work.Go(func() { d.run(st.ctx) })
	}
	st.sites[n.name] = at
	st.s.tell(Notice{Level: Info, Service: st.config.Name, Code: "stand-in-reach",
		Text: fmt.Sprintf("%s reaches %s at %s", st.config.Name, n.name, strings.Join(places, " "))})
	return *at, true
}

// listen opens all ports at one address of this machine.
func (st *stand) listen(ports []int) (_ []*net.TCPListener, host string) {
	all := func(host string, ports []int) []*net.TCPListener {
		var open []*net.TCPListener
		for _, port := range ports {
			l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				for _, l := range open {
					l.Close()
				}
				return nil
			}
			open = append(open, l.(*net.TCPListener))
		}
		return open
	}
	// A port that the program itself is to have would be taken from it, at whatever
	// address, where it listens on all of them.
	own := slices.ContainsFunc(ports, func(port int) bool { return port == st.config.Port || st.carries(port) })
	for _, host := range loopbacks() {
		if own {
			break
		}
		if open := all(host, ports); open != nil {
			return open, host
		}
	}
	const host4 = "127.0.0.1"
	return all(host4, make([]int, len(ports))), host4
}

// carries says whether a port here is one that connections are carried to.
func (st *stand) carries(port int) bool {
	for _, c := range st.wanted {
		for _, p := range c.ports {
			if st.localPort(p, c.ports[0]) == port {
				return true
			}
		}
	}
	return false
}

// loopbacks are addresses of this machine alone: on most systems all of 127/8 is,
// on macOS and the BSDs one.
func loopbacks() []string {
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		return []string{"127.0.0.1"}
	}
	const most = 20
	var all []string
	for i := range most {
		all = append(all, fmt.Sprintf("127.0.0.%d", i+1))
	}
	return all
}
