package cluster

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
)

// parseNodes reads lines of name, status, ports and two columns per tool.
func parseNodes(out string) []node {
	var nodes []node
	for line := range strings.Lines(out) {
		columns := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(columns) < 3+2*len(labels) {
			continue
		}
		for i, l := range labels {
			cluster, role := strings.TrimSpace(columns[3+2*i]), strings.TrimSpace(columns[4+2*i])
			if cluster == "" || cluster == "<no value>" {
				continue
			}
			nodes = append(nodes, node{
				name:      columns[0],
				role:      role,
				provider:  l.provider,
				cluster:   cluster,
				running:   strings.HasPrefix(columns[1], "Up"),
				published: parsePorts(columns[2]),
			})
			break
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return strings.Compare(a.name, b.name) })
	return nodes
}

// parsePorts reads "127.0.0.1:46709->6443/tcp, :::80->80/tcp".
func parsePorts(column string) []string {
	var published []string
	for _, mapping := range strings.Split(column, ",") {
		host, _, ok := strings.Cut(strings.TrimSpace(mapping), "->")
		if !ok {
			continue
		}
		if i := strings.LastIndexByte(host, ':'); i >= 0 {
			published = append(published, net.JoinHostPort(strings.Trim(host[:i], "[]"), host[i+1:]))
		}
	}
	return published
}

// parseBindings reads {"6443/tcp":[{"HostIp":"127.0.0.1","HostPort":"46709"}]}.
func parseBindings(out []byte) []string {
	var bindings map[string][]struct{ HostIp, HostPort string }
	if json.Unmarshal(out, &bindings) != nil {
		return nil
	}
	var published []string
	for _, list := range bindings {
		for _, b := range list {
			published = append(published, net.JoinHostPort(b.HostIp, b.HostPort))
		}
	}
	slices.Sort(published)
	return published
}
