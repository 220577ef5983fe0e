package cluster

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// unaidedLimit is how long the API server of a cluster on this machine may take to
// vouch for it.
const unaidedLimit = 3 * time.Second

// unaided is a cluster of kind or k3d that answers on a loopback address while no engine
// does: its containers go on when the engine's address is wrong, or its daemon is
// restarted. A tunnel to a cluster elsewhere has a loopback address too, so the nodes
// must say that the tool made them, for the cluster that the context is called after.
// nil where that is not so; an error only where ctx has ended.
func (m *manager) unaided(ctx context.Context, contextName string, engine error) (*Cluster, error) {
	if p := problem.As(engine); p == nil || p.Code != "engine-missing" {
		return nil, ctx.Err()
	}
	entry := m.config.Contexts[contextName]
	if entry == nil || m.config.Clusters[entry.Cluster] == nil {
		return nil, ctx.Err()
	}
	server, err := url.Parse(m.config.Clusters[entry.Cluster].Server)
	if err != nil || !sameHost("127.0.0.1", server.Hostname()) {
		return nil, ctx.Err()
	}
	i := slices.IndexFunc(makers, func(by maker) bool { return strings.HasPrefix(contextName, string(by.provider)+"-") })
	if i < 0 {
		return nil, ctx.Err()
	}
	by := makers[i]
	name := strings.TrimPrefix(contextName, string(by.provider)+"-")
	client, err := kube.New(m.Kubeconfig, contextName)
	if err != nil {
		return nil, ctx.Err()
	}
	defer client.Close()
	asking, cancel := context.WithTimeout(ctx, unaidedLimit)
	defer cancel()
	list, err := client.Core.CoreV1().Nodes().List(asking, metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		return nil, ctx.Err()
	}
	c := &Cluster{Name: name, Provider: string(by.provider), Context: contextName, Kubeconfig: m.Kubeconfig, Unaided: engine}
	for i := range list.Items {
		if !by.made(&list.Items[i], name) {
			return nil, nil
		}
		c.Nodes = append(c.Nodes, list.Items[i].Name)
	}
	slices.Sort(c.Nodes)
	return c, nil
}

// A maker says of a node whether the tool made it for a cluster.
type maker struct {
	provider provider
	made     func(n *corev1.Node, cluster string) bool
}

// makers are the tools whose nodes tell where they come from. kind gives each the provider
// ID kind://ENGINE/CLUSTER/NODE; k3d names them k3d-CLUSTER-ROLE-N.
var makers = []maker{
	{kind, func(n *corev1.Node, cluster string) bool {
		rest, ok := strings.CutPrefix(n.Spec.ProviderID, "kind://")
		_, rest, _ = strings.Cut(rest, "/")
		return ok && rest == cluster+"/"+n.Name
	}},
	{k3d, func(n *corev1.Node, cluster string) bool {
		return strings.HasPrefix(n.Spec.ProviderID, "k3s://") && strings.HasPrefix(n.Name, "k3d-"+cluster+"-")
	}},
}
