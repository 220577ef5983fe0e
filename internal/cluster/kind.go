package cluster

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	kindcluster "sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// A tool makes clusters of node containers. kind is the one; tests bring another.
type tool interface {
	// create makes the nodes and runs kubeadm. It knows no context: to cut it
	// short, remove the nodes under it.
	create(name, image string, config []byte) error
	// kubeconfig is the cluster's own, with the address that this machine uses.
	kubeconfig(name string) ([]byte, error)
}

// ensureKind brings the kind cluster of our name to Ready, from whatever state
// it is in: absent, stopped, half made, or fine.
func (m *manager) ensureKind(ctx context.Context) (*Cluster, error) {
	if err := m.needEngine(ctx); err != nil {
		c, gone := m.unaided(ctx, contextName(m.name()), err)
		if c != nil || gone != nil {
			return c, gone
		}
		return nil, err
	}
	if err := m.notRemote(); err != nil {
		return nil, err
	}
	nodes, err := m.kindNodes(ctx)
	if err != nil {
		return nil, err
	}
	if len(nodes) > 0 && len(stoppedOf(nodes)) == 0 && m.entryMatches(nodes) {
		// The kubeconfig entry is written last, so this one was made to the end.
		return m.use(ctx, contextName(m.name()), verdict{provider: kind, name: m.name(), nodes: nodes})
	}
	switch {
	case m.NoStart && len(nodes) == 0:
		return nil, m.noCluster()
	case m.NoStart:
		return nil, stoppedElsewhere(m.kindResult(nodes))
	}
	return m.locked(ctx, func() (*Cluster, error) {
		nodes, err := m.kindNodes(ctx) // again: another kdev may have been at work
		if err != nil {
			return nil, err
		}
		if len(nodes) == 0 {
			if m.NoCreate {
				return nil, m.noCluster()
			}
			m.say("creating cluster %s", m.name())
			return m.create(ctx)
		}
		c, err := m.revive(ctx, nodes)
		if c != nil || err != nil {
			return c, err
		}
		if m.NoCreate {
			return nil, m.noCluster()
		}
		m.say("cluster %s was interrupted while it was made: deleting it and making it anew", m.name())
		if err := m.remove(ctx, nodes); err != nil {
			return nil, err
		}
		return m.create(ctx)
	})
}

// revive starts what is stopped and returns the cluster when it is whole, nil
// when it is half made.
func (m *manager) revive(ctx context.Context, nodes []node) (*Cluster, error) {
	whole := m.entryMatches(nodes)
	limit := answerLimit
	if stopped := stoppedOf(nodes); len(stopped) > 0 {
		m.say("starting cluster %s", m.name())
		if err := m.engine.start(ctx, names(stopped)); err != nil {
			return nil, fmt.Errorf("start cluster %s: %w", m.name(), err)
		}
		if whole {
			limit = readyLimit
		}
	} else if !whole {
		m.say("cluster %s is there, but not in the kubeconfig: checking whether it was made to the end", m.name())
		limit /= 2
	}
	entry, err := m.tool.kubeconfig(m.name())
	if err != nil {
		// kubeadm writes it early; without it there never was an API.
		return nil, ctx.Err()
	}
	client, err := clientOf(entry)
	if err != nil {
		return nil, nil //nolint:nilerr // a torn admin.conf is a half-made cluster
	}
	defer client.Close()
	if err := waitReady(ctx, client, len(kubelets(nodes)), limit); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if whole {
			return nil, m.broken(ctx, m.kindResult(nodes), err)
		}
		return nil, nil
	}
	if !whole {
		// Storage is kind's last step but for joining nodes, which were counted.
		if ok, err := hasStorage(ctx, client); err != nil || !ok {
			return nil, err
		}
		if err := mergeKubeconfig(ctx, m.Kubeconfig, contextName(m.name()), entry); err != nil {
			return nil, err
		}
	}
	return m.kindResult(nodes), nil
}

// notRemote refuses to replace an entry of our name that someone made for a
// cluster elsewhere.
func (m *manager) notRemote() error {
	entry := m.config.Contexts[contextName(m.name())]
	if entry == nil || m.config.Clusters[entry.Cluster] == nil {
		return nil
	}
	server, err := url.Parse(m.config.Clusters[entry.Cluster].Server)
	if err != nil || couldBeLocal(server.Hostname()) {
		return nil
	}
	return &problem.Problem{Class: problem.Usage, Code: "context-not-local", Where: "context " + contextName(m.name()),
		Summary: fmt.Sprintf("the kubeconfig's %s is a cluster at %s", contextName(m.name()), server.Host),
		Hint:    "rename it: kubectl config rename-context " + contextName(m.name()) + " another-name"}
}

// create makes the cluster and waits until it is Ready. What fails or is cut
// short leaves no node and no kubeconfig entry.
func (m *manager) create(ctx context.Context) (_ *Cluster, err error) {
	image, err := m.nodeImage(ctx)
	if err != nil {
		return nil, err
	}
	config, err := m.kindConfig(ctx, image)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	if err := m.createNodes(ctx, image, config); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.abandon(ctx)
		}
	}()
	entry, err := m.tool.kubeconfig(m.name())
	if err != nil {
		return nil, m.createFailed(err)
	}
	client, err := clientOf(entry)
	if err != nil {
		return nil, m.createFailed(err)
	}
	defer client.Close()
	m.say("waiting until the nodes are Ready")
	if err := waitReady(ctx, client, max(m.Nodes, 1), readyLimit); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, m.createFailed(err)
	}
	nodes, err := m.kindNodes(ctx)
	if err != nil {
		return nil, err
	}
	if err := mergeKubeconfig(ctx, m.Kubeconfig, contextName(m.name()), entry); err != nil {
		return nil, err
	}
	m.say("cluster %s is ready after %s; its context is %s", m.name(), time.Since(started).Round(100*time.Millisecond), contextName(m.name()))
	c := m.kindResult(nodes)
	c.Created = true
	return c, nil
}

// createNodes runs the tool's create, which takes no context, and removes the
// nodes under it when ctx ends, until it gives up.
func (m *manager) createNodes(ctx context.Context, image string, config []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- m.tool.create(m.name(), image, config) }()
	select {
	case err := <-done:
		if err != nil {
			m.abandon(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return m.createFailed(err)
		}
		return nil
	case <-ctx.Done():
	}
	m.say("stopping: removing what was made of cluster %s", m.name())
	// The tool may be about to start its next node, so one removal is not enough.
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		m.abandon(ctx)
		select {
		case <-done:
			m.abandon(ctx)
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// abandon removes the nodes of a cluster that will not be finished. It works
// when ctx has ended, and has no way to report that it failed: a next run finds
// the rest and says so.
func (m *manager) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if nodes, err := m.kindNodes(ctx); err == nil {
		_ = m.engine.remove(ctx, names(nodes))
	}
}

// remove deletes the nodes and then the kubeconfig entry: when it is cut short
// in between, the entry leads nowhere and the next run removes or replaces it.
func (m *manager) remove(ctx context.Context, nodes []node) error {
	if err := m.engine.remove(ctx, names(nodes)); err != nil {
		return fmt.Errorf("delete cluster %s: %w", m.name(), err)
	}
	return removeKubeconfig(ctx, m.Kubeconfig, contextName(m.name()))
}

// kindNodes lists the node containers of the cluster of our name only.
func (m *manager) kindNodes(ctx context.Context) ([]node, error) {
	if err := m.needEngine(ctx); err != nil {
		return nil, err
	}
	nodes, err := m.engine.nodes(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(nodes, func(n node) bool { return n.provider != kind || n.cluster != m.name() }), nil
}

// entryMatches says whether the kubeconfig holds an entry whose address one of
// the nodes publishes.
func (m *manager) entryMatches(nodes []node) bool {
	entry := m.config.Contexts[contextName(m.name())]
	if entry == nil || m.config.Clusters[entry.Cluster] == nil || m.config.AuthInfos[entry.AuthInfo] == nil {
		return false
	}
	server, err := url.Parse(m.config.Clusters[entry.Cluster].Server)
	if err != nil {
		return false
	}
	for _, n := range nodes {
		for _, p := range n.published {
			host, port, err := net.SplitHostPort(p)
			if err == nil && port == server.Port() && sameHost(host, server.Hostname()) {
				return true
			}
		}
	}
	return false
}

func (m *manager) kindResult(nodes []node) *Cluster {
	return &Cluster{Name: m.name(), Provider: string(kind), Context: contextName(m.name()), Kubeconfig: m.Kubeconfig,
		Nodes: names(kubelets(nodes)), Engine: m.engine.cli()}
}

func clientOf(entry []byte) (*kube.Client, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(entry)
	if err != nil {
		return nil, err
	}
	return kube.ForConfig(config)
}

// createFailed tells what the tool's failed command said.
func (m *manager) createFailed(err error) error {
	if p := problem.As(err); p != nil {
		return p
	}
	p := &problem.Problem{Code: "cluster-create-failed", Summary: fmt.Sprintf("cannot make cluster %q", m.name()), Err: err,
		Hint: "kdev doctor checks what local clusters need of this machine"}
	if run := kindexec.RunErrorForError(err); run != nil {
		p.Output = lastLines(string(run.Output), 20)
		p.Err = fmt.Errorf("%s failed", strings.Join(run.Command[:min(2, len(run.Command))], " "))
	}
	return p
}

// kindTool is the kind library.
type kindTool struct{ m *manager }

func (t *kindTool) provider() *kindcluster.Provider {
	runtime := kindcluster.ProviderWithDocker()
	switch cli := t.m.engine.cli(); cli {
	case "podman":
		runtime = kindcluster.ProviderWithPodman()
	case "nerdctl", "finch", "nerdctl.lima":
		runtime = kindcluster.ProviderWithNerdctl(cli)
	}
	return kindcluster.NewProvider(kindcluster.ProviderWithLogger(&stepLogger{say: t.m.Progress}), runtime)
}

func (t *kindTool) create(name, image string, config []byte) error {
	// kind merges into the kubeconfig and switches its current context; it gets a
	// file of its own to do so.
	dir, err := os.MkdirTemp("", "kdev-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return t.provider().Create(name,
		kindcluster.CreateWithRawConfig(config),
		kindcluster.CreateWithNodeImage(image),
		kindcluster.CreateWithKubeconfigPath(filepath.Join(dir, "kubeconfig")),
		kindcluster.CreateWithDisplayUsage(false),
		kindcluster.CreateWithDisplaySalutation(false),
	)
}

func (t *kindTool) kubeconfig(name string) ([]byte, error) {
	text, err := t.provider().KubeConfig(name, false)
	return []byte(text), err
}
