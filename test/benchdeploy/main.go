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
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/cluster/clustertest"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/test/figures"
)

const clusterName = "kdev-bench-deploy"

// A bench is one run of the program.
type bench struct {
	kdev  string
	only  string
	keep  bool
	dir   string
	table figures.Table

	kube    *kube.Client
	traffic traffic
	environ []string // of the kdev that is measured
}

func main() {
	b := &bench{table: figures.Table{Out: os.Stderr}}
	flag.StringVar(&b.kdev, "kdev", "bin/kdev", "the kdev to measure")
	flag.StringVar(&b.only, "only", "", "measure just this part: render, apply or up")
	flag.BoolVar(&b.keep, "keep", false, "leave the cluster, and use it if it is there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := b.run(ctx)
	if err := errors.Join(err, b.table.WriteJSON(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "benchdeploy:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context) (err error) {
	path, err := exec.LookPath(b.kdev)
	if err == nil {
		b.kdev, err = filepath.Abs(path)
	}
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "benchdeploy"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.wants("render") {
		if err := b.render(ctx); err != nil {
			return fmt.Errorf("render: %w", err)
		}
	}
	if !b.wants("apply") && !b.wants("up") {
		return nil
	}
	down, err := b.cluster(ctx)
	defer func() { err = errors.Join(err, down()) }()
	if err != nil {
		return err
	}
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

// cluster brings up the cluster that is measured on. down is to be called whatever
// the error.
func (b *bench) cluster(ctx context.Context) (down func() error, err error) {
	kubeconfig := filepath.Join(os.TempDir(), clusterName+".kubeconfig")
	opts := cluster.Options{Name: clusterName, Context: "kind-" + clusterName, Kubeconfig: kubeconfig, Progress: func(s string) { fmt.Fprintln(os.Stderr, s) }}
	b.environ = append(os.Environ(), "KUBECONFIG="+kubeconfig, "CI=1", "XDG_DATA_HOME="+filepath.Join(b.dir, "data"),
		"XDG_STATE_HOME="+filepath.Join(b.dir, "state"), "XDG_RUNTIME_DIR="+filepath.Join(b.dir, "run"))
	down = func() error {
		ctx := context.WithoutCancel(ctx)
		_, err := b.call(ctx, b.dir, "registry", "rm")
		if !b.keep {
			_, gone := cluster.Delete(ctx, opts)
			err = errors.Join(err, gone, os.RemoveAll(kubeconfig))
		}
		return err
	}
	if err := os.Mkdir(filepath.Join(b.dir, "run"), 0o700); err != nil {
		return down, err
	}
	c, err := cluster.Ensure(ctx, opts)
	if err != nil {
		return down, err
	}
	if err := clustertest.Load(ctx, c); err != nil {
		return down, err
	}
	// As a user has it; making a cluster leaves the current one what it was, here none.
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return down, err
	}
	config.CurrentContext = c.Context
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		return down, err
	}
	plain, err := kube.New(kubeconfig, c.Context)
	if err != nil {
		return down, err
	}
	defer plain.Close()
	counted := rest.CopyConfig(plain.Config)
	counted.Wrap(b.traffic.count)
	b.kube, err = kube.ForConfig(counted)
	return down, err
}

// call runs a command of kdev to its end.
func (b *bench) call(ctx context.Context, dir string, args ...string) (out string, err error) {
	cmd := exec.CommandContext(ctx, b.kdev, args...)
	cmd.Dir, cmd.Env = dir, b.environ
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kdev %s: %w\n%s", args[0], err, text)
	}
	return string(text), nil
}
