package nodeimage

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/step"
)

const (
	provisionerImage = "docker.io/rancher/local-path-provisioner:" + provisioner
	helperImage      = "kdev.dev/local-path-helper:" + provisioner
	// preloaded is the file with containerd's folder in which the images of the system pods are unpacked.
	preloaded = "containerd.tar"
)

// podImages makes the images of the system pods and leaves containerd's folder with them in temp. It returns the name of
// the pause image, which containerd's configuration has to name.
func (m *Maker) podImages(ctx context.Context, programs, temp string) (pause string, err error) {
	recipe, err := m.recipe()
	if err != nil {
		return "", err
	}
	work := "kdev.dev/offline/pods:" + recipe.Hash()
	if err := m.buildPods(ctx, programs, work, recipe.Hash()); err != nil {
		return "", err
	}
	made := []string{work}
	defer func() { docker.Remove(context.WithoutCancel(ctx), made...) }()

	// kubeadm knows which names and tags it will ask for.
	list, err := step.Output(ctx, step.Command{Args: []string{
		filepath.Join(programs, "kubeadm"), "config", "images", "list", "--kubernetes-version", kubernetes,
	}})
	if err != nil {
		return "", err
	}
	images := []podImage{{name: provisionerImage}, {name: helperImage}}
	for _, name := range strings.Fields(list) {
		image := podImage{name: name}
		switch base, _, _ := strings.Cut(path.Base(name), ":"); base {
		case "coredns":
			image.entrypoint = "/usr/local/bin/coredns" // its Deployment passes only arguments
		case "pause":
			image.entrypoint, pause = "/pause", name
		}
		images = append(images, image)
	}
	if pause == "" {
		return "", fmt.Errorf("kubeadm names no pause image among %q", list)
	}
	saved := filepath.Join(temp, "pods.tar")
	if err := docker.Save(ctx, saved, work); err != nil {
		return "", err
	}
	packed := filepath.Join(temp, "pods.oci.tar")
	if err := repack(saved, packed, images); err != nil {
		return "", err
	}
	return pause, preload(ctx, programs, packed, temp)
}

// buildPods builds the one image that all system pods share.
func (m *Maker) buildPods(ctx context.Context, programs, tag, hash string) error {
	entries := []docker.Entry{{Name: "pause", Mode: 0o755, From: filepath.Join(programs, "pause")}}
	for name, from := range map[string]string{"Dockerfile": "pods.Dockerfile", "iptables": "iptables"} {
		text, err := fs.ReadFile(files, "files/"+from)
		if err != nil {
			return err
		}
		entries = append(entries, docker.Entry{Name: name, Content: text})
	}
	const kube = "kube-apiserver"
	for name, from := range map[string]string{kube: "kube", "etcd": "etcd", "coredns": "coredns", "local-path-provisioner": "local-path-provisioner"} {
		entries = append(entries, docker.Entry{Name: "bin/" + name, Mode: 0o755, From: filepath.Join(programs, from)})
	}
	for _, name := range kubePrograms {
		if strings.HasPrefix(name, "kube-") && name != kube {
			entries = append(entries, docker.Entry{Name: "bin/" + name, Link: kube})
		}
	}
	return docker.Build{Tags: []string{tag}, Recipe: hash, Context: entries}.Run(ctx)
}

// preload starts the containerd that the node will have, on a folder of its own, imports the images and packs the folder.
// Unpacked images save the seconds that four static pods would need to unpack them at the same time on the first start.
func preload(ctx context.Context, programs, images, temp string) error {
	root, state := filepath.Join(temp, "root"), filepath.Join(temp, "state")
	// A path in a temporary folder may be longer than a socket's name may be.
	run, err := os.MkdirTemp("", "kdev-ctd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(run)
	socket := filepath.Join(run, "sock")
	config := filepath.Join(temp, "containerd.toml")
	if err := os.WriteFile(config, []byte(preloadConfig(root, state, socket)), 0o644); err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- step.Run(serving, step.Command{Args: []string{filepath.Join(programs, "containerd"), "--config", config}, Mounts: true})
	}()
	err = importImages(ctx, filepath.Join(programs, "ctr"), socket, images, served)
	stop()
	if ended := <-served; err == nil && !step.Interrupted(ended) && ended != nil {
		err = ended
	}
	if err != nil {
		return err
	}
	for _, waste := range []string{"io.containerd.grpc.v1.introspection", "tmpmounts"} { // every node has an identity of its own
		if err := os.RemoveAll(filepath.Join(root, waste)); err != nil {
			return err
		}
	}
	return step.Run(ctx, step.Command{Args: []string{"tar", "-C", root, "--numeric-owner", "--xattrs", "-cf", filepath.Join(temp, preloaded), "."}})
}

// importImages waits for containerd and imports. Where this file system cannot carry an overlay, the images stay packed.
func importImages(ctx context.Context, ctr, socket, images string, served chan error) error {
	for {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		select {
		case err := <-served:
			served <- err
			return fmt.Errorf("starting containerd: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	args := []string{ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", "--local", "--label", "io.cri-containerd.pinned=pinned"}
	unpacked := step.Run(ctx, step.Command{Args: append(args[:len(args):len(args)], "--snapshotter", "overlayfs", images)})
	if unpacked == nil || step.Interrupted(unpacked) {
		return unpacked
	}
	if err := step.Run(ctx, step.Command{Args: append(args[:len(args):len(args)], "--no-unpack", "--all-platforms", images)}); err != nil {
		return unpacked
	}
	return nil
}

// preloadConfig is a containerd with a store, the overlay snapshotter, and nothing that runs containers.
func preloadConfig(root, state, socket string) string {
	return fmt.Sprintf(`version = 3
root = %q
state = %q
disabled_plugins = [
  "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.native",
]
[grpc]
address = %q
[ttrpc]
address = %q
`, root, state, socket, socket+".ttrpc")
}
