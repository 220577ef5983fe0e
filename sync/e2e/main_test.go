//go:build e2e

package e2e

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/cluster/clustertest"
	"github.com/kdev-io/kdev/internal/embedded"
	"github.com/kdev-io/kdev/internal/kube"
)

// The second namespace admits only what Pod Security calls restricted.
const (
	namespace  = "sync-e2e"
	restricted = "sync-e2e-restricted"
)

// client of the cluster, for all tests.
var client *kube.Client

// bases are what the images with the agent are made from.
var bases = map[string]string{
	"debian":     "debian:bookworm-slim",
	"busybox":    "busybox:1",
	"distroless": "gcr.io/distroless/static-debian12:latest",
	"scratch":    "scratch",
}

// image is the name of a test image in the nodes.
func image(base string) string { return "kdev.dev/sync-e2e:" + base }

func TestMain(m *testing.M) {
	os.Exit(clustertest.Run(m, func(c *kube.Client, _ *cluster.Cluster) {
		client = c
		ctx := context.Background()
		if err := prepare(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}))
}

func prepare(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "sync-e2e-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := makeImages(ctx, dir); err != nil {
		return err
	}
	for name, labels := range map[string]map[string]string{
		namespace:  nil,
		restricted: {"pod-security.kubernetes.io/enforce": "restricted"},
	} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		if _, err := client.Core.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// makeImages builds the images with the engine and puts them into the node.
func makeImages(ctx context.Context, dir string) error {
	agent, err := embedded.Program(ctx, "kdev-agent", "amd64")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "agent"), agent, 0o755); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "testapp"), "./testapp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("compile testapp: %w\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "app", "data.txt"), []byte("image\n"), 0o644); err != nil {
		return err
	}
	if err := writeOpen(filepath.Join(dir, "open.tar")); err != nil {
		return err
	}
	var names []string
	for name, from := range bases {
		dockerfile := "FROM " + from + "\nCOPY agent /.kdev/agent\nCOPY testapp /testapp\nCOPY app /app\nADD open.tar /\n" +
			"ENTRYPOINT [\"/.kdev/agent\", \"run\", \"--\", \"/testapp\"]\n"
		file := filepath.Join(dir, "Dockerfile."+name)
		if err := os.WriteFile(file, []byte(dockerfile), 0o644); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "docker", "build", "-q", "-t", image(name), "-f", file, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
		names = append(names, image(name))
	}
	save := exec.CommandContext(ctx, "docker", append([]string{"save"}, names...)...)
	load := exec.CommandContext(ctx, "docker", "exec", "-i", clustertest.Name+"-control-plane", "ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "-")
	pipe, err := save.StdoutPipe()
	if err != nil {
		return err
	}
	load.Stdin = pipe
	if err := save.Start(); err != nil {
		return err
	}
	out, err := load.CombinedOutput()
	if waited := save.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		return fmt.Errorf("load images: %w\n%s", err, out)
	}
	return nil
}

// writeOpen makes /open as the directory entries of a dev image make it: anybody
// may write to it. COPY cannot do that on a scratch image. Beside it is /init, as
// images have it whose first process is s6-overlay.
func writeOpen(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	const text = "image\n"
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "open/", Mode: 0o777},
		{Typeflag: tar.TypeSymlink, Name: "init", Linkname: "testapp"},
		{Typeflag: tar.TypeReg, Name: "open/data.txt", Mode: 0o644, Size: int64(len(text))},
	} {
		if err := w.WriteHeader(h); err != nil {
			return err
		}
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}
