//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/cluster/clustertest"
	"github.com/kdev-io/kdev/internal/kube"
)

// What all tests share.
var (
	client *kube.Client
	node   string // the container that is the cluster's node
	binary string // kdev
	config string // a kubeconfig whose current context is the cluster
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "logs-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "kdev")
	if err := install(dir, binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	config = filepath.Join(dir, "kubeconfig")
	var failed error
	code := clustertest.Run(m, func(c *kube.Client, made *cluster.Cluster) {
		client, node = c, made.Nodes[0]
		failed = current(made, config)
	})
	if failed != nil {
		fmt.Fprintln(os.Stderr, failed)
		return 1
	}
	return code
}

// install compiles kdev and copies it into place, as an installation does. The linker
// writes through a mapping, which some kernels cache in pages of 2 MiB: the resident
// memory of what runs from those counts 35 MB of the program that nothing touched.
func install(dir, binary string) error {
	linked := filepath.Join(dir, "linked")
	if out, err := exec.Command("go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-o", linked, "github.com/kdev-io/kdev/cmd/kdev").CombinedOutput(); err != nil {
		return fmt.Errorf("compile kdev: %w\n%s", err, out)
	}
	from, err := os.Open(linked)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(binary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(struct{ io.Writer }{to}, from)
	return errors.Join(err, to.Close(), os.Remove(linked))
}

// current writes a kubeconfig whose current context is the cluster's: the one that
// made it has none.
func current(made *cluster.Cluster, file string) error {
	c, err := clientcmd.LoadFromFile(made.Kubeconfig)
	if err != nil {
		return err
	}
	c.CurrentContext = made.Context
	return clientcmd.WriteToFile(*c, file)
}

// onNode runs a shell script in the node.
func onNode(ctx context.Context, script string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", "exec", node, "sh", "-c", script).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("on the node: %w\n%s", err, out)
	}
	return string(out), err
}
