package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gwebsocket "github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	httpspdy "k8s.io/streaming/pkg/httpstream/spdy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server answers execs with a program of the test's.
type server struct {
	t           *testing.T
	noWebSocket bool
	program     func(command []string, stdin io.Reader, stdout, stderr io.Writer) (code string)

	webSockets, spdys atomic.Int64
	*httptest.Server
}

func newServer(t *testing.T, noWebSocket bool, program func([]string, io.Reader, io.Writer, io.Writer) string) *server {
	s := &server{t: t, noWebSocket: noWebSocket, program: program}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func status(code string) string {
	if code == "" {
		return `{"metadata":{},"status":"Success"}`
	}
	if strings.HasPrefix(code, "!") {
		return `{"metadata":{},"status":"Failure","reason":"InternalError","message":"` + code[1:] + `"}`
	}
	return `{"metadata":{},"status":"Failure","reason":"NonZeroExitCode","message":"command terminated with non-zero exit code","details":{"causes":[{"reason":"ExitCode","message":"` + code + `"}]}}`
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/api/v1/namespaces/ns/pods/pod/exec") {
		http.Error(w, r.URL.Path, http.StatusNotFound)
		return
	}
	command := r.URL.Query()["command"]
	if r.Method == http.MethodGet {
		s.webSockets.Add(1)
		if s.noWebSocket {
			http.Error(w, "no upgrades here", http.StatusBadRequest)
			return
		}
		s.serveWebSocket(w, r, command)
		return
	}
	s.spdys.Add(1)
	s.serveSPDY(w, r, command)
}

// A channel writes messages of one channel of the v5 protocol.
type channel struct {
	ws *gwebsocket.Conn
	mu *sync.Mutex
	id byte
}

func (c channel) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(p), c.ws.WriteMessage(gwebsocket.BinaryMessage, append([]byte{c.id}, p...))
}

func (s *server) serveWebSocket(w http.ResponseWriter, r *http.Request, command []string) {
	up := gwebsocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io"}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	in, stdin := io.Pipe()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			_, m, err := ws.ReadMessage()
			switch {
			case err != nil:
				stdin.CloseWithError(io.EOF)
				return
			case len(m) > 1 && m[0] == 0:
				stdin.Write(m[1:])
			case len(m) == 2 && m[0] == 255: // half-close
				stdin.Close()
			}
		}
	}()
	var mu sync.Mutex
	code := s.program(command, in, channel{ws, &mu, 1}, channel{ws, &mu, 2})
	in.Close()
	channel{ws, &mu, 3}.Write([]byte(status(code)))
	mu.Lock()
	ws.WriteMessage(gwebsocket.CloseMessage, gwebsocket.FormatCloseMessage(gwebsocket.CloseNormalClosure, ""))
	mu.Unlock()
	// Closing a socket whose input was not read resets it, and the client may lose
	// the status that is on its way.
	<-gone
}

func (s *server) serveSPDY(w http.ResponseWriter, r *http.Request, command []string) {
	if _, err := httpstream.Handshake(r, w, []string{"v4.channel.k8s.io"}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 4)
	conn := httpspdy.NewResponseUpgrader().UpgradeResponse(w, r, func(st httpstream.Stream, _ <-chan struct{}) error {
		streams <- st
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	by := map[string]httpstream.Stream{}
	for len(by) < 4 {
		st := <-streams
		by[st.Headers().Get("streamType")] = st
	}
	code := s.program(command, by["stdin"], by["stdout"], by["stderr"])
	by["error"].Write([]byte(status(code)))
	for _, st := range by {
		st.Close()
	}
	<-conn.CloseChan()
}

func config(s *server) *rest.Config { return &rest.Config{Host: s.URL} }

func echo(_ []string, stdin io.Reader, stdout, _ io.Writer) string {
	io.Copy(stdout, stdin)
	return ""
}

func TestStream(t *testing.T) {
	for name, noWebSocket := range map[string]bool{"WebSocket": false, "SPDY": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, noWebSocket, echo)
			d := Exec(config(s))
			for range 3 {
				c, err := d.Dial(t.Context(), "ns", "pod", "c")
				if err != nil {
					t.Fatal(err)
				}
				message := bytes.Repeat([]byte("0123456789"), 20000)
				go c.Write(message)
				got := make([]byte, len(message))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, message) {
					t.Fatalf("came back as something else: %v", err)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if _, err := c.Write(message); err == nil {
					t.Error("a closed stream can be written to")
				}
			}
			// The refusal is paid for once.
			wantWS, wantSPDY := int64(3), int64(0)
			if noWebSocket {
				wantWS, wantSPDY = 1, 3
			}
			if s.webSockets.Load() != wantWS || s.spdys.Load() != wantSPDY {
				t.Errorf("%d WebSockets and %d SPDYs, want %d and %d", s.webSockets.Load(), s.spdys.Load(), wantWS, wantSPDY)
			}
		})
	}
}

func TestEnds(t *testing.T) {
	tests := []struct {
		name, said, code, want string
	}{
		{"by itself", "", "", "EOF"},
		{"with an exit code", "", "3", "command terminated with exit code 3"},
		{"with an exit code and a word", "kdev-agent: gone\n", "1", "command terminated with exit code 1: kdev-agent: gone"},
		{"because the program is not there", "", "!exec failed: no such file or directory", "no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, false, func(_ []string, _ io.Reader, _, stderr io.Writer) string {
				io.WriteString(stderr, tt.said)
				return tt.code
			})
			c, err := Exec(config(s)).Dial(t.Context(), "ns", "pod", "c")
			if err == nil {
				defer c.Close()
				_, err = c.Read(make([]byte, 1))
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDialFails(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"pods \"pod\" is forbidden: no","reason":"Forbidden","code":403}`)
	}))
	defer refusing.Close()
	if _, err := Exec(&rest.Config{Host: refusing.URL}).Dial(t.Context(), "ns", "pod", "c"); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("error %v", err)
	}

	// A server that takes the request and says nothing.
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer silent.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Exec(&rest.Config{Host: silent.URL}).Dial(ctx, "ns", "pod", "c"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A box is a container with files, tar or none, and directories that are not
// writable.
type box struct {
	mu       sync.Mutex
	files    map[string]bool
	tar      bool
	readOnly []string
	ran      []string
}

func (b *box) run(command []string, stdin io.Reader, stdout, stderr io.Writer) string {
	b.mu.Lock()
	b.ran = append(b.ran, strings.Join(command, " "))
	known := b.files[command[0]] || command[0] == "tar" && b.tar
	b.mu.Unlock()
	if !known {
		return "!OCI runtime exec failed: exec: \\\"" + command[0] + "\\\": no such file or directory"
	}
	if command[0] != "tar" {
		if command[1] == "serve" {
			return echo(command, stdin, stdout, stderr)
		}
		return ""
	}
	content, _ := io.ReadAll(stdin)
	dir := command[len(command)-1]
	for _, ro := range b.readOnly {
		if dir == ro {
			io.WriteString(stderr, "tar: Read-only file system")
			return "2"
		}
	}
	name := string(bytes.TrimRight(content[512:612], "\x00"))
	b.mu.Lock()
	b.files[strings.TrimSuffix(dir, "/")+"/"+name] = true
	b.mu.Unlock()
	return ""
}

// dockerd says on stdout why a command could not be started.
func TestNotStarted(t *testing.T) {
	s := newServer(t, false, func(_ []string, _ io.Reader, stdout, _ io.Writer) string {
		io.WriteString(stdout, "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/.kdev/agent\": stat /.kdev/agent: no such file or directory: unknown\r\n")
		return "126"
	})
	c, err := Exec(config(s)).Dial(t.Context(), "ns", "pod", "c")
	if err == nil {
		var n int
		if n, err = c.Read(make([]byte, 4<<10)); n > 0 {
			t.Errorf("%d bytes of it are output", n)
		}
		c.Close()
	}
	if !Missing(err) {
		t.Errorf("error %v", err)
	}
}

func TestAway(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if _, err := Exec(&rest.Config{Host: gone.URL}).Dial(t.Context(), "ns", "pod", "c"); !Away(err) {
		t.Errorf("error %v", err)
	}
	if Away(nil) || Away(errors.New("container not found")) {
		t.Error("what is no refusal")
	}
}

func TestDown(t *testing.T) {
	for text, down := range map[string]bool{
		`unable to upgrade connection: container not found ("web")`:                                                                              true,
		`Internal error occurred: error executing command in container: failed to exec in container: container is in CONTAINER_EXITED state`:     true,
		`Internal error occurred: error executing command in container: failed to exec in container: failed to load task: no running task found`: true,
		`Internal error occurred: error executing command in container: container is not created or running`:                                     true,
		`exec failed: cannot exec in a stopped container`:                                                                                        true,
		`pods "web-1" not found`: false,
		`exec: "/.kdev/agent": stat /.kdev/agent: no such file or directory`: false,
		`dial tcp 127.0.0.1:6443: connect: connection refused`:               false,
	} {
		if Down(errors.New(text)) != down {
			t.Errorf("%q: %v", text, !down)
		}
	}
	if Down(nil) {
		t.Error("no error")
	}
}

func TestCarry(t *testing.T) {
	program := func(context.Context, string, string) ([]byte, error) { return []byte("an agent"), nil }
	tests := []struct {
		name  string
		box   *box
		where string // what serves in the end
	}{
		{"has one", &box{files: map[string]bool{"/.kdev/agent": true}}, "/.kdev/agent serve"},
		{"takes one", &box{files: map[string]bool{}, tar: true}, "/tmp/.kdev-9be1f4b2b4d1/agent serve"},
		{"takes one elsewhere", &box{files: map[string]bool{}, tar: true, readOnly: []string{"/tmp", "/var/tmp"}}, "/dev/shm/.kdev-9be1f4b2b4d1/agent serve"},
		{"has no tar", &box{files: map[string]bool{}}, ""},
		{"has no place", &box{files: map[string]bool{}, tar: true, readOnly: carryTo}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, false, tt.box.run)
			d := Carry(config(s), program)
			c, err := d.Dial(t.Context(), "ns", "pod", "c")
			if tt.where == "" {
				if !errors.Is(err, ErrNoAgent) || !Missing(err) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			go c.Write([]byte("x"))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
			c.Close()
			tt.box.mu.Lock()
			last, n := tt.box.ran[len(tt.box.ran)-1], len(tt.box.ran)
			tt.box.mu.Unlock()
			if strings.Split(last, "-")[0] != strings.Split(tt.where, "-")[0] {
				t.Errorf("%q serves, want %q", last, tt.where)
			}
			// From then on one exec is enough, until the container is another one.
			if c, err = d.Dial(t.Context(), "ns", "pod", "c"); err != nil {
				t.Fatal(err)
			}
			c.Close()
			tt.box.mu.Lock()
			if len(tt.box.ran) != n+1 {
				t.Errorf("%q", tt.box.ran[n:])
			}
			tt.box.files = map[string]bool{}
			tt.box.tar = true
			tt.box.mu.Unlock()
			// Whether the dial or the first read says so depends on who is faster.
			c, err = d.Dial(t.Context(), "ns", "pod", "c")
			if err == nil {
				_, err = c.Read(make([]byte, 1))
				c.Close()
			}
			if !Missing(err) {
				t.Errorf("error %v", err)
			}
			if c, err = d.Dial(t.Context(), "ns", "pod", "c"); err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}
