package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// How long a cluster may take. Ready needs some 12 s on two idle cores; a slow
// disk or a busy machine takes several times that.
const (
	readyLimit  = 4 * time.Minute  // after create or start
	answerLimit = 60 * time.Second // of a cluster whose nodes have been running
	probeEvery  = 200 * time.Millisecond
)

// A manager does one call of this package.
type manager struct {
	Options
	config *clientcmdapi.Config
	engine engine // nil until needEngine
	find   func(context.Context) (engine, error)
	tool   tool
	home   string                 // where tools keep their files
	root   string                 // "/" but in tests
	status func() ([]byte, error) // /proc/self/status
}

func newManager(o Options) (*manager, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	config, err := rules.Load()
	if errors.Is(err, fs.ErrNotExist) {
		// A first cluster makes the file that --kubeconfig names.
		config, err = clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return nil, &problem.Problem{Class: problem.Usage, Code: "kubeconfig-invalid", Where: rules.GetDefaultFilename(),
			Summary: "cannot use the kubeconfig", Err: err, Hint: "kubectl config view shows what kubectl makes of it"}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("find the home directory: %w", err)
	}
	m := &manager{Options: o, config: config, find: findEngine, home: home, root: "/",
		status: func() ([]byte, error) { return os.ReadFile("/proc/self/status") }}
	m.tool = &kindTool{m: m}
	return m, nil
}

func (m *manager) name() string {
	if m.Name != "" {
		return m.Name
	}
	return DefaultName
}

func contextName(kindCluster string) string { return "kind-" + kindCluster }

func (m *manager) needEngine(ctx context.Context) error {
	if m.engine != nil {
		return nil
	}
	var err error
	m.engine, err = m.find(ctx)
	return err
}

// locked runs fn while no other kdev creates, starts or deletes this cluster: a
// cluster without a working API is then one that nobody is making.
func (m *manager) locked(ctx context.Context, fn func() (*Cluster, error)) (*Cluster, error) {
	if err := m.needEngine(ctx); err != nil {
		return nil, err
	}
	dir, err := lockDir()
	if err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, "cluster-"+m.name()+".lock"))
	held, err := lock.TryLock()
	if err == nil && !held {
		m.say("another kdev is working on cluster %s, waiting for it", m.name())
		held, err = lock.TryLockContext(ctx, probeEvery)
	}
	if err != nil || !held {
		return nil, fmt.Errorf("lock cluster %s: %w", m.name(), err)
	}
	defer lock.Close()
	return fn()
}

func lockDir() (string, error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if base == "" {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("kdev-%d", os.Getuid()))
	}
	dir := filepath.Join(base, "kdev")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for locks: %w", err)
	}
	return dir, nil
}

// use returns a local cluster that is there, started when it was stopped.
func (m *manager) use(ctx context.Context, contextName string, v verdict) (*Cluster, error) {
	c := &Cluster{Name: v.name, Provider: string(v.provider), Context: contextName, Kubeconfig: m.Kubeconfig, Nodes: names(kubelets(v.nodes))}
	if m.engine != nil {
		c.Engine = m.engine.cli()
	}
	limit, asked := answerLimit, false
	if stopped := stoppedOf(v.nodes); len(stopped) > 0 {
		if v.provider != kind || m.NoStart {
			return nil, stoppedElsewhere(c)
		}
		m.say("starting cluster %s", c.Name)
		if err := m.engine.start(ctx, names(stopped)); err != nil {
			return nil, err
		}
		limit, asked = readyLimit, true
	}
	client, err := kube.New(m.Kubeconfig, contextName)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if !asked {
		err := client.Ping(ctx)
		if err == nil {
			return c, nil
		}
		if p := problem.As(err); p == nil || p.Code != "cluster-unreachable" {
			return nil, err
		}
		if v.provider != kind || m.NoStart {
			return nil, stoppedElsewhere(c)
		}
		m.say("waiting for the API server of cluster %s", c.Name)
	}
	if err := waitReady(ctx, client, len(kubelets(v.nodes)), limit); err != nil {
		return nil, m.broken(ctx, c, err)
	}
	return c, nil
}

func stoppedElsewhere(c *Cluster) error {
	start := map[string]string{
		"minikube": "minikube start -p " + c.Name, "k3d": "k3d cluster start " + c.Name, "k3s": "systemctl start k3s",
		"kind": "kdev up", "microk8s": "microk8s start", "colima": "colima start --kubernetes", "orbstack": "orb start k8s",
	}[c.Provider]
	if start == "" {
		start = "start it in " + c.Provider
	}
	return &problem.Problem{Code: "cluster-stopped", Where: "context " + c.Context,
		Summary: fmt.Sprintf("the %s cluster %q does not answer", c.Provider, c.Name), Hint: start}
}

func stoppedOf(nodes []node) []node {
	var stopped []node
	for _, n := range nodes {
		if !n.running {
			stopped = append(stopped, n)
		}
	}
	return stopped
}

func (m *manager) unknownContext(wanted string) error {
	p := &problem.Problem{Class: problem.Usage, Code: "context-unknown", Where: "--context " + wanted,
		Summary: fmt.Sprintf("there is no context %q", wanted), Hint: "the kubeconfig has none; make a local cluster with `kdev cluster create`"}
	if names := slices.Sorted(maps.Keys(m.config.Contexts)); len(names) > 0 {
		p.Hint = "there are: " + strings.Join(names, ", ")
	}
	return p
}

func (m *manager) noCluster() error {
	return &problem.Problem{Class: problem.Usage, Code: "cluster-missing",
		Summary: fmt.Sprintf("there is no cluster %q", m.name()), Hint: "kdev cluster list shows those that there are"}
}
