// Package transporttest puts a network of one's choice between a client and an
// API server.
//
// In: the server's address. Out: an address to connect to instead. It forwards
// bytes and never looks at them. Invariant: bytes arrive in order, each after the
// delay that held when it came in, until the connection is cut.
package transporttest

import (
	"net"
	"net/url"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// A Proxy stands between a client and a server and does what networks do.
type Proxy struct {
	server string
	l      net.Listener

	mu    sync.Mutex
	delay time.Duration // each way
	up    chan struct{} // closed while bytes go through
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

// New returns a Proxy to the API server of cfg, and the configuration that goes
// through it. Close ends it.
func New(cfg *rest.Config) (*Proxy, *rest.Config, error) {
	u, err := url.Parse(cfg.Host)
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	up := make(chan struct{})
	close(up)
	p := &Proxy{server: u.Host, l: l, up: up, conns: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	through := rest.CopyConfig(cfg)
	through.Host = "https://" + l.Addr().String()
	through.TLSClientConfig.ServerName = u.Hostname()
	return p, through, nil
}

// SetDelay makes later bytes take so long, each way.
func (p *Proxy) SetDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Sink swallows everything until Rise, as a network does that is away.
func (p *Proxy) Sink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up = make(chan struct{})
}

// Rise ends a Sink.
func (p *Proxy) Rise() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.up:
	default:
		close(p.up)
	}
}

// Cut ends all connections, as an API server that restarts does.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Close ends the Proxy and waits for its goroutines.
func (p *Proxy) Close() {
	p.l.Close()
	p.Rise()
	p.Cut()
	p.work.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(c net.Conn) {
	defer c.Close()
	p.wait()
	s, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	p.conns[c], p.conns[s] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
		delete(p.conns, s)
	}()
	var both sync.WaitGroup
	both.Go(func() { p.pump(s, c) })
	both.Go(func() { p.pump(c, s) })
	both.Wait()
}

// pump forwards bytes, each after the delay, in order and without holding up
// those behind.
func (p *Proxy) pump(to, from net.Conn) {
	type parcel struct {
		at    time.Time
		bytes []byte
	}
	parcels := make(chan parcel, 4096)
	var sender sync.WaitGroup
	sender.Go(func() {
		for q := range parcels {
			if wait := time.Until(q.at); wait > 0 {
				<-time.After(wait)
			}
			p.wait()
			if _, err := to.Write(q.bytes); err != nil {
				from.Close()
			}
		}
		to.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			d := p.delay
			p.mu.Unlock()
			parcels <- parcel{time.Now().Add(d), append([]byte(nil), buf[:n]...)}
		}
		if err != nil {
			break
		}
	}
	close(parcels)
	sender.Wait()
}

func (p *Proxy) wait() {
	p.mu.Lock()
	up := p.up
	p.mu.Unlock()
	<-up
}
