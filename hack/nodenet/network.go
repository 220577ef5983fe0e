package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const (
	conflist = "/etc/cni/net.d/10-kdev.conflist"
	// proto marks our routes, so that those of an earlier process of ours can be told from everybody else's.
	proto = "86"
)

// network is what was made true so far.
type network struct {
	node   string
	own    string            // the pod range in the CNI configuration
	routes map[string]string // pod range -> node address
	masq   bool
	run    func(ctx context.Context, name string, args ...string) error
}

// reconcile makes configuration and routes follow from the nodes.
func (n *network) reconcile(ctx context.Context, nodes map[string]node) error {
	want := map[string]string{}
	for name, one := range nodes {
		if one.Spec.PodCIDR == "" {
			continue // its controller has not seen it yet: another event will come
		}
		pods, err := parse4(one.Spec.PodCIDR)
		if err != nil {
			return err
		}
		if name == n.node {
			if err := n.configure(pods); err != nil {
				return err
			}
		} else if via := one.address(); via.IsValid() {
			want[pods.String()] = via.String()
		}
	}
	return n.route(ctx, want)
}

// configure writes the CNI configuration for the node's own pod range. containerd watches the folder.
func (n *network) configure(pods netip.Prefix) error {
	if n.own == pods.String() {
		return nil
	}
	text, err := render(pods, mtu())
	if err != nil {
		return err
	}
	temp := conflist + ".new" // not a name that containerd loads
	if err := os.MkdirAll("/etc/cni/net.d", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(temp, text, 0o644); err != nil {
		return err
	}
	if err := os.Rename(temp, conflist); err != nil {
		return err
	}
	n.own = pods.String()
	return nil
}

// render is the CNI configuration: a cable from each pod to the node, addresses from pods, host ports.
func render(pods netip.Prefix, mtu int) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "1.0.0",
		"name":       "kdev",
		"plugins": []any{
			object{
				"type":   "ptp",
				"ipMasq": false, // masquerade knows the whole cluster's range, the plugin only this node's
				"mtu":    mtu,
				"ipam": object{
					"type":    "host-local",
					"dataDir": "/run/cni-ipam-state", // gone after a restart, as the pods are
					"routes":  []any{object{"dst": "0.0.0.0/0"}},
					"ranges":  []any{[]any{object{"subnet": pods.String()}}},
				},
			},
			object{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
}

// route makes the routes to other nodes' pods exactly want.
func (n *network) route(ctx context.Context, want map[string]string) error {
	if n.routes == nil {
		// An earlier process of ours may have left some; "nothing to flush" is an error that says nothing.
		_ = n.run(ctx, "ip", "-4", "route", "flush", "proto", proto)
		n.routes = map[string]string{}
	}
	for _, pods := range slices.Sorted(maps.Keys(n.routes)) {
		if _, ok := want[pods]; !ok {
			if err := n.run(ctx, "ip", "route", "del", pods, "proto", proto); err != nil {
				return err
			}
			delete(n.routes, pods)
		}
	}
	for _, pods := range slices.Sorted(maps.Keys(want)) {
		if n.routes[pods] == want[pods] {
			continue
		}
		if err := n.run(ctx, "ip", "route", "replace", pods, "via", want[pods], "proto", proto); err != nil {
			return err
		}
		n.routes[pods] = want[pods]
	}
	return nil
}

// masquerade gives what pods send out of the cluster the node's address; between pods the source stays what it is.
func (n *network) masquerade(ctx context.Context, pods netip.Prefix) error {
	if n.masq {
		return nil
	}
	rule := []string{"POSTROUTING", "-s", pods.String(), "!", "-d", pods.String(), "-j", "MASQUERADE"}
	table := func(verb string) []string { return append([]string{"-w", "-t", "nat", verb}, rule...) }
	if n.run(ctx, "iptables", table("-C")...) != nil {
		if err := n.run(ctx, "iptables", table("-A")...); err != nil {
			return err
		}
	}
	n.masq = true
	return nil
}

// first24 is the range that the controller manager gives to the first node: its ranges are /24 by default.
func first24(pods netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(pods.Addr(), max(pods.Bits(), 24))
}

// mtu of the way out; pods must not send what the node cannot pass on.
func mtu() int {
	if link, err := net.InterfaceByName("eth0"); err == nil {
		return link.MTU
	}
	return 1500
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
