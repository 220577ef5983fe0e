package config

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// manifestNamespace is the one namespace that manifests name, and where. Each
// kustomization's own namespace: wins over those that it includes; plain
// files have to agree.
func manifestNamespace(root string, sources []Source) (name, where string) {
	for _, s := range sources {
		var ns, at string
		switch {
		case s.Kustomize != "":
			ns, at = kustomizeNamespace(root, s.Kustomize, 0)
		case s.YAML != nil:
			ns, at = filesNamespace(root, s.YAML)
		} // a chart goes where the release goes; what a command prints is not known yet
		switch {
		case ns == "":
		case name == "":
			name, where = ns, at
		case name != ns:
			return "", "" // sources for several namespaces decide nothing
		}
	}
	return name, where
}

func kustomizeNamespace(root, dir string, depth int) (name, where string) {
	file := kustomizationOf(root, dir)
	if file == "" || depth > 8 { // a circle is kustomize's to report
		return "", ""
	}
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return "", ""
	}
	var k struct {
		Namespace yaml.Node `yaml:"namespace"`
		Resources []string  `yaml:"resources"`
	}
	if yaml.Unmarshal(content, &k) != nil {
		return "", "" // render reports it better
	}
	if label(k.Namespace.Value) == k.Namespace.Value && k.Namespace.Value != "" {
		return k.Namespace.Value, position{file, k.Namespace.Line}.String()
	}
	for _, r := range k.Resources {
		p := path.Join(dir, r)
		if !inside(p) || !isFolder(root, p) {
			continue
		}
		if name, where := kustomizeNamespace(root, p, depth+1); name != "" {
			return name, where
		}
	}
	return "", ""
}

func filesNamespace(root string, patterns []string) (name, where string) {
	for _, pattern := range patterns {
		files, _ := fs.Glob(os.DirFS(root), path.Clean(pattern))
		for _, f := range files {
			objects, _ := readObjects(root, f)
			for _, o := range objects {
				ns := o.Metadata.Namespace.Value
				switch {
				case ns == "" || label(ns) != ns:
				case name == "":
					name, where = ns, position{f, o.Metadata.Namespace.Line}.String()
				case name != ns:
					return "", ""
				}
			}
		}
	}
	return name, where
}
