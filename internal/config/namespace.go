package config

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// manifestNamespace is the one namespace that manifests name, and where. Each
// kustomization's own namespace: wins over those that it includes; all objects of plain
// files have to name it.
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
		case ns == "" || OfCluster(ns):
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

// filesNamespace is the namespace that each object of plain files names which lives in one.
// Where some name none, the project is not where a few of its objects say: a RoleBinding in
// kube-system beside a Deployment that names nothing.
func filesNamespace(root string, patterns []string) (name, where string) {
	for _, pattern := range patterns {
		files, _ := fs.Glob(os.DirFS(root), path.Clean(pattern))
		for _, f := range files {
			objects, _ := readObjects(root, f)
			for _, o := range objects {
				ns := o.Metadata.Namespace.Value
				switch {
				case ns == "" && !InNamespace(o.APIVersion, o.Kind):
				case ns == "" || label(ns) != ns || OfCluster(ns):
					return "", ""
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

// OfCluster says whether a namespace is the cluster's own. No project lives there unless
// kdev.yaml says so, and what names it means it.
func OfCluster(namespace string) bool { return strings.HasPrefix(namespace, "kube-") }

// builtin are the API groups of Kubernetes itself whose kinds live in namespaces, with those
// that do not (kubectl api-resources).
var builtin = map[string][]string{
	"":                          {"Namespace", "Node", "PersistentVolume", "ComponentStatus", "List"},
	"apps":                      nil,
	"batch":                     nil,
	"autoscaling":               nil,
	"policy":                    {"PodSecurityPolicy"},
	"networking.k8s.io":         {"IngressClass", "IPAddress", "ServiceCIDR"},
	"rbac.authorization.k8s.io": {"ClusterRole", "ClusterRoleBinding"},
	"coordination.k8s.io":       nil,
	"discovery.k8s.io":          nil,
}

// InNamespace says whether an object lives in a namespace though it may not name one. Of
// kinds that are not Kubernetes' own nobody knows without the cluster: false.
func InNamespace(apiVersion, kind string) bool {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		group = ""
	}
	outside, known := builtin[group]
	return known && !slices.Contains(outside, kind)
}
