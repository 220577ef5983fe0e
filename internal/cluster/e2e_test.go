//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

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

	t.Run("informers, exec and streams", func(t *testing.T) {
		client, err := kube.New("", "kind-deploytest")
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n, err := kube.Watch(ctx, client, "kube-system")
		if err != nil {
			t.Fatal(err)
		}
		defer n.Wait()
		defer cancel()
		find := func(prefix string) *corev1.Pod {
			for {
				for _, pod := range n.Pods() {
					if strings.HasPrefix(pod.Name, prefix) && pod.Status.Phase == corev1.PodRunning && pod.Status.ContainerStatuses[0].Ready {
						return pod
					}
				}
				select {
				case <-n.Changed():
				case <-ctx.Done():
					t.Fatalf("no running pod %s*", prefix)
				}
			}
		}
		proxy, dns := find("kube-proxy"), find("coredns")
		if owner := n.Owner(dns).String(); owner != "Deployment/coredns" {
			t.Errorf("coredns is owned by %s", owner)
		}
		var out bytes.Buffer
		if err := client.Exec(ctx, proxy.Namespace, proxy.Name, "kube-proxy", []string{"cat"}, strings.NewReader("hello"), &out, nil); err != nil || out.String() != "hello" {
			t.Errorf("exec: %q, %v", out.String(), err)
		}
		var exit *kube.ExitError
		if err := client.Exec(ctx, proxy.Namespace, proxy.Name, "kube-proxy", []string{"sh", "-c", "exit 3"}, nil, &out, nil); !errors.As(err, &exit) || exit.Code != 3 {
			t.Errorf("exec of a failing command: %v", err)
		}
		for i := range 3 {
			started := time.Now()
			stream, err := client.DialPod(ctx, dns.Namespace, dns.Name, 8181)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(stream, "GET /ready HTTP/1.0\r\n\r\n")
			answer := make([]byte, len("HTTP/1.0 200 OK"))
			_, err = io.ReadFull(stream, answer)
			stream.Close()
			if err != nil || string(answer) != "HTTP/1.0 200 OK" {
				t.Errorf("stream %d: %q, %v", i, answer, err)
			}
			t.Logf("stream %d answered after %s", i, time.Since(started).Round(time.Microsecond))
		}
		stream, err := client.DialPod(ctx, dns.Namespace, dns.Name, 81)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		if _, err := stream.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("a port on which nothing listens: %v", err)
		}
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

	t.Run("deleted though a process in it is frozen", func(t *testing.T) {
		m, err := newManager(options())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.needEngine(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Only cgroup v1 has this trap; elsewhere the script finds no freezer and
		// the node is an ordinary one.
		const freeze = `sleep infinity & cd /sys/fs/cgroup/freezer && mkdir trap && echo $! > trap/cgroup.procs && echo FROZEN > trap/freezer.state; exec sleep infinity`
		image, err := m.nodeImage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cli := m.engine.(*commandLine)
		if _, err := cli.run(t.Context(), "run", "-d", "--privileged", "--cgroupns=private", "--name", "deploytest-worker", "--label", "io.x-k8s.kind.cluster=deploytest",
			"--label", "io.x-k8s.kind.role=worker", "--entrypoint", "sh", image, "-c", freeze); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		if err := m.engine.remove(t.Context(), []string{"deploytest-worker"}); err != nil {
			t.Error(err)
		}
		t.Logf("removed in %s", time.Since(started).Round(time.Millisecond))
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
