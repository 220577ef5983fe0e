package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// detectDepth is how far below the root a Dockerfile is looked for:
// services/shop/webui is three.
const detectDepth = 3

// detectServices finds the folders with a Dockerfile, by the name of the
// service: the folder's. The root's own Dockerfile counts only where no other
// is, under the project's name.
func detectServices(root, project string) map[string]string {
	found := map[string]string{}
	var visit func(dir string, depth int)
	visit = func(dir string, depth int) {
		if dir != "." && isFile(root, path.Join(dir, "Dockerfile")) {
			name := label(path.Base(dir))
			if _, taken := found[name]; name != "" && !taken {
				found[name] = dir
			}
			return
		}
		if depth == detectDepth {
			return
		}
		entries, _ := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
		for _, e := range entries {
			if e.IsDir() && !notAService(e.Name()) {
				visit(path.Join(dir, e.Name()), depth+1)
			}
		}
	}
	visit(".", 0)
	if len(found) == 0 && isFile(root, "Dockerfile") {
		found[project] = "."
	}
	return found
}

func notAService(dir string) bool {
	return strings.HasPrefix(dir, ".") || slices.Contains([]string{"node_modules", "vendor", "testdata", "dist", "target", "venv"}, dir)
}

var (
	manifestFolders    = []string{"deploy", "k8s", "kubernetes", "kustomize", "manifests", "deployment", "."}
	devOverlays        = []string{"dev", "development", "local"}
	kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}
)

// detectManifests finds what kdev up deploys, best guess first: an overlay
// for development, a kustomization, plain files. Where it is an overlay, its
// neighbours are the other environments.
func detectManifests(root string) (sources []Source, environments map[string]Source) {
	for _, dir := range manifestFolders {
		overlays := path.Join(dir, "overlays")
		for _, name := range devOverlays {
			dev := path.Join(overlays, name)
			if !hasKustomization(root, dev) {
				continue
			}
			environments = map[string]Source{}
			entries, _ := os.ReadDir(filepath.Join(root, filepath.FromSlash(overlays)))
			for _, e := range entries {
				p := path.Join(overlays, e.Name())
				if e.Name() != name && label(e.Name()) == e.Name() && hasKustomization(root, p) {
					environments[e.Name()] = Source{Kustomize: p, Where: p}
				}
			}
			return []Source{{Kustomize: dev, Where: dev}}, environments
		}
	}
	for _, dir := range manifestFolders {
		for _, p := range []string{path.Join(dir, "base"), dir} {
			if hasKustomization(root, p) {
				return []Source{{Kustomize: p, Where: p}}, nil
			}
		}
	}
	for _, dir := range manifestFolders {
		if dir == "." {
			continue
		}
		if files := manifestFiles(root, dir); len(files) > 0 {
			return []Source{{YAML: files, Where: dir}}, nil
		}
	}
	for _, name := range []string{"k8s.yaml", "k8s.yml", "kubernetes.yaml"} {
		if isManifest(root, name) {
			return []Source{{YAML: []string{name}, Where: name}}, nil
		}
	}
	return nil, nil
}

// manifestFiles names a folder's manifests: one pattern where every file with
// that ending is one, else the files.
func manifestFiles(root, dir string) []string {
	var out []string
	for _, ext := range []string{".yaml", ".yml"} {
		names, _ := fs.Glob(os.DirFS(root), path.Join(dir, "*"+ext))
		var good []string
		for _, n := range names {
			if isManifest(root, n) {
				good = append(good, n)
			}
		}
		if len(good) == len(names) && len(good) > 0 {
			good = []string{path.Join(dir, "*"+ext)}
		}
		out = append(out, good...)
	}
	return out
}

func isManifest(root, name string) bool {
	objects, err := readObjects(root, name)
	return err == nil && len(objects) > 0
}

// An object is what config wants to know of a manifest.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Namespace yaml.Node `yaml:"namespace"`
	} `yaml:"metadata"`
	Items yaml.Node `yaml:"items"` // of a List
}

func readObjects(root, name string) ([]object, error) {
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	var objects []object
	dec := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var o object
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return objects, err
		}
		var items []object
		if o.Kind == "List" && o.Items.Decode(&items) == nil {
			objects = append(objects, items...)
		} else if o.APIVersion != "" && o.Kind != "" {
			objects = append(objects, o)
		}
	}
}

func isFile(root, name string) bool {
	info, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil && info.Mode().IsRegular()
}

func isFolder(root, name string) bool {
	info, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil && info.IsDir()
}

func hasKustomization(root, dir string) bool {
	return kustomizationOf(root, dir) != ""
}

func kustomizationOf(root, dir string) string {
	for _, n := range kustomizationNames {
		if p := path.Join(dir, n); isFile(root, p) {
			return p
		}
	}
	return ""
}
