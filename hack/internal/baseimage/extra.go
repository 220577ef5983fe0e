package baseimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kdev-io/kdev/hack/internal/docker"
	"github.com/kdev-io/kdev/hack/internal/step"
	"github.com/kdev-io/kdev/internal/problem"
)

// The versions that the official image of that Node had.
const (
	nodeVersion = "20.8.0"
	npmVersion  = "10.1.0"
	yarnVersion = "1.22.19"
)

// nodePackages puts node and its package managers into the context, from the npm registry.
func nodePackages(context.Context) (string, func(context.Context) ([]docker.Entry, error), error) {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	packages := []npmPackage{
		{"node-linux-" + arch, nodeVersion, func(name string) string {
			if name == "bin/node" {
				return name
			}
			return ""
		}},
		{"npm", npmVersion, func(name string) string { return "lib/node_modules/npm/" + name }},
		{"yarn", yarnVersion, func(name string) string { return "lib/node_modules/yarn/" + name }},
	}
	recipe := fmt.Sprint(arch, npmVersion, yarnVersion, nodeVersion)
	return recipe, func(ctx context.Context) ([]docker.Entry, error) {
		var all bytes.Buffer
		out := tar.NewWriter(&all)
		registry := npmRegistry(ctx)
		for _, p := range packages {
			if err := p.unpack(ctx, registry, out); err != nil {
				return nil, &problem.Problem{
					Code: "offline-npm", Summary: fmt.Sprintf("cannot get %s %s from the npm registry", p.name, p.version), Err: err,
					Hint: "see that `npm view " + p.name + "` works on this machine",
				}
			}
		}
		if err := out.Close(); err != nil {
			return nil, err
		}
		return []docker.Entry{{Name: "packages.tar", Content: all.Bytes()}}, nil
	}, nil
}

// An npmPackage is one package, and where its files go; "" leaves a file out.
type npmPackage struct {
	name, version string
	place         func(name string) string
}

func (p npmPackage) unpack(ctx context.Context, registry string, out *tar.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/%s/-/%s-%s.tgz", registry, p.name, p.name, p.version), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", request.URL, answer.Status)
	}
	plain, err := gzip.NewReader(answer.Body)
	if err != nil {
		return err
	}
	for in := tar.NewReader(plain); ; {
		header, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(header.Name, "/") // the archive's only folder is called package, or anything else
		place := p.place(filepath.Clean(name))
		if header.Typeflag != tar.TypeReg || place == "" {
			continue
		}
		mode := int64(0o644)
		if strings.Contains("/"+name, "/bin/") || header.Mode&0o100 != 0 {
			mode = 0o755
		}
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: place, Mode: mode, Size: header.Size}); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}

// npmRegistry is the registry that this machine's npm is set to.
func npmRegistry(ctx context.Context) string {
	registry := os.Getenv("NPM_CONFIG_REGISTRY")
	if out, err := exec.CommandContext(ctx, "npm", "config", "get", "registry").Output(); err == nil && registry == "" {
		registry = strings.TrimSpace(string(out))
	}
	if !strings.HasPrefix(registry, "http") {
		registry = "https://registry.npmjs.org"
	}
	return strings.TrimSuffix(registry, "/")
}

// goroot puts this machine's Go into the context, without what compiles nothing.
func goroot(ctx context.Context) (string, func(context.Context) ([]docker.Entry, error), error) {
	env := goEnv(ctx)
	recipe := fmt.Sprint(goVersion(), env.proxies)
	return recipe, func(ctx context.Context) ([]docker.Entry, error) {
		if env.root == "" {
			return nil, &problem.Problem{Code: "offline-go", Summary: "go env names no GOROOT", Hint: "put this machine's go on the PATH"}
		}
		var packed bytes.Buffer
		err := step.Run(ctx, step.Command{Args: []string{
			"tar", "-C", env.root, "--owner=0", "--group=0", "--exclude=./api", "--exclude=./doc", "--exclude=./pkg/obj", "--exclude=./test", "--exclude=testdata",
			"-cf", "-", ".",
		}, Stdout: &packed})
		return []docker.Entry{{Name: "goroot.tar", Content: packed.Bytes()}}, err
	}, nil
}

func goVersion() string { return strings.TrimPrefix(runtime.Version(), "go") }

// goSettings is what matters of `go env`.
type goSettings struct {
	root    string
	proxies map[string]string // where modules come from, as far as it is not Go's own default
}

// goEnv asks this machine's Go, so that builds in the image find modules where those on the machine do.
func goEnv(ctx context.Context) goSettings {
	usual := map[string]string{"GOPROXY": "https://proxy.golang.org,direct", "GOSUMDB": "sum.golang.org"}
	names := []string{"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE"}
	settings := goSettings{proxies: map[string]string{}}
	out, err := exec.CommandContext(ctx, "go", append([]string{"env", "GOROOT"}, names...)...).Output()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) <= len(names) {
		return settings
	}
	settings.root = lines[0]
	for n, name := range names {
		if value := strings.TrimSpace(lines[n+1]); value != usual[name] {
			settings.proxies[name] = value
		}
	}
	return settings
}
