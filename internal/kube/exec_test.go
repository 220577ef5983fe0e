package kube

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	gwebsocket "github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExec(t *testing.T) {
	const failure = `{"metadata":{},"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}`
	for _, tc := range []struct {
		name, status string
		code         int
	}{
		{"success", `{"metadata":{},"status":"Success"}`, 0},
		{"exit code", failure, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				up := gwebsocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io"}}
				ws, err := up.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer ws.Close()
				out := strings.Join(r.URL.Query()["command"], " ")
				_ = ws.WriteMessage(gwebsocket.BinaryMessage, append([]byte{1}, out...))
				_ = ws.WriteMessage(gwebsocket.BinaryMessage, append([]byte{2}, "warn"...))
				_ = ws.WriteMessage(gwebsocket.BinaryMessage, append([]byte{3}, tc.status...))
				_ = ws.WriteMessage(gwebsocket.CloseMessage, gwebsocket.FormatCloseMessage(gwebsocket.CloseNormalClosure, ""))
			}))
			defer server.Close()
			c := clientFor(t, server.URL)
			var stdout, stderr bytes.Buffer
			err := c.Exec(t.Context(), "shop", "web-0", "web", []string{"cat", "/etc/x"}, nil, &stdout, &stderr)
			if stdout.String() != "cat /etc/x" || stderr.String() != "warn" {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
			var exit *ExitError
			if tc.code == 0 && err != nil || tc.code != 0 && (!errors.As(err, &exit) || exit.Code != tc.code) {
				t.Errorf("error %v, want exit code %d", err, tc.code)
			}
		})
	}
}

func TestExecFallsBackToSPDY(t *testing.T) {
	var spdyTried atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Upgrade"), "SPDY/") {
			spdyTried.Store(true)
		}
		http.Error(w, "no upgrades here", http.StatusBadRequest)
	}))
	defer server.Close()
	c := clientFor(t, server.URL)
	err := c.Exec(t.Context(), "shop", "web-0", "web", []string{"true"}, nil, &bytes.Buffer{}, nil)
	if err == nil || !spdyTried.Load() {
		t.Errorf("error %v, SPDY tried: %v", err, spdyTried.Load())
	}
}
