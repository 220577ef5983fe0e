package buildkit

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/kdev-io/kdev/internal/problem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// execServer is an API server whose pod "kit" has a `buildctl dial-stdio` that leads to
// the socket; in any other one the command says that it cannot.
func execServer(t *testing.T, socket string) {
	t.Helper()
	var running sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io"}}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		running.Add(1)
		defer running.Done()
		defer ws.Close()
		if got := strings.Join(r.URL.Query()["command"], " "); got != "buildctl dial-stdio" {
			t.Errorf("the command is %q", got)
		}
		if !strings.Contains(r.URL.Path, "/namespaces/build/pods/kit/") {
			_ = ws.WriteMessage(websocket.BinaryMessage, append([]byte{2}, "buildctl: no socket"...))
			_ = ws.WriteMessage(websocket.BinaryMessage, append([]byte{3}, `{"metadata":{},"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"1"}]}}`...))
			_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
			return
		}
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		running.Go(func() {
			for {
				_, message, err := ws.ReadMessage()
				if err != nil {
					conn.Close()
					return
				}
				if message[0] == 255 { // stdin has ended
					_ = conn.CloseWrite()
					continue
				}
				if len(message) > 1 && message[0] == 0 {
					if _, err := conn.Write(message[1:]); err != nil {
						return
					}
				}
			}
		})
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				_ = ws.WriteMessage(websocket.BinaryMessage, append([]byte{3}, `{"metadata":{},"status":"Success"}`...))
				_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
				return
			}
			if ws.WriteMessage(websocket.BinaryMessage, append([]byte{1}, buf[:n]...)) != nil {
				return
			}
		}
	}))
	t.Cleanup(func() { server.Close(); running.Wait() })
	file := filepath.Join(t.TempDir(), "config")
	config := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: dev\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u}]\ncontexts: [{name: dev, context: {cluster: c, user: u, namespace: build}}]\n", server.URL)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
}

func TestKubePod(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	execServer(t, socket)
	for range 3 { // each with a stream of its own
		if err := dial(t, Options{Address: "kube-pod://kit?namespace=build&context=dev"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := dial(t, Options{Address: "kube-pod://kit"}); err != nil { // the current context, and its namespace
		t.Error(err)
	}
	p := problem.As(dial(t, Options{Address: "kube-pod://other?namespace=build"}))
	if p == nil || p.Code != "buildkit-missing" || !strings.Contains(p.Error(), "buildctl: no socket") {
		t.Errorf("%+v", p)
	}
	p = problem.As(dial(t, Options{Address: "kube-pod://kit?context=none"}))
	if p == nil || p.Code != "context-unknown" {
		t.Errorf("%+v", p)
	}
}
