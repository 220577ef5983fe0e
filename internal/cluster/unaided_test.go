package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

// TestWithoutAnEngine: a cluster that answers on a loopback address and whose nodes say that
// the tool made them for it needs no engine to be used; whatever is not so, does.
func TestWithoutAnEngine(t *testing.T) {
	nodes := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/nodes" || nodes == "" {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","items":[%s]}`, nodes)
	}))
	defer server.Close()
	node := func(name, id string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"providerID":%q}}`, name, id)
	}
	kindNodes := node("other-worker", "kind://docker/other/other-worker") + "," + node("other-control-plane", "kind://docker/other/other-control-plane")
	k3dKubeconfig := strings.ReplaceAll(string(entryFor("other", server.URL)), "kind-", "k3d-")
	for _, c := range []struct {
		name, kubeconfig, context, nodes string
		want                             string // code of the problem, or nodes
		engine                           error
	}{
		{name: "kind, named", kubeconfig: string(entryFor("other", server.URL)), context: "kind-other", nodes: kindNodes, want: "other-control-plane other-worker"},
		{name: "kind, current", kubeconfig: string(entryFor("other", server.URL)), nodes: kindNodes, want: "other-control-plane other-worker"},
		{name: "our own", kubeconfig: string(entryFor("kdev", server.URL)), nodes: node("kdev-control-plane", "kind://podman/kdev/kdev-control-plane"), want: "kdev-control-plane"},
		{name: "k3d", kubeconfig: k3dKubeconfig, nodes: node("k3d-other-server-0", "k3s://k3d-other-server-0"), want: "k3d-other-server-0"},
		{name: "nodes of a cloud", kubeconfig: string(entryFor("other", server.URL)), context: "kind-other", nodes: node("other-control-plane", "aws:///eu/i-1"), want: "context-not-local"},
		{name: "one node of a cloud", kubeconfig: string(entryFor("other", server.URL)), context: "kind-other", nodes: kindNodes + "," + node("n", "aws:///eu/i-1"), want: "context-not-local"},
		{name: "of another cluster", kubeconfig: string(entryFor("kdev", server.URL)), nodes: kindNodes, want: "engine-missing"},
		{name: "k3s, called as kind's", kubeconfig: string(entryFor("other", server.URL)), context: "kind-other", nodes: node("n", "k3s://n"), want: "context-not-local"},
		{name: "called otherwise", kubeconfig: strings.ReplaceAll(string(entryFor("other", server.URL)), "kind-other", "dev"), context: "dev", nodes: kindNodes, want: "context-not-local"},
		{name: "elsewhere", kubeconfig: string(entryFor("other", "http://10.1.2.3:6443")), context: "kind-other", nodes: kindNodes, want: "context-not-local"},
		{name: "does not answer", kubeconfig: string(entryFor("kdev", server.URL)), want: "engine-missing"},
		{name: "no cluster at all", want: "engine-missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config")
			if c.kubeconfig != "" {
				write(t, file, c.kubeconfig)
			}
			nodes = c.nodes
			m := withFakes(t, Options{Kubeconfig: file, Context: c.context}, &fakeEngine{}, &fakeTool{})
			away := noEngine([]string{"docker"}, []error{io.EOF})
			m.engine, m.find = nil, func(context.Context) (engine, error) { return nil, away }
			found, err := m.ensure(t.Context())
			if p := problem.As(err); p != nil {
				if p.Code != c.want {
					t.Errorf("%v, want %s", p, c.want)
				}
				return
			}
			if err != nil || !slices.Equal(found.Nodes, strings.Fields(c.want)) || found.Unaided == nil || found.Provider == "" {
				t.Errorf("%+v, %v", found, err)
			}
		})
	}
}
