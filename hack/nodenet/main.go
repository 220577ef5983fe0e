// Command nodenet is the pod network of a node image made offline: it stands where kindnetd stands in kind's own image.
//
// It runs on every node as a service, with the kubelet's credentials. From the Node objects it keeps three things true:
// the CNI configuration names this node's pod range, there is a route to every other node's pod range, and what pods send
// out of the cluster leaves under the node's address. It follows the Node objects, so a node that joins, goes, or comes back
// with another address needs nothing else. IPv4 only; no network policies.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// retry is how long a failed step waits. The API server is away for seconds at a time while a cluster starts.
const retry = 200 * time.Millisecond

func main() {
	log.SetFlags(0) // the journal has its own clock
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	net := &network{node: name, run: command}
	var said string
	for ctx.Err() == nil {
		err := follow(ctx, net)
		if err != nil && err.Error() != said { // the same complaint five times a second helps nobody
			said = err.Error()
			log.Print(said)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
}

// follow makes the network true for the Node objects as they are now and for every change, until something fails.
func follow(ctx context.Context, n *network) error {
	pods, err := podSubnet("/kind/kubeadm.conf")
	if err != nil {
		return err
	}
	if err := n.masquerade(ctx, pods); err != nil {
		return err
	}
	// Only `kubeadm init` leaves this file, and the first node gets the first range. Not to wait for the controller
	// that will say so makes the cluster ready seconds earlier; the Node object has the last word.
	if _, err := os.Stat("/etc/kubernetes/super-admin.conf"); err == nil && n.own == "" {
		if err := n.configure(first24(pods)); err != nil {
			return err
		}
	}
	api, err := connect("/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/pki/kubelet-client-current.pem")
	if err != nil {
		return err
	}
	nodes, version, err := api.list(ctx)
	if forbidden(err) {
		// The right to see the other nodes comes with a manifest that is applied after the first node is up.
		// A node may always see itself, which is enough for its own pods.
		self, err := api.get(ctx, n.node)
		if err != nil {
			return err
		}
		return n.reconcile(ctx, map[string]node{n.node: self})
	}
	if err != nil {
		return err
	}
	if err := n.reconcile(ctx, nodes); err != nil {
		return err
	}
	return api.watch(ctx, version, func(gone bool, one node) error {
		if gone {
			delete(nodes, one.Metadata.Name)
		} else {
			nodes[one.Metadata.Name] = one
		}
		return n.reconcile(ctx, nodes)
	})
}
