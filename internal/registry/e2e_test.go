//go:build e2e

package registry

import (
	"context"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// engine gives a client and a store of the test's own, whose container and
// volume go with the test.
func engine(t *testing.T) (*client.Client, *Store) {
	t.Helper()
	docker, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return docker, s
}

func TestEnsure(t *testing.T) {
	docker, s := engine(t)
	ctx := t.Context()
	var steps []string
	ensure := func() *Endpoint {
		t.Helper()
		steps = nil
		ep, err := Ensure(ctx, docker, s, func(line string) { steps = append(steps, line) })
		if err != nil {
			t.Fatal(err)
		}
		return ep
	}
	first := ensure()
	if !first.Shared {
		t.Error("the engine on this machine does not share the store's folder")
	}
	t.Cleanup(func() {
		_, _ = docker.ContainerRemove(context.Background(), first.Container, client.ContainerRemoveOptions{Force: true})
	})

	t.Run("again", func(t *testing.T) {
		if again := ensure(); again.Host != first.Host || again.PushHost != first.PushHost || len(steps) > 0 {
			t.Errorf("%+v after %+v, steps %q", again, first, steps)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		if _, err := docker.ContainerStop(ctx, first.Container, client.ContainerStopOptions{}); err != nil {
			t.Fatal(err)
		}
		if again := ensure(); again.Host != first.Host || again.PushHost != first.PushHost {
			t.Errorf("%+v after %+v", again, first)
		}
	})
	t.Run("port taken while stopped", func(t *testing.T) {
		if _, err := docker.ContainerStop(ctx, first.Container, client.ContainerStopOptions{}); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", first.PushHost)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		moved := ensure()
		if moved.Host != first.Host || moved.PushHost == first.PushHost {
			t.Errorf("%+v after %+v: want another port under the old name", moved, first)
		}
	})
	t.Run("folder deleted", func(t *testing.T) {
		if err := os.RemoveAll(s.Dir()); err != nil {
			t.Fatal(err)
		}
		var err error
		if s, err = OpenStore(s.Dir()); err != nil {
			t.Fatal(err)
		}
		again := ensure()
		if again.Host != first.Host || !again.Shared {
			t.Errorf("%+v after %+v", again, first)
		}
	})
	t.Run("container removed", func(t *testing.T) {
		if _, err := docker.ContainerRemove(ctx, first.Container, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if again := ensure(); again.Host != first.Host {
			t.Errorf("%+v after %+v", again, first)
		}
	})
	t.Run("write without token", func(t *testing.T) {
		ep := ensure()
		resp, err := http.Post("http://"+ep.PushHost+"/v2/x/blobs/uploads/", "", strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("POST without token: %s", resp.Status)
		}
	})
}

// TestVolume is the way for an engine that does not share the store's folder.
func TestVolume(t *testing.T) {
	docker, s := engine(t)
	ctx := t.Context()
	e := &ensurer{docker: docker, store: s, progress: func(string) {}}
	if err := e.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.find(ctx); err != nil {
		t.Fatal(err)
	}
	e.shared = false
	t.Cleanup(func() {
		_, _ = docker.ContainerRemove(context.Background(), e.name, client.ContainerRemoveOptions{Force: true})
		_, _ = docker.VolumeRemove(context.Background(), e.name, client.VolumeRemoveOptions{})
	})
	ep, err := e.create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The next Ensure keeps to the volume.
	if again, err := Ensure(ctx, docker, s, nil); err != nil || again.Shared || again.PushHost != ep.PushHost {
		t.Fatalf("%+v %v", again, err)
	}
	img, err := random.Image(1<<16, 3)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := s.PutImage(ctx, "shop/web", "v1", img)
	if err != nil {
		t.Fatal(err)
	}
	if ep.Available(ctx, s, "shop/web", digest.String()) {
		t.Error("available before it was published")
	}
	for range 2 {
		if err := ep.Publish(ctx, s, "shop/web", "v1", digest.String()); err != nil {
			t.Fatal(err)
		}
	}
	if !ep.Available(ctx, s, "shop/web", digest.String()) {
		t.Error("not available after it was published")
	}
	ref, err := name.ParseReference(ep.PushHost+"/shop/web:v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := remote.Get(ref); err != nil || back.Digest != digest {
		t.Errorf("%+v %v, want %s", back, err, digest)
	}

	// A push by somebody else, taken over without its layers.
	other, err := random.Image(1<<16, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err = name.ParseReference(ep.PushHost+"/shop/api:build-x", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, other, remote.WithAuth(&authn.Bearer{Token: ep.Token})); err != nil {
		t.Fatal(err)
	}
	pushed, err := other.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := ep.Adopt(ctx, s, "shop/api", "build-x", pushed.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Get(ref); err == nil {
		t.Error("the build's tag is still there")
	}
	back, err := s.Image("shop/api", pushed.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := back.ConfigFile(); err != nil {
		t.Error(err)
	}
	if !ep.Available(ctx, s, "shop/api", pushed.String()) {
		t.Error("what was pushed is not available")
	}
	if err := ep.Pull(ctx, s, "shop/api", pushed.String()); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(layout.Digest(pushed.String())); err != nil {
		t.Error(err)
	}
}

// A node whose cluster has a registry of somebody else under the name that kdev's has: that
// one stays, and the node pulls what others made through kdev's all the same.
func TestAccompany(t *testing.T) {
	docker, _ := engine(t)
	ctx := t.Context()
	created, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{Config: &container.Config{Image: "busybox:1", Cmd: []string{"sleep", "1000000"}}})
	if err != nil {
		t.Fatal(err)
	}
	node := created.ID
	t.Cleanup(func() {
		_, _ = docker.ContainerRemove(context.Background(), node, client.ContainerRemoveOptions{Force: true})
	})
	if _, err := docker.ContainerStart(ctx, node, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	run := func(script string) string {
		t.Helper()
		out, code, err := execIn(ctx, docker, node, []string{"sh", "-c", script})
		if err != nil || code != 0 {
			t.Fatalf("%s: %d %v %s", script, code, err, out)
		}
		return out
	}
	const file = "/etc/containerd/certs.d/localhost:5001/hosts.toml"
	run("mkdir -p " + path.Dir(file) + " && echo '# of kind' > " + file)
	ep := &Endpoint{Host: "localhost:5001", PushHost: "127.0.0.1:5002", Container: "kdev-registry"}
	err = ep.Connect(ctx, docker, []string{node}, nil)
	if p := problem.As(err); p == nil || p.Code != "registry-host-taken" {
		t.Errorf("a name that is taken: %v", err)
	}
	for range 2 {
		if err := ep.Accompany(ctx, docker, []string{node}); err != nil {
			t.Fatal(err)
		}
	}
	if got := run("cat " + file); got != "# of kind\n" {
		t.Errorf("the other registry's file is %q", got)
	}
	if got := run("cat /etc/containerd/certs.d/_default/hosts.toml"); !strings.Contains(got, "kdev-registry:5000") {
		t.Errorf("the mirror's file is %q", got)
	}
}
