package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pods is a cluster: Services by name, each a handler. A Service that is not
// there is unavailable.
type pods map[string]http.HandlerFunc

// open serves a router in front of pods and returns its address.
func (p pods) open(t *testing.T, table *Table) (*Router, string) {
	t.Helper()
	addrs := map[string]string{}
	for name, handle := range p {
		server := httptest.NewServer(handle)
		t.Cleanup(server.Close)
		addrs[name] = server.Listener.Addr().String()
	}
	return serve(t, table, func(ctx context.Context, to Backend) (io.ReadWriteCloser, error) {
		if addrs[to.Service] == "" {
			return nil, &Unavailable{"it waits for its image"}
		}
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addrs[to.Service])
	})
}

func serve(t *testing.T, table *Table, dial Dial) (*Router, string) {
	t.Helper()
	return serveWith(t, table, dial, patience)
}

func serveWith(t *testing.T, table *Table, dial Dial, patience time.Duration) (*Router, string) {
	t.Helper()
	r := New(dial)
	r.patience = patience
	r.Swap(table)
	l, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Serve(ctx, l); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return r, fmt.Sprintf("127.0.0.1:%d", l.Port)
}

func named(services ...string) *Table {
	var all []Backend
	for _, s := range services {
		all = append(all, Backend{Service: s, Port: intstr.FromInt32(80), Weight: 1})
	}
	return NewTable("shop", nil, all)
}

// ask sends a request for a host to the router.
func ask(t testing.TB, method, addr, host, path string, edit ...func(*http.Request)) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for _, e := range edit {
		e(req)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestForwardedHeaders(t *testing.T) {
	_, addr := pods{"web": func(w http.ResponseWriter, r *http.Request) {
		h := r.Header
		fmt.Fprint(w, r.Host, " ", r.RequestURI, " ", h.Get("X-Forwarded-For"), " ", h.Get("X-Forwarded-Host"), " ", h.Get("X-Forwarded-Proto"), " ", h.Get("X-Forwarded-Port"))
	}}.open(t, named("web"))
	_, port, _ := net.SplitHostPort(addr)
	got := body(t, ask(t, "GET", addr, "web.shop.localhost:"+port, "/a%2Fb?x=1;y", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.1") }))
	host := "web.shop.localhost:" + port
	if want := host + " /a%2Fb?x=1;y 10.0.0.1, 127.0.0.1 " + host + " http " + port; got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}

func TestUnknownHostListsThoseThereAre(t *testing.T) {
	_, addr := pods{}.open(t, named("web", "api"))
	resp := ask(t, "GET", addr, "typo.shop.localhost", "/")
	got := body(t, resp)
	if _, port, _ := net.SplitHostPort(addr); resp.StatusCode != http.StatusNotFound || !strings.Contains(got, "http://web.shop.localhost:"+port) || !strings.Contains(got, "http://api.shop.localhost:"+port) {
		t.Errorf("%s\n%s", resp.Status, got)
	}
	got = body(t, ask(t, "GET", addr, "<script>.shop.localhost", "/", func(r *http.Request) { r.Header.Set("Accept", "text/html") }))
	if !strings.Contains(got, `<a href="http://web.shop.localhost:`) || strings.Contains(got, "<script>") {
		t.Error(got)
	}
}

func TestUnavailableSaysWhy(t *testing.T) {
	_, addr := pods{}.open(t, named("web"))
	resp := ask(t, "GET", addr, "web.shop.localhost", "/")
	if got := body(t, resp); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got, "web cannot answer: it waits for its image") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s\n%s", resp.Status, got)
	}
}

// TestStreams: what a pod has sent arrives before the answer's end.
func TestStreams(t *testing.T) {
	next := make(chan string)
	_, addr := pods{"web": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			fmt.Fprintf(w, "data: %s\n\n", event)
			w.(http.Flusher).Flush()
		}
	}}.open(t, named("web"))
	next0 := sync.OnceFunc(func() { close(next) })
	defer next0()
	go func() { next <- "one" }()
	events := bufio.NewReader(ask(t, "GET", addr, "web.shop.localhost", "/").Body)
	for _, want := range []string{"one", "two", "three"} {
		if want != "one" {
			next <- want
		}
		line, err := events.ReadString('\n')
		if err != nil || line != "data: "+want+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := events.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	next0()
	if _, err := events.ReadByte(); err != io.EOF {
		t.Errorf("after the last event: %v", err)
	}
}

// upgrade answers a handshake and echoes lines, until the other side has no more.
func upgrade(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "echo" {
		http.Error(w, "no upgrade", http.StatusBadRequest)
		return
	}
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	rw.Flush()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(rw, "echo "+line)
		rw.Flush()
	}
}

// upgraded opens such a connection through the router.
func upgraded(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: web.shop.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	return conn, in
}

func TestUpgrade(t *testing.T) {
	_, addr := pods{"web": upgrade}.open(t, named("web"))
	conn, in := upgraded(t, addr)
	for _, line := range []string{"one\n", "two\n"} {
		fmt.Fprint(conn, line)
		if got, err := in.ReadString('\n'); err != nil || got != "echo "+line {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// TestServeEnds: upgraded connections and answers without an end go with the context.
func TestServeEnds(t *testing.T) {
	began := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			upgrade(w, r)
			return
		}
		w.(http.Flusher).Flush()
		close(began)
		<-r.Context().Done()
	}))
	defer web.Close()
	r := New(func(ctx context.Context, _ Backend) (io.ReadWriteCloser, error) {
		conn, err := net.Dial("tcp", web.Listener.Addr().String())
		return reset{conn}, err
	})
	r.Swap(named("web"))
	l, err := Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Serve(ctx, l); close(done) }()
	addr := fmt.Sprintf("127.0.0.1:%d", l.Port)
	_, in := upgraded(t, addr)
	endless := ask(t, "GET", addr, "web.shop.localhost", "/")
	<-began
	cancel()
	<-done
	if _, err := in.ReadByte(); err == nil {
		t.Error("the upgraded connection lives on")
	}
	if _, err := io.ReadAll(endless.Body); err == nil {
		t.Error("an answer that was cut looks whole")
	}
}

// A reset is a stream to a pod: when it is closed here, reading it gives its end and no
// error.
type reset struct{ net.Conn }

func (r reset) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

// TestAsksAgain: a pod that is Ready before its process listens loses nobody who
// may ask twice.
func TestAsksAgain(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method) }))
	defer web.Close()
	var tries atomic.Int32
	_, addr := serve(t, named("web"), func(ctx context.Context, _ Backend) (io.ReadWriteCloser, error) {
		if tries.Add(1) == 1 {
			ours, theirs := net.Pipe()
			theirs.Close()
			return ours, nil
		}
		return net.Dial("tcp", web.Listener.Addr().String())
	})
	if got := body(t, ask(t, "GET", addr, "web.shop.localhost", "/")); got != "GET" || tries.Load() != 2 {
		t.Errorf("%q after %d tries", got, tries.Load())
	}
	tries.Store(0)
	if resp := ask(t, "POST", addr, "web.shop.localhost", "/"); resp.StatusCode != http.StatusBadGateway || tries.Load() != 1 {
		t.Errorf("%s after %d tries: it may have been done already", resp.Status, tries.Load())
	}
}

func TestGivesUpInTime(t *testing.T) {
	_, addr := serveWith(t, named("web"), func(context.Context, Backend) (io.ReadWriteCloser, error) {
		return nil, errors.New("connection refused")
	}, 0)
	resp := ask(t, "GET", addr, "web.shop.localhost", "/")
	if got := body(t, resp); resp.StatusCode != http.StatusBadGateway || !strings.Contains(got, "web did not answer: connection refused") {
		t.Errorf("%s\n%s", resp.Status, got)
	}
}

// TestSwapUnderLoad: whatever table is in force, each request is answered by one.
func TestSwapUnderLoad(t *testing.T) {
	page := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	both := []Rule{
		{Host: "shop.example.com", Type: Prefix, Path: "/", Backends: []Backend{{Service: "a", Weight: 1}}},
		{Host: "shop.example.com", Type: Prefix, Path: "/x", Backends: []Backend{{Service: "b", Weight: 1}}},
	}
	swapped := []Rule{both[1], both[0]}
	swapped[0].Backends, swapped[1].Backends = both[0].Backends, both[1].Backends
	tables := []*Table{NewTable("shop", both, nil), NewTable("shop", swapped, nil)}
	r, addr := pods{"a": page("a"), "b": page("b")}.open(t, tables[0])
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				r.Swap(tables[i%2])
			}
		}
	})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for i := range 50 {
				req, _ := http.NewRequest("GET", "http://"+addr+[]string{"/", "/x/y"}[i%2], nil)
				req.Host = "shop.example.com"
				resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if text := string(got); err != nil || resp.StatusCode != http.StatusOK || text != "a" && text != "b" {
					t.Errorf("%s %q %v", resp.Status, got, err)
				}
			}
		})
	}
	asking.Wait()
	close(stop)
	swapping.Wait()
}

// TestLateWrite: a pod that takes nothing is given up, and told so.
func TestLateWrite(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := &podConn{ReadWriteCloser: ours, patience: time.Millisecond}
	if _, err := c.Write([]byte("x")); !errors.Is(err, errLate) {
		t.Errorf("%v", err)
	}
}

func TestListenTakesTheNextFreePort(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	l, err := Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Port <= port {
		t.Errorf("%d is in use, and the listener has %d", port, l.Port)
	}
	for _, on := range l.on {
		if !on.Addr().(*net.TCPAddr).IP.IsLoopback() {
			t.Errorf("listens on %v", on.Addr())
		}
	}
}
