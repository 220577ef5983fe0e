//go:build e2e

package e2e

import (
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kdev-io/kdev/sync/transport"
)

// A proxy stands between kdev and the API server and does what networks do.
type proxy struct {
	t      testing.TB
	server string
	l      net.Listener

	mu    sync.Mutex
	delay time.Duration // each way
	up    chan struct{} // closed while bytes go through
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

func newProxy(t testing.TB) (*proxy, transport.Dialer) {
	t.Helper()
	u, err := url.Parse(client.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	close(up)
	p := &proxy{t: t, server: u.Host, l: l, up: up, conns: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.rise()
		p.cut()
		p.work.Wait()
	})
	cfg := rest.CopyConfig(client.Config)
	cfg.Host = "https://" + l.Addr().String()
	cfg.TLSClientConfig.ServerName = u.Hostname()
	return p, transport.Exec(cfg)
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(c net.Conn) {
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
func (p *proxy) pump(to, from net.Conn) {
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

func (p *proxy) wait() {
	p.mu.Lock()
	up := p.up
	p.mu.Unlock()
	<-up
}

// sink swallows everything until rise.
func (p *proxy) sink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up = make(chan struct{})
}

func (p *proxy) rise() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.up:
	default:
		close(p.up)
	}
}

// cut ends all connections, as an API server that restarts does.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}
