package session

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kdev-io/kdev/internal/router"
)

// reach finds a place on this machine from which a Service is reached, and keeps
// it. The ports are the Service's own where an address has them free. Ports that the
// Service has got since then are opened beside them.
func (st *stand) reach(n named) (site, bool) {
	at := st.sites[n.name]
	var missing []int
	for _, port := range n.ports {
		if at == nil || at.ports[port] == 0 {
			missing = append(missing, port)
		}
	}
	if len(missing) == 0 {
		if at == nil {
			return site{}, false
		}
		return *at, true
	}
	var hosts []string
	if at != nil {
		hosts = []string{at.host}
	}
	listeners, host := st.listen(missing, hosts)
	if listeners == nil {
		if at == nil {
			return site{}, false
		}
		return *at, true
	}
	if at == nil {
		at = &site{host: host, ports: map[int]int{}}
		st.sites[n.name] = at
	}
	var places []string
	for i, l := range listeners {
		port := missing[i]
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
	st.s.tell(Notice{Level: Info, Service: st.config.Name, Code: "stand-in-reach",
		Text: fmt.Sprintf("%s reaches %s at %s", st.config.Name, n.name, strings.Join(places, " "))})
	return *at, true
}

// listen opens all ports at one address of this machine: one of some, or any where
// there are none.
func (st *stand) listen(ports []int, some []string) (_ []*net.TCPListener, host string) {
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
	if len(some) == 0 {
		some = loopbacks()
	}
	for _, host := range some {
		if own {
			break
		}
		if open := all(host, ports); open != nil {
			return open, host
		}
	}
	return all(some[0], make([]int, len(ports))), some[0]
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
