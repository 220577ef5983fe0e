// Command benchbuild measures what docs/build.md claims of the image path, from a saved
// file to the new process, with a real `kdev up`, and prints each figure beside its aim.
//
//	go run ./test/benchbuild -kdev bin/kdev              table on stderr, JSON on stdout
//	go run ./test/benchbuild -kdev bin/kdev -only nodes  one part: edits, fleet, nodes
//
// It makes kind clusters of its own and removes them, with a store and a registry of its
// own. Floors are measured in the same run: the same rollout by one request to the API
// server, to an image that the node has. Use ratios where the machine is shared.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/test/figures"
	"github.com/kdev-io/kdev/test/runner"
)

// options are the flags.
type options struct {
	runner.Options
	only string
	runs int
	big  int
}

func main() {
	var o options
	flag.StringVar(&o.Kdev, "kdev", "bin/kdev", "the kdev to measure")
	flag.StringVar(&o.only, "only", "", "measure just this part: edits, fleet or nodes")
	flag.IntVar(&o.runs, "runs", 20, "edits of one service to measure")
	flag.IntVar(&o.big, "big", 1000, "megabytes of the large image")
	flag.BoolVar(&o.Keep, "keep", false, "leave the clusters, and use them if they are there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	table := &figures.Table{Out: os.Stderr}
	err := measure(ctx, o, table)
	if err := errors.Join(err, table.WriteJSON(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "benchbuild:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, o options, table *figures.Table) error {
	wants := func(part string) bool { return o.only == "" || o.only == part }
	if wants("edits") || wants("fleet") {
		err := on(ctx, o, "kdev-bench-build", 1, table, func(b *bench) error {
			if wants("edits") {
				if err := b.edits(ctx); err != nil {
					return fmt.Errorf("edits: %w", err)
				}
			}
			if wants("fleet") {
				if err := b.fleet(ctx); err != nil {
					return fmt.Errorf("fleet: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if wants("nodes") {
		return on(ctx, o, "kdev-bench-nodes", 3, table, func(b *bench) error {
			if err := b.nodes(ctx); err != nil {
				return fmt.Errorf("nodes: %w", err)
			}
			return nil
		})
	}
	return nil
}

// A bench is a kdev on a cluster, and what looks at both.
type bench struct {
	*runner.Runner
	o      options
	table  *figures.Table
	kube   *kube.Client
	docker *client.Client
	store  *registry.Store
	saves  int
}

// on measures on a cluster that is there for it.
func on(ctx context.Context, o options, name string, nodes int, table *figures.Table, do func(*bench) error) (err error) {
	o.Cluster, o.Nodes = name, nodes
	b := &bench{o: o, table: table}
	if b.Runner, err = runner.New(o.Options); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.Up(ctx); err != nil {
		return err
	}
	if b.kube, err = kube.New(b.Kubeconfig, b.Cluster.Context); err != nil {
		return err
	}
	defer b.kube.Close()
	if b.docker, err = client.New(client.FromEnv); err != nil {
		return err
	}
	defer b.docker.Close()
	if b.store, err = registry.OpenStore(b.Data() + "/kdev/registry"); err != nil {
		return err
	}
	return do(b)
}
