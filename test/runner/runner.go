package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/cluster/clustertest"
)

// Options say what is run, and where.
type Options struct {
	Kdev    string // the program: a path, or a name of the PATH
	Cluster string // the name of the kind cluster
	Nodes   int    // of a new one; 0 is 1
	Keep    bool   // leave the cluster, and use it if it is there
}

// A Runner is a kdev with a cluster, a store and a registry of its own.
type Runner struct {
	Dir        string // a folder that goes with the runner
	Kubeconfig string // its current context is the cluster's
	Cluster    *cluster.Cluster

	opts    Options
	environ []string
	down    []func() error
}

// New finds the program and makes the folder; Up makes the cluster. Close is to be
// called unless there is an error.
func New(opts Options) (*Runner, error) {
	path, err := exec.LookPath(opts.Kdev)
	if err == nil {
		opts.Kdev, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, err
	}
	r := &Runner{opts: opts, Kubeconfig: filepath.Join(os.TempDir(), opts.Cluster+".kubeconfig")}
	if r.Dir, err = os.MkdirTemp("", opts.Cluster); err != nil {
		return nil, err
	}
	r.down = append(r.down, func() error { return os.RemoveAll(r.Dir) })
	r.environ = append(os.Environ(), "KUBECONFIG="+r.Kubeconfig, "CI=1", "XDG_DATA_HOME="+r.Data(),
		"XDG_STATE_HOME="+filepath.Join(r.Dir, "state"), "XDG_RUNTIME_DIR="+filepath.Join(r.Dir, "run"))
	return r, os.Mkdir(filepath.Join(r.Dir, "run"), 0o700)
}

// Data is the data folder of the kdev that runs.
func (r *Runner) Data() string { return filepath.Join(r.Dir, "data") }

// Up brings up the cluster.
func (r *Runner) Up(ctx context.Context) error {
	opts := cluster.Options{
		Name: r.opts.Cluster, Context: "kind-" + r.opts.Cluster, Nodes: r.opts.Nodes, Kubeconfig: r.Kubeconfig,
		Progress: func(s string) { fmt.Fprintln(os.Stderr, s) },
	}
	r.down = append(r.down, func() error {
		ctx := context.WithoutCancel(ctx)
		_, err := r.Call(ctx, r.Dir, "registry", "rm")
		if !r.opts.Keep {
			_, gone := cluster.Delete(ctx, opts)
			err = errors.Join(err, gone, os.RemoveAll(r.Kubeconfig))
		}
		return err
	})
	var err error
	if r.Cluster, err = cluster.Ensure(ctx, opts); err != nil {
		return err
	}
	if err := clustertest.Load(ctx, r.Cluster); err != nil {
		return err
	}
	// As a user has it; making a cluster leaves the current one what it was, here none.
	config, err := clientcmd.LoadFromFile(r.Kubeconfig)
	if err != nil {
		return err
	}
	config.CurrentContext = r.Cluster.Context
	return clientcmd.WriteToFile(*config, r.Kubeconfig)
}

// Close removes what Up and New made.
func (r *Runner) Close() error {
	var err error
	for i := len(r.down) - 1; i >= 0; i-- {
		err = errors.Join(err, r.down[i]())
	}
	return err
}

// Call runs a command of kdev to its end.
func (r *Runner) Call(ctx context.Context, dir string, args ...string) (out string, err error) {
	cmd := exec.CommandContext(ctx, r.opts.Kdev, args...)
	cmd.Dir, cmd.Env = dir, r.environ
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kdev %s: %w\n%s", args[0], err, text)
	}
	return string(text), nil
}

// Write makes files below a folder, by their names with slashes.
func Write(root string, files map[string]string) error {
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
