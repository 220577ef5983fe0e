package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
)

// DefaultName is the kind cluster that kdev uses and makes where nothing else is
// at hand; its context is kind-kdev.
const DefaultName = "kdev"

// A Cluster is one that kdev may work on.
type Cluster struct {
	Name       string   // the cluster's name without the tool's prefix: "kdev" for kind-kdev
	Provider   string   // "kind", "k3d", "minikube", "docker-desktop", …; "" for a context that was allowed by name
	Context    string   // the kubeconfig context
	Kubeconfig string   // the file it was asked for with, "" for KUBECONFIG or ~/.kube/config
	Nodes      []string // names of the node containers, where the nodes are containers
	Engine     string   // the command line of the engine that runs them: "docker"
	Created    bool     // by this call
	// Unaided is the problem of the engine where that does not answer and the cluster
	// does: all that needs no engine works.
	Unaided error
}

// Options say which cluster is wanted.
type Options struct {
	Kubeconfig string            // "" means KUBECONFIG with all its files, else ~/.kube/config
	Context    string            // named by the user; "" means the current context
	Allowed    []string          // contexts that need not be local
	Progress   func(step string) // may be nil

	// NoCreate makes the absence of a cluster the problem cluster-missing: for
	// commands that only look or remove.
	NoCreate bool
	// NoStart makes a cluster that is stopped the problem cluster-stopped: for who only
	// looks, as a completion does. It implies NoCreate.
	NoStart bool

	// For a cluster that has to be made:
	Name      string // "" means DefaultName
	NodeImage string
	Version   string // of Kubernetes: "v1.36" or "v1.36.3"; "" means any
	Nodes     int    // 0 means 1
}

func (o *Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// Ensure returns the cluster to work on. A context named in the options must be
// local or allowed. Without one it is the current context where that is local or
// allowed, else the kind cluster kdev, which is used, started, repaired or made;
// Progress tells which. A cluster that was made waits until it is Ready; one that
// was interrupted while it was made is deleted first.
//
// When ctx ends, what was half made is deleted before Ensure returns.
//
// Problems: context-not-local, context-unknown, engine-missing, cluster-stopped,
// cluster-broken, node-image-missing, cluster-create-failed, kubeconfig-*.
func Ensure(ctx context.Context, o Options) (*Cluster, error) {
	m, err := newManager(o)
	if err != nil {
		return nil, err
	}
	return m.ensure(ctx)
}

func (m *manager) ensure(ctx context.Context) (*Cluster, error) {
	o := &m.Options
	wanted := o.Context
	if wanted == "" {
		wanted = m.config.CurrentContext
	}
	own := contextName(m.name())

	switch {
	case wanted == own:
		return m.ensureKind(ctx)
	case o.Context != "" && m.config.Contexts[wanted] == nil:
		return nil, m.unknownContext(wanted)
	case m.config.Contexts[wanted] != nil && slices.Contains(o.Allowed, wanted):
		return &Cluster{Context: wanted, Name: wanted, Kubeconfig: o.Kubeconfig}, nil
	}
	verdict, err := m.locate(ctx, wanted)
	if err != nil {
		return nil, err
	}
	if verdict.unaided != nil {
		if c, err := m.unaided(ctx, wanted, verdict.unaided); c != nil || err != nil {
			return c, err
		}
	}
	switch {
	case verdict.local:
		return m.use(ctx, wanted, verdict)
	case o.Context != "":
		return nil, &problem.Problem{Class: problem.Usage, Code: "context-not-local", Where: "--context " + wanted,
			Summary: fmt.Sprintf("context %q is not a local cluster (%s)", wanted, verdict.why),
			Hint:    "a project allows it with `contexts: [" + wanted + "]` in kdev.yaml"}
	case wanted != "":
		o.say("current context %s is not local (%s): using %s", wanted, verdict.why, own)
	}
	return m.ensureKind(ctx)
}

// Create makes a kind cluster and waits until it is Ready. One of that name
// that is there already is an error.
//
// Problems: cluster-exists and those of Ensure.
func Create(ctx context.Context, o Options) (*Cluster, error) {
	m, err := newManager(o)
	if err != nil {
		return nil, err
	}
	return m.locked(ctx, func() (*Cluster, error) {
		nodes, err := m.kindNodes(ctx)
		if err != nil {
			return nil, err
		}
		if len(nodes) > 0 {
			return nil, &problem.Problem{Class: problem.Usage, Code: "cluster-exists",
				Summary: fmt.Sprintf("there is already a cluster %q", m.name()),
				Hint:    "kdev cluster delete " + m.name() + " removes it"}
		}
		return m.create(ctx)
	})
}

// Delete removes the kind cluster of that name and its kubeconfig entry, also
// one that is stopped or half made. It reports whether there was one.
func Delete(ctx context.Context, o Options) (bool, error) {
	m, err := newManager(o)
	if err != nil {
		return false, err
	}
	found := false
	_, err = m.locked(ctx, func() (*Cluster, error) {
		nodes, err := m.kindNodes(ctx)
		if err != nil {
			return nil, err
		}
		found = len(nodes) > 0
		return nil, m.remove(ctx, nodes)
	})
	return found, err
}

// Start starts the stopped nodes of a kind cluster and waits until it is Ready.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	m, err := newManager(o)
	if err != nil {
		return nil, err
	}
	nodes, err := m.kindNodes(ctx)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, m.noCluster()
	}
	return m.ensureKind(ctx)
}

// Stop stops the nodes of a kind cluster. Their data stays.
func Stop(ctx context.Context, o Options) error {
	m, err := newManager(o)
	if err != nil {
		return err
	}
	_, err = m.locked(ctx, func() (*Cluster, error) {
		nodes, err := m.kindNodes(ctx)
		if err != nil {
			return nil, err
		}
		if len(nodes) == 0 {
			return nil, m.noCluster()
		}
		return nil, m.engine.stop(ctx, names(nodes))
	})
	return err
}

// An Entry of the list of local clusters.
type Entry struct {
	Name     string   `json:"name"`
	Provider string   `json:"provider"`
	Context  string   `json:"context"` // "" where the kubeconfig has none for it
	Current  bool     `json:"current"`
	State    string   `json:"state"` // running, stopped, partly running
	Nodes    []string `json:"nodes"`
}

// List names the local clusters whose nodes are containers of the engine.
func List(ctx context.Context, o Options) ([]Entry, error) {
	m, err := newManager(o)
	if err != nil {
		return nil, err
	}
	if err := m.needEngine(ctx); err != nil {
		return nil, err
	}
	nodes, err := m.engine.nodes(ctx)
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, n := range nodes {
		i := slices.IndexFunc(list, func(e Entry) bool { return e.Provider == string(n.provider) && e.Name == n.cluster })
		if i < 0 {
			e := Entry{Name: n.cluster, Provider: string(n.provider), State: n.state()}
			if c := n.provider.context(n.cluster); m.config.Contexts[c] != nil {
				e.Context, e.Current = c, c == m.config.CurrentContext
			}
			list = append(list, e)
			i = len(list) - 1
		}
		e := &list[i]
		e.Nodes = append(e.Nodes, n.name)
		if e.State != n.state() {
			e.State = "partly running"
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Provider+"/"+a.Name, b.Provider+"/"+b.Name) })
	return list, nil
}
