package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/kdev-io/kdev/internal/problem"
)

// apiServer answers what Ensure asks of a cluster.
func apiServer(t *testing.T) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/version":
			io.WriteString(w, `{"gitVersion":"v1.36.3"}`)
		case "/api/v1/nodes":
			io.WriteString(w, `{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"n"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}]}`)
		case "/api/v1/namespaces/default/serviceaccounts/default":
			io.WriteString(w, `{"kind":"ServiceAccount","apiVersion":"v1","metadata":{"name":"default"}}`)
		case "/apis/storage.k8s.io/v1/storageclasses":
			io.WriteString(w, `{"kind":"StorageClassList","apiVersion":"storage.k8s.io/v1","items":[{"metadata":{"name":"standard"},"provisioner":"x"}]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func entryFor(name, server string) []byte {
	return []byte(fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters:\n- name: kind-%[1]s\n  cluster: {server: %[2]q}\ncontexts:\n- name: kind-%[1]s\n  context: {cluster: kind-%[1]s, user: kind-%[1]s}\nusers:\n- name: kind-%[1]s\n  user: {token: t}\ncurrent-context: kind-%[1]s\n", name, server))
}

func hostOf(t *testing.T, server *httptest.Server) string {
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestEnsure(t *testing.T) {
	server := apiServer(t)
	at := hostOf(t, server)
	image := strings.Split(defaults.Image, "@")[0]
	other := kindNode("other", at)
	halfMade := kindNode("kdev", "127.0.0.1:1")
	stoppedNode := kindNode("kdev", at)
	stoppedNode.running = false

	for _, tc := range []struct {
		name       string
		kubeconfig string
		context    string // named by the user
		allowed    []string
		nodes      []node
		noEntry    bool // the node has no admin.conf
		want       string
		created    bool
		said       string
		code       string
		removed    string
		started    string
		looking    bool // Options.NoStart
	}{
		{name: "a bare machine", want: "kind-kdev", created: true, said: "creating cluster kdev"},
		{name: "current context is production", kubeconfig: foreignKubeconfig, want: "kind-kdev", created: true, said: "current context prod-eu is not local (prod.example.com is not an address of this machine): using kind-kdev"},
		{name: "production, allowed", kubeconfig: foreignKubeconfig, allowed: []string{"prod-eu"}, want: "prod-eu"},
		{name: "production, named", kubeconfig: foreignKubeconfig, context: "prod-eu", code: "context-not-local"},
		{name: "production, named and allowed", kubeconfig: foreignKubeconfig, context: "prod-eu", allowed: []string{"prod-eu"}, want: "prod-eu"},
		{name: "a tunnel, named", kubeconfig: foreignKubeconfig, context: "tunnel", code: "context-not-local"},
		{name: "an unknown context, named", kubeconfig: foreignKubeconfig, context: "absent", code: "context-unknown"},
		{name: "current context is another local cluster", kubeconfig: string(entryFor("other", server.URL)), nodes: []node{other}, want: "kind-other"},
		{name: "our cluster, named, current is another", kubeconfig: string(entryFor("other", server.URL)), context: "kind-kdev", nodes: []node{other}, want: "kind-kdev", created: true},
		{name: "our cluster is there", kubeconfig: string(entryFor("kdev", server.URL)), nodes: []node{kindNode("kdev", at)}, want: "kind-kdev"},
		{name: "our cluster is stopped", kubeconfig: string(entryFor("kdev", server.URL)), nodes: []node{stoppedNode}, want: "kind-kdev", started: "kdev-control-plane", said: "starting cluster kdev"},
		{name: "our cluster is stopped, and only looked at", kubeconfig: string(entryFor("kdev", server.URL)), nodes: []node{stoppedNode}, looking: true, code: "cluster-stopped"},
		{name: "a bare machine, only looked at", looking: true, code: "cluster-missing"},
		{name: "our cluster is missing in the kubeconfig", nodes: []node{kindNode("kdev", at)}, want: "kind-kdev", said: "not in the kubeconfig"},
		{name: "our cluster is half made", nodes: []node{halfMade, other}, noEntry: true, want: "kind-kdev", created: true, said: "interrupted", removed: "kdev-control-plane"},
		{name: "our context leads elsewhere", kubeconfig: string(entryFor("kdev", "https://prod.example.com")), code: "context-not-local"},
		{name: "our entry is stale", kubeconfig: string(entryFor("kdev", "https://127.0.0.1:1")), want: "kind-kdev", created: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
			file := filepath.Join(t.TempDir(), "config")
			if tc.kubeconfig != "" {
				write(t, file, tc.kubeconfig)
			}
			before := withoutEntry(t, "kind-kdev", file)
			e := &fakeEngine{list: tc.nodes, has: []string{image}}
			made := !tc.noEntry
			tool := &fakeTool{
				onCreate: func(name, _ string, _ []byte) error {
					e.add(kindNode(name, at))
					made = true
					return nil
				},
				entry: func(name string) ([]byte, error) {
					if !made {
						return nil, errors.New("no admin.conf")
					}
					return entryFor(name, server.URL), nil
				},
			}
			var said []string
			o := Options{Kubeconfig: file, Context: tc.context, Allowed: tc.allowed, NoStart: tc.looking, Progress: func(s string) { said = append(said, s) }}
			c, err := withFakes(t, o, e, tool).ensure(t.Context())
			if tc.code != "" {
				if p := problem.As(err); p == nil || p.Code != tc.code || p.Hint == "" {
					t.Fatalf("error %v, want %s with a hint", err, tc.code)
				}
				if len(e.removed) > 0 || len(e.started) > 0 {
					t.Errorf("removed %v, started %v", e.removed, e.started)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Context != tc.want || c.Created != tc.created {
				t.Errorf("got %+v, want %s, created %v", c, tc.want, tc.created)
			}
			if !strings.Contains(strings.Join(said, "\n"), tc.said) {
				t.Errorf("said %q, want %q", said, tc.said)
			}
			if strings.Join(e.removed, " ") != tc.removed || strings.Join(e.started, " ") != tc.started {
				t.Errorf("removed %v, started %v", e.removed, e.started)
			}
			if after := withoutEntry(t, "kind-kdev", file); after != before {
				t.Errorf("kubeconfig changed:\n%s\nwas:\n%s", after, before)
			}
			// Whoever works with the result finds the context in the kubeconfig.
			if tc.want == "kind-kdev" {
				again := withFakes(t, Options{Kubeconfig: file, Context: tc.want}, e, tool)
				if c, err := again.ensure(t.Context()); err != nil || c.Created {
					t.Errorf("a second time: %+v, %v", c, err)
				}
			}
		})
	}
}

func TestEnsureCutShort(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, foreignKubeconfig)
	before := semantics(t, file)

	ctx, cancel := context.WithCancel(t.Context())
	e := &fakeEngine{list: []node{kindNode("other", "127.0.0.1:1")}, has: []string{defaults.Image}}
	inCreate, removedOnce := make(chan struct{}), make(chan struct{})
	tool := &fakeTool{onCreate: func(name, _ string, _ []byte) error {
		e.add(kindNode(name, "127.0.0.1:2"))
		close(inCreate)
		<-removedOnce
		// kind was about to start its next node and notices only then.
		e.add(node{name: name + "-worker", provider: kind, cluster: name, running: true})
		return errors.New("docker exec: no such container")
	}}
	go func() {
		<-inCreate
		cancel()
		for {
			if left, _ := e.nodes(ctx); len(left) == 1 {
				close(removedOnce)
				return
			}
		}
	}()
	_, err := withFakes(t, Options{Kubeconfig: file}, e, tool).ensure(ctx)
	if !errors.Is(err, context.Canceled) || problem.As(err) != nil {
		t.Errorf("error %v, want the context's", err)
	}
	if len(e.list) != 1 || e.list[0].cluster != "other" {
		t.Errorf("left %+v", e.list)
	}
	if after := semantics(t, file); after != before {
		t.Errorf("kubeconfig changed:\n%s", after)
	}
}

func TestCreateFails(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	file := filepath.Join(t.TempDir(), "config")
	e := &fakeEngine{has: []string{defaults.Image}}
	tool := &fakeTool{onCreate: func(name, _ string, _ []byte) error {
		e.add(kindNode(name, ""))
		return errors.New("kubeadm init failed")
	}}
	_, err := withFakes(t, Options{Kubeconfig: file}, e, tool).ensure(t.Context())
	if p := problem.As(err); p == nil || p.Code != "cluster-create-failed" || len(e.list) != 0 {
		t.Errorf("error %v, left %v", err, e.list)
	}
}

func TestNodeImage(t *testing.T) {
	tagged := strings.Split(defaults.Image, "@")[0]
	offline := errors.New("no such host")
	local := map[string][]string{localRepository: {"v1.35.9", "v1.36.10", "v1.36.3", "latest"}, kindRepository: {"v1.35.1"}}
	for _, tc := range []struct {
		name       string
		o          Options
		e          *fakeEngine
		want, code string
	}{
		{"asked for and there", Options{NodeImage: "my/node:1"}, &fakeEngine{has: []string{"my/node:1"}, pullErr: offline}, "my/node:1", ""},
		{"asked for and not to be had", Options{NodeImage: "my/node:1"}, &fakeEngine{pullErr: offline}, "", "node-image-missing"},
		{"kind's is there", Options{}, &fakeEngine{has: []string{defaults.Image}, tags: local, pullErr: offline}, defaults.Image, ""},
		{"kind's was loaded without its digest", Options{}, &fakeEngine{has: []string{tagged}, tags: local, pullErr: offline}, tagged, ""},
		{"kind's can be pulled", Options{}, &fakeEngine{tags: local}, defaults.Image, ""},
		{"offline, one made here", Options{}, &fakeEngine{tags: local, pullErr: offline}, localRepository + ":v1.36.10", ""},
		{"offline, none", Options{}, &fakeEngine{pullErr: offline}, "", "node-image-missing"},
		{"a minor version that is here", Options{Version: "1.35"}, &fakeEngine{tags: local, pullErr: offline}, localRepository + ":v1.35.9", ""},
		{"an exact version that is here", Options{Version: "v1.35.1"}, &fakeEngine{tags: local, pullErr: offline}, kindRepository + ":v1.35.1", ""},
		{"a version to pull", Options{Version: "v1.34.2"}, &fakeEngine{tags: local}, kindRepository + ":v1.34.2", ""},
		{"a version not to be had", Options{Version: "v1.34.2"}, &fakeEngine{tags: local, pullErr: offline}, "", "node-image-missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := withFakes(t, tc.o, tc.e, nil)
			if err := m.needEngine(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := m.nodeImage(t.Context())
			if p := problem.As(err); got != tc.want || (tc.code == "") != (err == nil) || tc.code != "" && p.Code != tc.code {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestKindConfig(t *testing.T) {
	for _, tc := range []struct {
		name     string
		e        *fakeEngine
		image    string
		nodes    int
		has, not []string
	}{
		{"an ordinary machine", &fakeEngine{about: info{CgroupVersion: "2", DefaultRuntime: "runc"}}, "kindest/node:v1.37.0", 1,
			[]string{"serializeImagePulls: false", "maxParallelImagePulls: 8", "registryPullQPS: 0", "maxPods: 250", "certs.d"},
			[]string{"failCgroupV1", "restrict_oom", "worker"}},
		{"cgroup v1", &fakeEngine{about: info{CgroupVersion: "1", DefaultRuntime: "runc"}}, "kindest/node:v1.37.0", 1, []string{"failCgroupV1: false"}, nil},
		{"cgroup v1, a Kubernetes that takes it", &fakeEngine{about: info{CgroupVersion: "1", DefaultRuntime: "runc"}}, "kindest/node:v1.30.2", 1, nil, []string{"failCgroupV1"}},
		{"cgroup v1, unknown version", &fakeEngine{about: info{CgroupVersion: "1", DefaultRuntime: "runc"}}, "my/node:edge", 1, []string{"failCgroupV1: false"}, nil},
		{"no CAP_SYS_RESOURCE", &fakeEngine{about: info{DefaultRuntime: "special"}, caps: 0x1fffeffffff}, "kindest/node:v1.37.0", 1, []string{"restrict_oom_score_adj = true"}, nil},
		{"special runtime with all capabilities", &fakeEngine{about: info{DefaultRuntime: "special"}, caps: 0x1ffffffffff}, "kindest/node:v1.37.0", 1, nil, []string{"restrict_oom"}},
		{"three nodes", &fakeEngine{about: info{DefaultRuntime: "runc"}}, "kindest/node:v1.37.0", 3, []string{"- role: control-plane\n- role: worker\n- role: worker\n"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := withFakes(t, Options{Nodes: tc.nodes}, tc.e, nil)
			// An ordinary runtime is not asked, whatever this test machine lacks.
			m.status = func() ([]byte, error) { return []byte("CapBnd:\t000001ffffffffff\n"), nil }
			if err := m.needEngine(t.Context()); err != nil {
				t.Fatal(err)
			}
			config, err := m.kindConfig(t.Context(), tc.image)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range tc.has {
				if !strings.Contains(string(config), s) {
					t.Errorf("lacks %q:\n%s", s, config)
				}
			}
			for _, s := range tc.not {
				if strings.Contains(string(config), s) {
					t.Errorf("has %q:\n%s", s, config)
				}
			}
		})
	}
	t.Run("no privileged containers", func(t *testing.T) {
		m := withFakes(t, Options{}, &fakeEngine{about: info{DefaultRuntime: "special"}, capsErr: errors.New("operation not permitted")}, nil)
		if err := m.needEngine(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := m.kindConfig(t.Context(), "kindest/node:v1.37.0"); problem.As(err) == nil || problem.As(err).Code != "engine-unprivileged" {
			t.Errorf("error %v", err)
		}
	})
}

func TestEngineMissing(t *testing.T) {
	script := func(t *testing.T, name, body string) {
		dir := t.TempDir()
		writeExecutable(t, filepath.Join(dir, name), "#!/bin/sh\n"+body)
		t.Setenv("PATH", dir)
	}
	for _, tc := range []struct {
		name, cli, body, env, summary, hint string
	}{
		{"none installed", "ls", "", "", "no container engine is installed", "install"},
		{"not running", "docker", "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1", "", "does not answer", "start"},
		{"not allowed", "docker", "echo 'permission denied while trying to connect' >&2; exit 1", "", "may not use", "docker group"},
		{"named, not installed", "docker", "exit 0", "podman", "podman", "install"},
		{"named, unknown", "docker", "exit 0", "rkt", `"rkt"`, "unset"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			script(t, tc.cli, tc.body)
			t.Setenv("KIND_EXPERIMENTAL_PROVIDER", tc.env)
			t.Setenv("DOCKER_HOST", "")
			_, err := findEngine(t.Context())
			p := problem.As(err)
			if p == nil || p.Code != "engine-missing" || !strings.Contains(p.Summary, tc.summary) || !strings.Contains(p.Hint, tc.hint) {
				t.Errorf("got %+v", p)
			}
		})
	}
	t.Run("named and there", func(t *testing.T) {
		script(t, "podman", "exit 0")
		t.Setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
		if e, err := findEngine(t.Context()); err != nil || e.cli() != "podman" {
			t.Errorf("got %v, %v", e, err)
		}
	})
}
