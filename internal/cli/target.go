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
	"github.com/kdev-io/kdev/internal/session"
)

// targetOf is the registry from which a cluster pulls what is built here: nil
// where it pulls from this machine's store. A registry that somebody gave to the
// cluster (KEP-1755) and that answers is used as it is; a cluster elsewhere
// pulls from the project's.
//
// One that does not answer, or that nobody can read of, is told by tell; the store
// takes its place for now, and leaves it its port, which is in silent then.
func targetOf(ctx context.Context, p *config.Project, c *cluster.Cluster, kc *kube.Client, tell func(session.Notice)) (target *build.Target, silent []string, err error) {
	if len(c.Nodes) == 0 && p.Registry != "" {
		return &build.Target{Push: p.Registry, Pull: p.Registry}, nil, nil
	}
	hosting, err := registry.ReadHosting(ctx, kc.Core.CoreV1())
	foreign := err == nil && hosting != nil && hosting.Foreign()
	if foreign {
		if scheme := hosting.Scheme(ctx); scheme != "" {
			return &build.Target{Push: hosting.Host, Pull: hosting.Runtime(), Plain: scheme == "http"}, nil, nil
		}
	}
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	warn := func(p *problem.Problem) {
		tell(session.Notice{Level: session.Warn, Code: p.Code, Text: "the cluster's own registry is not used", Problem: p})
	}
	switch invalid := problem.As(err); {
	case len(c.Nodes) > 0 && foreign:
		warn(hosting.Silent())
		return nil, []string{hosting.Host, hosting.Runtime()}, nil
	case len(c.Nodes) > 0:
		if invalid != nil && invalid.Code == "registry-hosting-invalid" {
			warn(invalid)
		}
		return nil, nil, nil // who may not read the ConfigMap needs it for nothing
	case err != nil:
		return nil, nil, err
	}
	return nil, nil, &problem.Problem{Class: problem.Usage, Code: "registry-needed", Where: "context " + c.Context,
		Summary: "this cluster cannot pull images from this machine",
		Hint:    "name a registry that both reach: `registry: ghcr.io/acme` in kdev.yaml, and `docker login ghcr.io`"}
}

// serve makes the store reachable for the nodes of a cluster. Where they pull
// from elsewhere, an engine is needed only for what has to be run.
func serve(ctx context.Context, docker *client.Client, store *registry.Store, c *cluster.Cluster, kc *kube.Client, elsewhere bool, silent []string, progress func(string)) (*registry.Endpoint, error) {
	if c.Unaided != nil {
		return unaided(ctx, store, c, kc, elsewhere)
	}
	endpoint, err := registry.Ensure(ctx, docker, store, progress, silent...)
	var missing *problem.Problem
	if errors.As(err, &missing) && missing.Code == "engine-missing" && elsewhere && len(c.Nodes) == 0 {
		return registry.Known(store), nil
	}
	if err != nil || len(c.Nodes) == 0 {
		return endpoint, err
	}
	if elsewhere {
		return endpoint, endpoint.Accompany(ctx, docker, c.Nodes)
	}
	return endpoint, besides(endpoint.Connect(ctx, docker, c.Nodes, kc.Core.CoreV1()), silent)
}

// unaided is the registry of a cluster that goes on without the engine. Its nodes were told
// of it when there was one; where it does not answer, or never was, an engine has to start it.
func unaided(ctx context.Context, store *registry.Store, c *cluster.Cluster, kc *kube.Client, elsewhere bool) (*registry.Endpoint, error) {
	if elsewhere {
		return registry.Known(store), nil
	}
	endpoint, err := registry.Running(ctx, store, kc.Core.CoreV1())
	if err == nil && endpoint == nil {
		err = c.Unaided
	}
	return endpoint, err
}

// tellUnaided says that work goes on without the engine.
func tellUnaided(c *cluster.Cluster, tell func(session.Notice)) {
	if c.Unaided == nil {
		return
	}
	tell(session.Notice{Level: session.Warn, Code: "engine-missing", Problem: problem.As(c.Unaided),
		Text: "going on without the engine: only what has to be run for an image needs it, and new clusters"})
}

// besides says the way on where the nodes know another registry by the name that the
// store's has, and that one is down.
func besides(err error, silent []string) error {
	if p := problem.As(err); p != nil && p.Code == "registry-host-taken" && len(silent) > 0 {
		p.Hint = "start the cluster's own registry again, " + silent[0] + ": the name is that one's there"
	}
	return err
}
