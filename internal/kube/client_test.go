package kube

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kdev-io/kdev/internal/problem"
)

const twoContexts = `apiVersion: v1
kind: Config
clusters:
- {name: a, cluster: {server: "https://127.0.0.1:1"}}
- {name: b, cluster: {server: "https://127.0.0.1:2"}}
contexts:
- {name: a, context: {cluster: a, user: u}}
- {name: b, context: {cluster: b, user: u}}
users:
- {name: u, user: {token: t}}
`

// A kubeconfig that is not there is another mistake than one without a current context.
func TestNewWithoutAKubeconfig(t *testing.T) {
	dir := t.TempDir()
	absent, empty := filepath.Join(dir, "absent"), filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for files, want := range map[string]string{
		absent: "there is no kubeconfig",
		absent + string(filepath.ListSeparator) + empty: "the kubeconfig has no current context",
	} {
		t.Setenv("KUBECONFIG", files)
		if p := problem.As(errOf(New("", ""))); p == nil || p.Code != "context-missing" || p.Summary != want {
			t.Errorf("%s: %v", files, p)
		}
	}
}

func errOf(_ *Client, err error) error { return err }

func TestNew(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := write("none", twoContexts)
	current := write("current", twoContexts+"current-context: b\n")
	broken := write("broken", "clusters: [")

	for _, tc := range []struct{ name, file, context, server, code string }{
		{"current context", current, "", "https://127.0.0.1:2", ""},
		{"named context", current, "a", "https://127.0.0.1:1", ""},
		{"no current context", none, "", "", "context-missing"},
		{"unknown context", current, "c", "", "context-unknown"},
		{"broken file", broken, "", "", "kubeconfig-invalid"},
		{"no file", filepath.Join(dir, "absent"), "", "", "kubeconfig-invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := New(tc.file, tc.context)
			if tc.code != "" {
				if p := problem.As(err); p == nil || p.Code != tc.code || p.Hint == "" {
					t.Fatalf("error %v, want code %s with a hint", err, tc.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Server != tc.server || c.Config.QPS != -1 || c.Context == "" {
				t.Errorf("server %s, QPS %v, context %q", c.Server, c.Config.QPS, c.Context)
			}
		})
	}
}

// A server that takes connections and says nothing is one that does not answer.
func TestPingOfASilentServer(t *testing.T) {
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(over)
	c, err := ForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := problem.As(c.ping(t.Context(), 50*time.Millisecond))
	if p == nil || p.Code != "cluster-unreachable" || !strings.Contains(p.Error(), "no answer within 50ms") {
		t.Errorf("%v", p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
