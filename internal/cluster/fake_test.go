package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeEngine answers from its fields and keeps what was asked to change.
type fakeEngine struct {
	mu      sync.Mutex
	list    []node
	ips     map[string][]string // by node
	about   info
	has     []string            // image refs
	tags    map[string][]string // by repository
	pullErr error
	caps    uint64
	capsErr error
	started []string
	removed []string
}

func (e *fakeEngine) cli() string { return "docker" }

func (e *fakeEngine) nodes(context.Context) ([]node, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list), nil
}

func (e *fakeEngine) addresses(_ context.Context, n node) ([]string, error) {
	return e.ips[n.name], nil
}
func (e *fakeEngine) info(context.Context) (info, error) { return e.about, nil }

func (e *fakeEngine) start(_ context.Context, names []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = append(e.started, names...)
	for i := range e.list {
		if slices.Contains(names, e.list[i].name) {
			e.list[i].running = true
		}
	}
	return nil
}

func (e *fakeEngine) stop(context.Context, []string) error { return nil }

func (e *fakeEngine) remove(_ context.Context, names []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = append(e.removed, names...)
	e.list = slices.DeleteFunc(e.list, func(n node) bool { return slices.Contains(names, n.name) })
	return nil
}

func (e *fakeEngine) add(n node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, n)
}

func (e *fakeEngine) exec(context.Context, string, ...string) ([]byte, error) { return nil, nil }
func (e *fakeEngine) images(_ context.Context, repository string) ([]string, error) {
	return e.tags[repository], nil
}
func (e *fakeEngine) hasImage(_ context.Context, ref string) bool { return slices.Contains(e.has, ref) }
func (e *fakeEngine) pull(context.Context, string) error          { return e.pullErr }
func (e *fakeEngine) capabilities(context.Context, string) (uint64, error) {
	return e.caps, e.capsErr
}

// fakeTool is kind, whose steps a test decides.
type fakeTool struct {
	onCreate func(name, image string, config []byte) error
	entry    func(name string) ([]byte, error)
}

func (t *fakeTool) create(name, image string, config []byte) error {
	return t.onCreate(name, image, config)
}
func (t *fakeTool) kubeconfig(name string) ([]byte, error) { return t.entry(name) }

func withFakes(t *testing.T, o Options, e *fakeEngine, tool *fakeTool) *manager {
	t.Helper()
	m, err := newManager(o)
	if err != nil {
		t.Fatal(err)
	}
	m.find = func(context.Context) (engine, error) {
		if e == nil {
			return nil, errors.New("no engine")
		}
		return e, nil
	}
	m.home, m.root = t.TempDir(), t.TempDir()
	if tool != nil {
		m.tool = tool
	}
	return m
}

func kindNode(cluster, publishes string) node {
	return node{name: cluster + "-control-plane", role: "control-plane", provider: kind, cluster: cluster, running: true, published: strings.Fields(publishes)}
}
