//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// clusterName is the suite's own cluster; a person's cluster kdev is not touched.
// KDEV_E2E_CLUSTER names another one, for runs side by side.
var clusterName = cmp.Or(os.Getenv("KDEV_E2E_CLUSTER"), "kdev-e2e")

// The suite's surroundings, made once by TestMain.
var (
	repo       string // checkout
	kdevBinary string
	kubeconfig string
	homeDir    string
	environ    []string
	api        kubernetes.Interface
	restConfig *rest.Config
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	here, err := os.Getwd() // go test runs a package in its folder
	if err != nil {
		return failed(err)
	}
	repo = filepath.Join(here, "..", "..")
	keep := os.Getenv("KDEV_E2E_KEEP") != ""
	dir := filepath.Join(os.TempDir(), "kdev-e2e")
	if !keep {
		var err error
		if dir, err = os.MkdirTemp("", "kdev-e2e-"); err != nil {
			return failed(err)
		}
		defer os.RemoveAll(dir)
	}
	for _, sub := range []string{"home", "data", "state", "run", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return failed(err)
		}
	}
	homeDir = filepath.Join(dir, "home")
	kubeconfig = filepath.Join(dir, "kubeconfig")
	kdevBinary = filepath.Join(dir, "bin", "kdev")
	if err := build(); err != nil {
		return failed(err)
	}
	if err := surroundings(dir); err != nil {
		return failed(err)
	}
	start := time.Now()
	if err := createCluster(keep); err != nil {
		return failed(err)
	}
	fmt.Printf("cluster %s is ready after %v\n", clusterName, time.Since(start).Round(100*time.Millisecond))
	if !keep {
		defer func() {
			if out, err := kdev(context.Background(), repo, "cluster", "delete", clusterName); err != nil {
				fmt.Fprintf(os.Stderr, "deleting the cluster: %v\n%s", err, out)
			}
			if out, err := kdev(context.Background(), repo, "registry", "rm"); err != nil {
				fmt.Fprintf(os.Stderr, "removing the registry: %v\n%s", err, out)
			}
		}()
	}
	if err := connect(); err != nil {
		return failed(err)
	}
	return m.Run()
}

// createCluster makes the suite's cluster, from whatever an earlier run left
// behind: a running one is used again only where it was kept on purpose.
func createCluster(keep bool) error {
	ctx := context.Background()
	if keep {
		if out, err := kdev(ctx, repo, "cluster", "start", clusterName); err == nil {
			return nil
		} else {
			fmt.Printf("no cluster to go on with: %s", out)
		}
	}
	if out, err := kdev(ctx, repo, "cluster", "delete", clusterName); err != nil {
		return fmt.Errorf("deleting an earlier run's cluster: %w\n%s", err, out)
	}
	if out, err := kdev(ctx, repo, "cluster", "create", clusterName); err != nil {
		return fmt.Errorf("creating the cluster: %w\n%s", err, out)
	}
	return nil
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	fmt.Fprintln(os.Stderr, "hint: `go run ./hack/offline all` makes the engine, the node image and the base images that this suite needs")
	return 1
}

// build makes the binary that all tests run, without the race detector: what
// is timed here is the real thing. With the flags of the Makefile nothing is compiled twice.
func build() error {
	cmd := exec.Command("go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-o", kdevBinary, "./cmd/kdev")
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building kdev: %w\n%s", err, out)
	}
	return nil
}

// surroundings gives kdev a home of its own, so that neither the person's
// kubeconfig nor their image store is touched. Caches of the Go toolchain and
// of the engine stay shared: they hold no state of a test.
func surroundings(dir string) error {
	set := map[string]string{
		"HOME":            homeDir,
		"KUBECONFIG":      kubeconfig,
		"XDG_DATA_HOME":   filepath.Join(dir, "data"),
		"XDG_STATE_HOME":  filepath.Join(dir, "state"),
		"XDG_RUNTIME_DIR": filepath.Join(dir, "run"),
		"NO_COLOR":        "1",
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return fmt.Errorf("go env %s: %w", name, err)
		}
		set[name] = string(out[:len(out)-1])
	}
	if cache, err := os.UserCacheDir(); err == nil {
		set["XDG_CACHE_HOME"] = cache
	}
	for name, value := range set {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	environ = os.Environ()
	return nil
}

// connect makes the suite's cluster the current context, as a person would,
// and opens a client that looks at the cluster independently of kdev.
func connect() error {
	raw, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return err
	}
	raw.CurrentContext = "kind-" + clusterName
	if err := clientcmd.WriteToFile(*raw, kubeconfig); err != nil {
		return err
	}
	restConfig, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	restConfig.QPS = -1
	restConfig.WarningHandler = rest.NoWarnings{}
	api, err = kubernetes.NewForConfig(restConfig)
	return err
}
