package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A verdict says whether a context is a local cluster, and by which fact.
type verdict struct {
	local    bool
	why      string // for a person: "no node of this machine's engine publishes 10.0.0.1:6443"
	provider provider
	name     string
	nodes    []node // all nodes of the cluster, where they are containers
	unaided  error  // why no engine could be asked
}

// locate decides whether a context is local. A loopback address alone is not: an
// ssh tunnel to production has one too. The engine must hold a running or stopped
// node that publishes the address, or the machine must hold the cluster's
// certificate authority, or the engine must be the desktop product whose cluster
// has this address.
func (m *manager) locate(ctx context.Context, contextName string) (verdict, error) {
	entry := m.config.Contexts[contextName]
	if entry == nil {
		return verdict{why: "the kubeconfig has no such context"}, nil
	}
	target := m.config.Clusters[entry.Cluster]
	if target == nil {
		return verdict{why: fmt.Sprintf("the kubeconfig has no cluster %q", entry.Cluster)}, nil
	}
	server, err := url.Parse(target.Server)
	if err != nil || server.Hostname() == "" {
		return verdict{why: fmt.Sprintf("%q is no address", target.Server)}, nil
	}
	if name, ok := m.holdsAuthority(target); ok {
		return verdict{local: true, provider: name, name: contextName, why: "this machine holds its certificate authority"}, nil
	}
	if !couldBeLocal(server.Hostname()) {
		return verdict{why: server.Host + " is not an address of this machine"}, nil
	}
	if err := m.needEngine(ctx); err != nil {
		// Without an engine nothing can vouch for the address; whoever goes on to
		// make a cluster hears of the engine then.
		return verdict{why: "no container engine vouches for " + server.Host, unaided: err}, ctx.Err()
	}
	nodes, err := m.engine.nodes(ctx)
	if err != nil {
		return verdict{}, err
	}
	if n, ok := m.publisher(ctx, nodes, server); ok {
		all := slices.DeleteFunc(nodes, func(other node) bool { return other.provider != n.provider || other.cluster != n.cluster })
		return verdict{local: true, provider: n.provider, name: n.cluster, nodes: all, why: "node " + n.name + " publishes it"}, nil
	}
	about, err := m.engine.info(ctx)
	if err != nil {
		return verdict{}, err
	}
	if name, ok := desktopCluster(about, contextName, server); ok {
		return verdict{local: true, provider: name, name: contextName, why: "the engine is " + string(name)}, nil
	}
	return verdict{why: "no node of this machine's engine publishes " + server.Host}, nil
}

// couldBeLocal rules out what no container or virtual machine of this machine
// can have, before the engine is asked: names and public addresses.
func couldBeLocal(host string) bool {
	switch host {
	case "localhost", "kubernetes.docker.internal", "host.docker.internal":
		return true
	}
	if strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified())
}

// publisher finds the node container behind an address: by a published port, or
// by its own address in the engine's network, as minikube uses it on Linux.
func (m *manager) publisher(ctx context.Context, nodes []node, server *url.URL) (node, bool) {
	port := server.Port()
	if port == "" {
		port = "443"
	}
	host := server.Hostname()
	for _, n := range nodes {
		for _, p := range n.published {
			at, published, err := net.SplitHostPort(p)
			if err == nil && published == port && sameHost(at, host) {
				return n, true
			}
		}
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsPrivate() {
		return node{}, false
	}
	for _, n := range nodes {
		if addresses, err := m.engine.addresses(ctx, n); err == nil && slices.Contains(addresses, host) {
			return n, true
		}
	}
	return node{}, false
}

// sameHost says whether a connection to host reaches a port that is published
// at an address of this machine.
func sameHost(published, host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || host == "host.docker.internal" {
		host = "127.0.0.1"
	}
	if published == host {
		return true
	}
	at, to := net.ParseIP(published), net.ParseIP(host)
	everywhere := published == "" || at != nil && at.IsUnspecified()
	here := to != nil && (to.IsLoopback() || to.IsUnspecified())
	return here && (everywhere || at != nil && at.IsLoopback())
}

// authorities are files that exist only on the machine that runs the cluster, of
// tools that people develop with. Those of servers (kubeadm, rke2) are left out:
// a person on a production control plane must allow its context by name.
var authorities = []struct {
	provider provider
	path     string
}{
	{minikube, "~/.minikube/ca.crt"},
	{"k3s", "/var/lib/rancher/k3s/server/tls/server-ca.crt"},
	{"microk8s", "/var/snap/microk8s/current/certs/ca.crt"},
}

// holdsAuthority says whether the certificate authority that the context trusts
// is one that a cluster tool keeps on this machine. Where the server's
// certificate is not checked, it proves nothing.
func (m *manager) holdsAuthority(target *clientcmdapi.Cluster) (provider, bool) {
	if target.InsecureSkipTLSVerify {
		return "", false
	}
	ca := target.CertificateAuthorityData
	if len(ca) == 0 && target.CertificateAuthority != "" {
		ca, _ = os.ReadFile(target.CertificateAuthority)
	}
	if len(ca) == 0 {
		return "", false
	}
	for _, a := range authorities {
		path := a.path
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(m.home, rest)
		} else {
			path = filepath.Join(m.root, path)
		}
		if held, err := os.ReadFile(path); err == nil && bytes.Equal(bytes.TrimSpace(held), bytes.TrimSpace(ca)) {
			return a.provider, true
		}
	}
	return "", false
}

// desktopCluster knows the products that bring engine and cluster together in
// one virtual machine: the engine then shows no node, but says which product it
// is, and that product's cluster has a fixed context and address.
func desktopCluster(about info, context string, server *url.URL) (provider, bool) {
	is := func(s string) bool {
		return strings.Contains(strings.ToLower(about.OperatingSystem+" "+about.Name), s)
	}
	loopback := sameHost("127.0.0.1", server.Hostname()) || server.Hostname() == "kubernetes.docker.internal"
	switch {
	case context == "docker-desktop" && is("docker desktop") && loopback:
		return "docker-desktop", true
	case context == "orbstack" && is("orbstack") && (loopback || server.Hostname() == "k8s.orb.local"):
		return "orbstack", true
	case context == "rancher-desktop" && (is("rancher-desktop") || is("rancher desktop")) && loopback:
		return "rancher-desktop", true
	case strings.HasPrefix(context, "colima") && is("colima") && loopback:
		return "colima", true
	}
	return "", false
}
