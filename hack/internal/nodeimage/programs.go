package nodeimage

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/kdev-io/kdev/hack/internal/cache"
	"github.com/kdev-io/kdev/hack/internal/step"
)

// Versions that belong together: Kubernetes and the etcd and CoreDNS that its kubeadm names. Its k8s.io modules and containerd
// are those of kdev's own go.mod, so that nothing is compiled twice.
const (
	kubernetes   = "v1.37.2"
	staging      = "v0.37.2" // of k8s.io/api and its siblings
	containerd   = "v2.4.2"
	etcd         = "v3.7.0"
	coredns      = "v1.14.6"
	cni          = "v1.9.1"
	provisioner  = "v0.0.30"
	pluginModule = "github.com/containernetworking/plugins"
)

// plugins are the CNI plugins that nodenet's configuration and kind's need.
var plugins = []string{"plugins/main/ptp", "plugins/main/loopback", "plugins/ipam/host-local", "plugins/meta/portmap"}

// requirements of the module that the programs are compiled in, beside Kubernetes's own.
var requirements = map[string]string{
	"github.com/containerd/containerd/v2":       containerd,
	pluginModule:                                cni,
	"github.com/coredns/coredns":                coredns,
	"github.com/rancher/local-path-provisioner": provisioner,
	"go.etcd.io/etcd/server/v3":                 etcd,
	"k8s.io/kubernetes":                         kubernetes,
}

// flags of the compiler and the linker. Nobody debugs these programs, and leaving DWARF out saves an eighth of the time.
func flags() []string {
	link := []string{
		"-s -w",
		"-X k8s.io/component-base/version.gitVersion=" + kubernetes,
		// kubeadm compares versions by these, not by the text.
		"-X k8s.io/component-base/version.gitMajor=1",
		"-X k8s.io/component-base/version.gitMinor=" + strings.Split(kubernetes, ".")[1],
		"-X k8s.io/component-base/version.gitTreeState=clean",
		"-X github.com/containerd/containerd/v2/version.Version=" + containerd,
		"-X main.VERSION=" + provisioner,
	}
	return []string{
		"-trimpath", "-buildvcs=false", "-tags", "no_btrfs,no_devmapper,no_zfs", "-gcflags=all=-dwarf=false", "-ldflags", strings.Join(link, " "),
	}
}

// ownPrograms are the ones that are part of this repository.
var ownPrograms = []string{"nodenet", "pause"}

// programsRecipe is what the programs follow from.
func (m *Maker) programsRecipe() (cache.Recipe, error) {
	recipe := cache.Recipe{runtime.Version(), runtime.GOARCH, fmt.Sprint(requirements), staging, strings.Join(flags(), " ")}
	for _, name := range []string{"kube.go.txt", "coredns.go.txt"} {
		text, err := fs.ReadFile(files, "files/"+name)
		if err != nil {
			return nil, err
		}
		recipe = append(recipe, string(text))
	}
	for _, program := range ownPrograms {
		sources, err := filepath.Glob(filepath.Join(m.Source, "hack", program, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range sources {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			recipe = append(recipe, filepath.Base(file), string(text))
		}
	}
	return recipe, nil
}

// programs compiles everything that runs in a node, and returns the folder that holds it.
func (m *Maker) programs(ctx context.Context) (string, error) {
	recipe, err := m.programsRecipe()
	if err != nil {
		return "", err
	}
	var dir string
	err = m.Log.Do(area, "compiling Kubernetes, containerd, etcd, CoreDNS", func() (string, error) {
		var cached bool
		var err error
		dir, cached, err = m.Cache.Make("programs", recipe, func(dir string) error { return m.compile(ctx, dir) })
		if cached {
			return step.Cached, err
		}
		return "", err
	})
	return dir, err
}

// compile fills dir with the programs. They are compiled in one module and by one call of go build: what they share is
// downloaded and compiled once, links run beside compiles, and one link makes all the programs of Kubernetes.
func (m *Maker) compile(ctx context.Context, dir string) error {
	if err := m.compileOwn(ctx, dir); err != nil {
		return err
	}
	work := filepath.Join(dir, "module")
	if err := m.module(ctx, work); err != nil {
		return err
	}
	args := append([]string{"go", "build", "-mod=mod", "-p", fmt.Sprint(max(2, runtime.NumCPU()))}, flags()...)
	args = append(args, "-o", dir+"/",
		"./kube", "./coredns", "./local-path-provisioner",
		"github.com/containerd/containerd/v2/cmd/containerd",
		"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
		"github.com/containerd/containerd/v2/cmd/ctr",
		"go.etcd.io/etcd/server/v3")
	for _, plugin := range plugins {
		args = append(args, pluginModule+"/"+plugin)
	}
	if err := withHugePages(m.Log, hugePages, func() error {
		return step.Run(ctx, step.Command{
			Args: args, Dir: work, Env: append(slices.Clone(goEnv), collector), Nice: 5, Hint: "see that this machine's Go reaches its module proxy (go env GOPROXY)",
		})
	}); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "server"), filepath.Join(dir, "etcd")); err != nil {
		return err
	}
	for _, name := range kubePrograms {
		if err := os.Symlink("kube", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return os.RemoveAll(work)
}

// kubePrograms are the names that the one program of Kubernetes is called by.
var kubePrograms = []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubeadm", "kubectl", "kubelet"}

// collector lets each compiler's heap grow: a tenth less time for some hundred megabytes more.
const collector = "GOGC=400"

var goEnv = []string{"CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux"}

func (m *Maker) compileOwn(ctx context.Context, dir string) error {
	for _, program := range ownPrograms {
		if err := step.Run(ctx, step.Command{
			Args: []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, program), "./hack/" + program},
			Dir:  m.Source, Env: goEnv,
		}); err != nil {
			return err
		}
	}
	return nil
}

// module writes the sources of the module that the programs are compiled in.
func (m *Maker) module(ctx context.Context, work string) error {
	kube, err := download(ctx, "k8s.io/kubernetes", kubernetes)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(kube.GoMod)
	if err != nil {
		return err
	}
	own, err := os.ReadFile(filepath.Join(m.Source, "go.mod"))
	if err != nil {
		return err
	}
	if err := write(filepath.Join(work, "go.mod"), goMod(string(text), string(own))); err != nil {
		return err
	}
	for _, name := range []string{"kube", "coredns"} {
		text, err := fs.ReadFile(files, "files/"+name+".go.txt")
		if err != nil {
			return err
		}
		if err := write(filepath.Join(work, name, "main.go"), string(text)); err != nil {
			return err
		}
	}
	// local-path-provisioner imports logrus by a spelling that no build with its present spelling in it accepts.
	local, err := download(ctx, "github.com/rancher/local-path-provisioner", provisioner)
	if err != nil {
		return err
	}
	sources, err := filepath.Glob(filepath.Join(local.Dir, "*.go"))
	if err != nil {
		return err
	}
	for _, file := range sources {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		corrected := strings.ReplaceAll(string(text), "github.com/Sirupsen/logrus", "github.com/sirupsen/logrus")
		if err := write(filepath.Join(work, "local-path-provisioner", filepath.Base(file)), corrected); err != nil {
			return err
		}
	}
	return nil
}

var moduleLine = regexp.MustCompile(`(?m)^module .*$`)

// stagingLine is a line of Kubernetes's go.mod that takes a sibling from a folder which its module does not have.
var stagingLine = regexp.MustCompile(`(?m)^\s*(k8s\.io/[a-z-]+) => \./staging/`)

// requirement is a line of a module file that names a module and its version.
var requirement = regexp.MustCompile(`(?m)^\t(\S+) (v\S+)(?: // indirect)?$`)

// goMod makes the module file from Kubernetes's own: its requirements, with each staging sibling at its tag, and ours. Those
// of kdev are taken over as well: four fifths of what kdev is compiled from are in the node's programs too, and what has the
// same version is compiled once for both. The recipe leaves them out: other versions of them make no other programs.
func goMod(kubernetesMod, kdevMod string) string {
	head, replaced, _ := strings.Cut(kubernetesMod, "\nreplace ")
	var b strings.Builder
	b.WriteString(moduleLine.ReplaceAllString(head, "module kdev.dev/offline/node") + "\n\nrequire (\n")
	for _, path := range slices.Sorted(maps.Keys(requirements)) {
		fmt.Fprintf(&b, "\t%s %s\n", path, requirements[path])
	}
	for _, line := range requirement.FindAllStringSubmatch(kdevMod, -1) {
		if requirements[line[1]] == "" {
			fmt.Fprintf(&b, "\t%s %s\n", line[1], line[2])
		}
	}
	b.WriteString(")\n\nreplace (\n")
	for _, line := range stagingLine.FindAllStringSubmatch(replaced, -1) {
		fmt.Fprintf(&b, "\t%s => %s %s\n", line[1], line[1], staging)
	}
	b.WriteString(")\n")
	return b.String()
}

// downloaded is what go mod download says of a module.
type downloaded struct{ Dir, GoMod string }

func download(ctx context.Context, path, version string) (downloaded, error) {
	var d downloaded
	out, err := step.Output(ctx, step.Command{
		Args: []string{"go", "mod", "download", "-json", path + "@" + version}, Dir: os.TempDir(), Env: goEnv,
		Hint: "see that this machine's Go reaches its module proxy (go env GOPROXY)",
	})
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal([]byte(out), &d)
}

func write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
