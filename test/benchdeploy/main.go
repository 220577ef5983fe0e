// Command benchdeploy measures what docs/deploy.md claims of rendering, applying and
// explaining, and prints each figure beside its aim.
//
//	go run ./test/benchdeploy -kdev bin/kdev               table on stderr, JSON on stdout
//	go run ./test/benchdeploy -kdev bin/kdev -only apply   one part: render, apply, up
//
// It makes a kind cluster of its own and removes it, with a store and a registry of its
// own. Alone on the machine the figures are those of the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/rest"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/test/figures"
	"github.com/kdev-io/kdev/test/runner"
)

// A bench is one run of the program.
type bench struct {
	*runner.Runner
	only  string
	table figures.Table

	kube    *kube.Client
	traffic traffic
}

func main() {
	b := &bench{table: figures.Table{Out: os.Stderr}}
	opts := runner.Options{Cluster: "kdev-bench-deploy"}
	flag.StringVar(&opts.Kdev, "kdev", "bin/kdev", "the kdev to measure")
	flag.StringVar(&b.only, "only", "", "measure just this part: render, apply or up")
	flag.BoolVar(&opts.Keep, "keep", false, "leave the cluster, and use it if it is there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := b.run(ctx, opts)
	if err := errors.Join(err, b.table.WriteJSON(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "benchdeploy:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, opts runner.Options) (err error) {
	if b.Runner, err = runner.New(opts); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if b.wants("render") {
		if err := b.render(ctx); err != nil {
			return fmt.Errorf("render: %w", err)
		}
	}
	if !b.wants("apply") && !b.wants("up") {
		return nil
	}
	if err := b.Up(ctx); err != nil {
		return err
	}
	if err := b.connect(); err != nil {
		return err
	}
	defer b.kube.Close()
	if b.wants("apply") {
		if err := b.apply(ctx); err != nil {
			return fmt.Errorf("apply: %w", err)
		}
	}
	if b.wants("up") {
		if err := b.up(ctx); err != nil {
			return fmt.Errorf("up: %w", err)
		}
	}
	return nil
}

func (b *bench) wants(part string) bool { return b.only == "" || b.only == part }

// connect makes the client whose requests are counted.
func (b *bench) connect() error {
	plain, err := kube.New(b.Kubeconfig, b.Cluster.Context)
	if err != nil {
		return err
	}
	defer plain.Close()
	counted := rest.CopyConfig(plain.Config)
	counted.Wrap(b.traffic.count)
	b.kube, err = kube.ForConfig(counted)
	return err
}
