//go:build e2e

package cluster

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kdev-io/kdev/internal/kube"
)

// The life of a cluster on the real engine. The user's kubeconfig stands by in a
// temporary folder, as two files in KUBECONFIG.
func TestRealCluster(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "config"), filepath.Join(dir, "work")
	write(t, first, foreignKubeconfig)
	write(t, second, "apiVersion: v1\nkind: Config\nclusters: null\n")
	t.Setenv("KUBECONFIG", first+":"+second)
	before := semantics(t, first, second)

	options := func() Options {
		return Options{Name: "deploytest", Context: "kind-deploytest", Progress: func(s string) { t.Log(s) }}
	}
	t.Cleanup(func() {
		if _, err := Delete(context.Background(), options()); err != nil {
			t.Error(err)
		}
	})

	t.Run("cut short leaves nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o := options()
		var cut time.Time
		o.Progress = func(s string) {
			t.Log(s)
			if strings.Contains(s, "control-plane") {
				cut = time.Now()
				cancel()
			}
		}
		_, err := Ensure(ctx, o)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the context", err)
		}
		t.Logf("stopped after %s", time.Since(cut).Round(time.Millisecond))
		assertGone(t)
		if after := semantics(t, first, second); after != before {
			t.Errorf("kubeconfig changed:\n%s\nwas:\n%s", after, before)
		}
	})

	t.Run("half made is made anew", func(t *testing.T) {
		m, err := newManager(options())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.needEngine(t.Context()); err != nil {
			t.Fatal(err)
		}
		image, err := m.nodeImage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cli := m.engine.(*commandLine)
		if _, err := cli.run(t.Context(), "run", "-d", "--name", "deploytest-control-plane", "--label", "io.x-k8s.kind.cluster=deploytest",
			"--label", "io.x-k8s.kind.role=control-plane", "--entrypoint", "sleep", image, "infinity"); err != nil {
			t.Fatal(err)
		}
		var said []string
		o := options()
		o.Progress = func(s string) { t.Log(s); said = append(said, s) }
		started := time.Now()
		c, err := Ensure(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("made anew in %s", time.Since(started).Round(time.Millisecond))
		if !c.Created || !strings.Contains(strings.Join(said, "\n"), "interrupted") {
			t.Errorf("created %v, said %q", c.Created, said)
		}
		if after := withoutEntry(t, "kind-deploytest", first, second); after != before {
			t.Errorf("kubeconfig changed:\n%s\nwas:\n%s", after, before)
		}
	})

	t.Run("used again at once", func(t *testing.T) {
		started := time.Now()
		c, err := Ensure(t.Context(), options())
		if err != nil || c.Created {
			t.Fatalf("created %v, %v", c.Created, err)
		}
		t.Logf("found in %s", time.Since(started).Round(time.Millisecond))
	})

	t.Run("settings for an inner loop", func(t *testing.T) {
		m, err := newManager(options())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.needEngine(t.Context()); err != nil {
			t.Fatal(err)
		}
		kubelet, err := m.engine.exec(t.Context(), "deploytest-control-plane", "cat", "/var/lib/kubelet/config.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"serializeImagePulls: false", "maxParallelImagePulls: 8", "registryPullQPS: 0", "maxPods: 250"} {
			if !strings.Contains(string(kubelet), want) {
				t.Errorf("the kubelet's configuration lacks %q:\n%s", want, kubelet)
			}
		}
		containerd, err := m.engine.exec(t.Context(), "deploytest-control-plane", "cat", "/etc/containerd/config.toml")
		if err != nil || !strings.Contains(string(containerd), `config_path = "/etc/containerd/certs.d"`) {
			t.Errorf("containerd has no config_path: %v\n%s", err, containerd)
		}
	})

	t.Run("stopped is started again", func(t *testing.T) {
		if err := Stop(t.Context(), options()); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		c, err := Ensure(t.Context(), options())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("started in %s", time.Since(started).Round(time.Millisecond))
		client, err := kube.New("", c.Context)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})

	t.Run("entry lost from the kubeconfig", func(t *testing.T) {
		if err := removeKubeconfig(t.Context(), "", "kind-deploytest"); err != nil {
			t.Fatal(err)
		}
		c, err := Ensure(t.Context(), options())
		if err != nil || c.Created {
			t.Fatalf("%+v, %v", c, err)
		}
		if after := withoutEntry(t, "kind-deploytest", first, second); after != before {
			t.Errorf("kubeconfig changed:\n%s\nwas:\n%s", after, before)
		}
	})

	t.Run("deleted", func(t *testing.T) {
		found, err := Delete(t.Context(), options())
		if err != nil || !found {
			t.Fatalf("found %v, %v", found, err)
		}
		assertGone(t)
		if after := semantics(t, first, second); after != before {
			t.Errorf("kubeconfig changed:\n%s\nwas:\n%s", after, before)
		}
	})
}

func assertGone(t *testing.T) {
	t.Helper()
	list, err := List(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Name == "deploytest" {
			t.Errorf("cluster %+v is still there", e)
		}
	}
}
