package cli

import (
	"context"
	"errors"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

// targetOf is the registry from which a cluster pulls what is built here: nil
// where it pulls from this machine's store. A registry that somebody gave to the
// cluster (KEP-1755) and that answers is used as it is; a cluster elsewhere
// pulls from the project's.
func targetOf(ctx context.Context, p *config.Project, c *cluster.Cluster, kc *kube.Client) (*build.Target, error) {
	if len(c.Nodes) == 0 && p.Registry != "" {
		return &build.Target{Push: p.Registry, Pull: p.Registry}, nil
	}
	hosting, err := registry.ReadHosting(ctx, kc.Core.CoreV1())
	scheme := ""
	if err == nil && hosting != nil && hosting.Foreign() {
		scheme = hosting.Scheme(ctx)
	}
	switch {
	case scheme != "":
		return &build.Target{Push: hosting.Host, Pull: hosting.Runtime(), Plain: scheme == "http"}, nil
	case len(c.Nodes) > 0:
		return nil, nil // who may not read the ConfigMap, or damaged it, needs it for nothing
	case err != nil:
		return nil, err
	}
	return nil, &problem.Problem{Class: problem.Usage, Code: "registry-needed", Where: "context " + c.Context,
		Summary: "this cluster cannot pull images from this machine",
		Hint:    "name a registry that both reach: `registry: ghcr.io/acme` in kdev.yaml, and `docker login ghcr.io`"}
}

// serve makes the store reachable for the nodes of a cluster. Where they pull
// from elsewhere, an engine is needed only for what has to be run.
func serve(ctx context.Context, docker *client.Client, store *registry.Store, c *cluster.Cluster, kc *kube.Client, elsewhere bool, progress func(string)) (*registry.Endpoint, error) {
	endpoint, err := registry.Ensure(ctx, docker, store, progress)
	var missing *problem.Problem
	if errors.As(err, &missing) && missing.Code == "engine-missing" && elsewhere && len(c.Nodes) == 0 {
		return registry.Local(), nil
	}
	if err != nil || len(c.Nodes) == 0 {
		return endpoint, err
	}
	if elsewhere {
		return endpoint, endpoint.Accompany(ctx, docker, c.Nodes)
	}
	return endpoint, endpoint.Connect(ctx, docker, c.Nodes, kc.Core.CoreV1())
}
