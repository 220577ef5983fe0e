// Package nodeimage makes a kind node image on a machine that reaches no container registry.
//
// In: Go modules (Kubernetes, containerd, etcd, CoreDNS, CNI plugins, kind's own image files), Debian packages. Out: Image on
// the engine, which kind takes like its own: pods get addresses and names, services work, claims bind, and several nodes
// reach each other. Where kind's default node image is on the engine or can be pulled, that one is used and nothing made.
package nodeimage

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/kdev-io/kdev/hack/internal/baseimage"
	"github.com/kdev-io/kdev/hack/internal/cache"
	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/step"
)

const (
	area = "node-image"
	// Image is the name of what is made. kdev takes the newest kdev.dev/node that it finds.
	Image = "kdev.dev/node:" + kubernetes
	// Default is what kind would pull.
	Default = defaults.Image
	// Repository is Image without the tag.
	Repository = "kdev.dev/node"
)

//go:embed files
var files embed.FS

// A Maker makes the node image.
type Maker struct {
	Log    *step.Log
	Cache  *cache.Cache
	Pulls  *docker.Puller
	Base   *baseimage.Maker
	Source string // the root of kdev's sources
}

// Ensure has a node image on the engine.
func (m *Maker) Ensure(ctx context.Context) error {
	ready := false
	if err := m.Log.Do(area, "looking for one", func() (note string, err error) {
		ready, note, err = m.given(ctx)
		return note, err
	}); err != nil || ready {
		return err
	}
	kind, err := m.kind(ctx)
	if err != nil {
		return err
	}
	programs, err := m.programs(ctx)
	if err != nil {
		return err
	}
	if err := m.Base.Debian(ctx); err != nil {
		return err
	}
	temp, release, err := m.Cache.Temp("node")
	if err != nil {
		return err
	}
	defer release()
	var pause string
	if err := m.Log.Do(area, "images of the system pods", func() (string, error) {
		pause, err = m.podImages(ctx, programs, temp)
		return "", err
	}); err != nil {
		return err
	}
	return m.Log.Do(area, "building "+Image, func() (string, error) { return "", m.build(ctx, kind, programs, temp, pause) })
}

// given tells whether there is an image already: kind's default, the one that this recipe makes, or one to be pulled.
func (m *Maker) given(ctx context.Context) (ready bool, note string, err error) {
	here, err := docker.Images(ctx, defaults.Image, Image)
	if err != nil {
		return false, "", err
	}
	if _, ok := here[defaults.Image]; ok {
		return true, step.Cached + ": kind's default", nil
	}
	if ours, ok := here[Image]; ok {
		recipe, err := m.recipe()
		if err != nil {
			return false, "", err
		}
		switch ours.Recipe() {
		case recipe.Hash():
			return true, step.Cached + ": " + Image, nil
		case "":
			return true, Image + " is not ours: kept", nil
		}
		return false, "the recipe changed: making a new one", nil
	}
	if err := m.Pulls.Pull(ctx, defaults.Image); err != nil {
		return false, "kind's default cannot be pulled: making one", ctx.Err()
	}
	return true, "pulled kind's default", nil
}

// recipe is everything that the image follows from.
func (m *Maker) recipe() (cache.Recipe, error) {
	recipe, err := m.programsRecipe()
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(files, "files", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		recipe = append(recipe, name, string(text))
		return err
	})
	return append(recipe, defaults.Image), err // it names the version of kind, whose files are in the image
}

// build puts the node together.
func (m *Maker) build(ctx context.Context, kind, programs, temp, pause string) error {
	recipe, err := m.recipe()
	if err != nil {
		return err
	}
	entries, err := kindFiles(kind, pause)
	if err != nil {
		return err
	}
	tree := func(name string) docker.Entry {
		text, _ := fs.ReadFile(files, "files/"+name)
		return docker.Entry{Content: text}
	}
	add := func(name string, e docker.Entry, mode os.FileMode) {
		e.Name, e.Mode = name, mode
		entries = append(entries, e)
	}
	add("Dockerfile", tree("node.Dockerfile"), 0o644)
	add("images.tar", docker.Entry{From: filepath.Join(temp, preloaded)}, 0o644)
	add("root/usr/bin/kubelet", docker.Entry{From: filepath.Join(programs, "kube")}, 0o755)
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "nodenet"} {
		add("root/usr/local/bin/"+name, docker.Entry{From: filepath.Join(programs, name)}, 0o755)
	}
	for _, name := range plugins {
		add("root/opt/cni/bin/"+filepath.Base(name), docker.Entry{From: filepath.Join(programs, filepath.Base(name))}, 0o755)
	}
	add("root/etc/systemd/system/nodenet.service", tree("nodenet.service"), 0o644)
	add("root/kind/manifests/default-cni.yaml", tree("default-cni.yaml"), 0o644)
	storage := tree("default-storage.yaml")
	storage.Content = []byte(strings.NewReplacer("{{PROVISIONER}}", provisionerImage, "{{HELPER}}", helperImage).Replace(string(storage.Content)))
	add("root/kind/manifests/default-storage.yaml", storage, 0o644)
	add("root/kind/version", docker.Entry{Content: []byte(kubernetes + "\n")}, 0o644)
	old, err := docker.Images(ctx, Image)
	if err != nil {
		return err
	}
	if err := (docker.Build{Tags: []string{Image}, Recipe: recipe.Hash(), Context: entries}).Run(ctx); err != nil {
		return err
	}
	docker.Discard(ctx, old)
	return nil
}

var sandboxImage = regexp.MustCompile(`sandbox_image = "[^"]*"`)

// kind returns the folder of kind's module, at the version that kdev is built with.
func (m *Maker) kind(ctx context.Context) (string, error) {
	const path = "sigs.k8s.io/kind"
	version, err := step.Output(ctx, step.Command{Args: []string{"go", "list", "-m", "-f", "{{.Version}}", path}, Dir: m.Source})
	if err != nil {
		return "", err
	}
	module, err := download(ctx, path, version)
	return module.Dir, err
}

// kindFiles are kind's own: the entrypoint, units, containerd's configuration.
func kindFiles(module, pause string) ([]docker.Entry, error) {
	root := filepath.Join(module, "images/base/files")
	var entries []docker.Entry
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		e := docker.Entry{Name: filepath.Join("root", name), From: file, Mode: 0o644}
		switch {
		case strings.HasPrefix(name, "LICENSES"), name == "usr/local/bin/clean-install", strings.Contains(name, "fuse-overlayfs"):
			return nil
		case strings.HasPrefix(name, "usr/local/bin/"), strings.HasPrefix(name, "kind/bin/"):
			e.Mode = 0o755
		case name == "etc/containerd/config.toml":
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			e.From, e.Content = "", []byte(sandboxImage.ReplaceAllString(string(text), `sandbox_image = "`+pause+`"`))
			if !strings.Contains(string(e.Content), pause) {
				return fmt.Errorf("%s of this kind names no sandbox image", name)
			}
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading kind's image files: %w", err)
	}
	return entries, nil
}
