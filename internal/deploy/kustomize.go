package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	kyaml "sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/problem"
)

// kustomizing serialises kustomize: it keeps its OpenAPI schema in
// package-global state and sets it at each run.
var kustomizing sync.Mutex

// originAnnotation is where kustomize says which file a resource comes from.
const originAnnotation = "config.kubernetes.io/origin"

func (m *Manifests) kustomize(root string, s Source) error {
	kustomizing.Lock()
	defer kustomizing.Unlock()
	dir := filepath.Join(root, s.Kustomize)
	disk := &recorder{FileSystem: filesys.MakeFsOnDisk(), top: dir, root: root}
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, dir)
	for _, file := range disk.read {
		m.files[file] = true
	}
	if err != nil {
		return disk.explain(err)
	}
	lines := originLines{root: root, top: dir}
	for _, r := range result.Resources() {
		origin := lines.of(r)
		b, err := r.AsYAML()
		if err != nil {
			return fmt.Errorf("reading what kustomize made of %s: %w", s.Kustomize, err)
		}
		var u unstructured.Unstructured
		if err := kyaml.Unmarshal(b, &u.Object); err != nil {
			return fmt.Errorf("reading what kustomize made of %s: %w", s.Kustomize, err)
		}
		if disk.added {
			dropAnnotation(&u, originAnnotation)
		}
		m.Objects = append(m.Objects, &Object{Unstructured: &u, Origin: origin})
	}
	return nil
}

func dropAnnotation(u *unstructured.Unstructured, key string) {
	annotations := u.GetAnnotations()
	delete(annotations, key)
	if len(annotations) == 0 {
		annotations = nil
	}
	u.SetAnnotations(annotations)
}

// recorder is a disk that remembers which files were read, in order. It asks
// kustomize for the origin of each resource, by a line behind the top
// kustomization that no file has, and refuses to let it fetch anything.
type recorder struct {
	filesys.FileSystem
	top, root string

	read    []string // absolute
	added   bool
	refused *problem.Problem
}

func (r *recorder) ReadFile(path string) ([]byte, error) {
	if abs, err := filepath.Abs(path); err == nil && !slices.Contains(r.read, abs) {
		r.read = append(r.read, abs)
	}
	data, err := r.FileSystem.ReadFile(path)
	if err != nil || !isKustomization(path) {
		return data, err
	}
	if r.refused = r.remoteEntry(path, data); r.refused != nil {
		return nil, r.refused
	}
	if filepath.Dir(path) == filepath.Clean(r.top) && !hasKey(data, "buildMetadata") {
		r.added = true
		return append(slices.Clip(data), "\nbuildMetadata: [originAnnotations]\n"...), nil
	}
	return data, nil
}

func isKustomization(path string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path))
}

func hasKey(data []byte, key string) bool {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return true // leave it to kustomize to say what is wrong
	}
	return doc.Content[0].Kind != yaml.MappingNode || doc.Content[0].Style == yaml.FlowStyle || mappingValue(doc.Content[0], key) != nil
}

func mappingValue(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// remoteForm recognises what kustomize fetches: URLs, git addresses, hosts that it
// knows.
var remoteForm = regexp.MustCompile(`^(?:[a-z+]+://|git@|git::|gh:|github\.com[/:]|[^/]+\.git(?:/|\?|$))|\?(?:ref|version|timeout|submodules)=`)

// remoteEntry finds an entry of a kustomization that is not in the project. kustomize would
// fetch it at each render: without an end where a server is silent, with a question of git for
// a password in the middle of a dashboard, and other files tomorrow. A command that a person
// names can be ended, and is theirs to answer for.
func (r *recorder) remoteEntry(path string, data []byte) *problem.Problem {
	for _, e := range append(pathEntries(data), loadedEntries(data)...) {
		value := e.Value
		if key, rest, ok := strings.Cut(value, "="); ok && !strings.ContainsAny(key, ":/?") {
			value = rest // of a generator: KEY=FILE
		}
		if !remoteForm.MatchString(value) {
			continue
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), value)); err == nil {
			continue
		}
		return &problem.Problem{Class: problem.Usage, Code: "render-remote", Where: r.at(path, e.Line), Summary: value + " is not in the project",
			Hint: "copy it into the project, so that the same manifests come out tomorrow; or have a command fetch it: " + r.byCommand()}
	}
	return nil
}

// byCommand is the source of kdev.yaml that renders the kustomization with what it fetches.
func (r *recorder) byCommand() string {
	dir := r.at(r.top, 0)
	return fmt.Sprintf("command: {run: [kubectl, kustomize, %s], inputs: [%s/*]}", dir, dir)
}

// pathEntries are the nodes of a kustomization that name files or folders.
func pathEntries(data []byte) []*yaml.Node {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	var entries []*yaml.Node
	for _, key := range []string{"resources", "components", "bases", "crds", "configurations", "patchesStrategicMerge", "generators", "transformers", "validators"} {
		list := mappingValue(doc.Content[0], key)
		if list == nil || list.Kind != yaml.SequenceNode {
			continue
		}
		for _, e := range list.Content {
			if e.Kind == yaml.ScalarNode && !strings.Contains(e.Value, "\n") { // a text is the thing itself
				entries = append(entries, e)
			}
		}
	}
	for _, key := range []string{"patches", "replacements"} {
		list := mappingValue(doc.Content[0], key)
		if list == nil || list.Kind != yaml.SequenceNode {
			continue
		}
		for _, e := range list.Content {
			if e.Kind != yaml.MappingNode {
				continue
			}
			if p := mappingValue(e, "path"); p != nil && p.Value != "" {
				entries = append(entries, p)
			}
		}
	}
	return entries
}

// loadedEntries are the nodes of a kustomization that name files which kustomize loads, and
// would fetch, beside those of pathEntries: those of generators, of older patches and of a schema.
func loadedEntries(data []byte) []*yaml.Node {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	var entries []*yaml.Node
	add := func(from *yaml.Node, key string) {
		switch n := mappingValue(from, key); {
		case n == nil:
		case n.Kind == yaml.ScalarNode:
			entries = append(entries, n)
		case n.Kind == yaml.SequenceNode:
			entries = append(entries, slices.DeleteFunc(slices.Clone(n.Content), func(e *yaml.Node) bool { return e.Kind != yaml.ScalarNode })...)
		}
	}
	for list, keys := range map[string][]string{"configMapGenerator": {"files", "envs", "env"}, "secretGenerator": {"files", "envs", "env"}, "patchesJson6902": {"path"}} {
		items := mappingValue(doc.Content[0], list)
		if items == nil || items.Kind != yaml.SequenceNode {
			continue
		}
		for _, item := range items.Content {
			for _, key := range keys {
				if item.Kind == yaml.MappingNode {
					add(item, key)
				}
			}
		}
	}
	if schema := mappingValue(doc.Content[0], "openapi"); schema != nil && schema.Kind == yaml.MappingNode {
		add(schema, "path")
	}
	slices.SortFunc(entries, func(a, b *yaml.Node) int { return a.Line - b.Line })
	return entries
}

// at writes a place as people read it: relative to the project, with the line.
func (r *recorder) at(path string, line int) string { return placeIn(r.root, path, line) }

func placeIn(root, path string, line int) string {
	if rel, err := filepath.Rel(root, path); err == nil {
		path = filepath.ToSlash(rel)
	}
	if line > 0 {
		return fmt.Sprintf("%s:%d", path, line)
	}
	return path
}

// originLines finds file and line of the document that a resource comes from.
type originLines struct {
	root, top string
	docs      map[string][]document // by absolute file
}

type document struct {
	ref  Ref
	line int
}

func (l *originLines) of(r *resource.Resource) string {
	origin, err := r.GetOrigin()
	if err != nil || origin == nil || origin.Repo != "" {
		return ""
	}
	if origin.ConfiguredIn != "" { // a generator made it
		return placeIn(l.root, filepath.Join(l.top, origin.ConfiguredIn), 0)
	}
	file := filepath.Join(l.top, origin.Path)
	if l.docs == nil {
		l.docs = map[string][]document{}
	}
	if _, known := l.docs[file]; !known {
		l.docs[file] = documents(file)
	}
	// kustomize has forgotten the name that a prefix or suffix was put to: of the
	// documents of this kind, the longest name within the new one is it.
	best := document{}
	for _, d := range l.docs[file] {
		if d.ref.Kind == r.GetKind() && strings.Contains(r.GetName(), d.ref.Name) && len(d.ref.Name) >= len(best.ref.Name) {
			best = d
		}
	}
	return placeIn(l.root, file, best.line)
}

// documents lists the objects of a file with their lines.
func documents(file string) []document {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var docs []document
	_ = eachDocument(data, func(node *yaml.Node) error {
		var head struct {
			Kind     string
			Metadata struct{ Name string }
			Items    []yaml.Node
		}
		if node.Decode(&head) == nil {
			docs = append(docs, document{Ref{head.Kind, head.Metadata.Name}, node.Line})
			for i := range head.Items { // of a List
				var item struct {
					Kind     string
					Metadata struct{ Name string }
				}
				if head.Items[i].Decode(&item) == nil {
					docs = append(docs, document{Ref{item.Kind, item.Metadata.Name}, head.Items[i].Line})
				}
			}
		}
		return nil
	})
	return docs
}
