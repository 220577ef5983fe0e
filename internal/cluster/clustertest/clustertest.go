// Package clustertest gives end-to-end tests of one package a real kind cluster.
//
// In: the name of a cluster that no person uses. Out: a client of it. It never
// touches the user's kubeconfig. Invariant: the cluster is gone after the tests,
// but with KDEV_E2E_KEEP=1, which leaves it for the next run.
package clustertest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/kube"
)

// Name is the cluster that the packages' own end-to-end tests share, one after the
// other. KDEV_E2E_CLUSTER names another one, for runs side by side.
var Name = cmp.Or(os.Getenv("KDEV_E2E_CLUSTER"), "kdev-e2e-packages")

// Run makes the cluster, or uses the one that is there, hands a client of it to
// use and runs the tests. It returns the exit code of TestMain.
func Run(m *testing.M, use func(*kube.Client, *cluster.Cluster)) int {
	keep := os.Getenv("KDEV_E2E_KEEP") != ""
	options := cluster.Options{
		Name:       Name,
		Context:    "kind-" + Name,
		Kubeconfig: filepath.Join(os.TempDir(), Name+".kubeconfig"),
		Progress:   func(step string) { fmt.Println(step) },
	}
	c, err := cluster.Ensure(context.Background(), options)
	if err != nil {
		return failed(err)
	}
	if !keep {
		defer func() {
			if _, err := cluster.Delete(context.Background(), options); err != nil {
				failed(err)
			}
			_ = os.Remove(options.Kubeconfig)
		}()
	}
	if err := Load(context.Background(), c); err != nil {
		return failed(err)
	}
	client, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return failed(err)
	}
	defer client.Close()
	use(client, c)
	return m.Run()
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	fmt.Fprintln(os.Stderr, "hint: `go run ./hack/offline all` makes the engine and the node image that these tests need")
	return 1
}
