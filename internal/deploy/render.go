package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	kyaml "sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/problem"
)

// A Source is one place that manifests come from; paths are relative to the
// root. Just one field is set.
type Source struct {
	Kustomize string   // folder with a kustomization
	YAML      []string // files and patterns of filepath.Match
}

// Manifests is what sources render to.
type Manifests struct {
	Objects []*Object
	files   map[string]bool // absolute paths that were read
	globs   []string        // absolute patterns
}

// Reads says whether a file (absolute) takes part in the render, or would if
// it were there.
func (m *Manifests) Reads(file string) bool {
	if m == nil {
		return false
	}
	return m.files[file] || slices.ContainsFunc(m.globs, func(glob string) bool {
		ok, _ := filepath.Match(glob, file)
		return ok
	})
}

// kustomizing serialises kustomize: it keeps its OpenAPI schema in
// package-global state and sets it at each run.
var kustomizing sync.Mutex

// Render renders sources in their order. The Manifests are never nil: after
// an error they still know which files were read, so that a change of one of
// them can be noticed. Problems: render-failed, manifest-invalid,
// manifest-missing.
func Render(ctx context.Context, root string, sources []Source) (*Manifests, error) {
	m := &Manifests{files: map[string]bool{}}
	for _, s := range sources {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		var err error
		if s.Kustomize != "" {
			err = m.kustomize(root, s.Kustomize)
		} else {
			err = m.yaml(root, s.YAML)
		}
		if err != nil {
			return m, err
		}
	}
	m.findOrigins(root)
	return m, duplicates(m.Objects)
}

// recorder is a disk that remembers which files were read.
type recorder struct {
	filesys.FileSystem
	read func(path string)
}

func (r recorder) ReadFile(path string) ([]byte, error) {
	r.read(path)
	return r.FileSystem.ReadFile(path)
}

func (m *Manifests) kustomize(root, dir string) error {
	kustomizing.Lock()
	defer kustomizing.Unlock()
	disk := recorder{filesys.MakeFsOnDisk(), func(path string) {
		if abs, err := filepath.Abs(path); err == nil {
			m.files[abs] = true
		}
	}}
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, filepath.Join(root, dir))
	if err != nil {
		return kustomizeProblem(root, dir, err)
	}
	for _, r := range result.Resources() {
		b, err := r.AsYAML()
		if err != nil {
			return fmt.Errorf("reading what kustomize made of %s: %w", dir, err)
		}
		var u unstructured.Unstructured
		if err := kyaml.Unmarshal(b, &u.Object); err != nil {
			return fmt.Errorf("reading what kustomize made of %s: %w", dir, err)
		}
		m.Objects = append(m.Objects, &Object{&u, ""})
	}
	return nil
}

// yamlLine finds the line that a YAML library's message names.
var yamlLine = regexp.MustCompile(`line (\d+)`)

// kustomizeProblem keeps the innermost part of kustomize's nested message and
// the file that it is about.
func kustomizeProblem(root, dir string, err error) error {
	text := strings.ReplaceAll(err.Error(), root+string(filepath.Separator), "")
	where := dir
	for _, name := range regexp.MustCompile(`[\w./-]+\.(?:ya?ml|json|env|properties)`).FindAllString(text, -1) {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			where = name
		}
	}
	if line := yamlLine.FindStringSubmatch(text); line != nil && where != dir {
		where += ":" + line[1]
	}
	return &problem.Problem{
		Class: problem.Usage, Code: "render-failed", Where: where,
		Summary: "the kustomization does not render", Err: errors.New(firstLine(text)),
		Hint: "`kubectl kustomize " + dir + "` should say the same; mend it and save",
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

func (m *Manifests) yaml(root string, patterns []string) error {
	for _, pattern := range patterns {
		abs := filepath.Join(root, filepath.FromSlash(pattern))
		m.globs = append(m.globs, abs)
		files, err := filepath.Glob(abs)
		if err != nil {
			return &problem.Problem{Class: problem.Usage, Code: "manifest-missing", Where: pattern, Summary: "no pattern of file names", Err: err}
		}
		if len(files) == 0 {
			return &problem.Problem{Class: problem.Usage, Code: "manifest-missing", Where: pattern,
				Summary: "no manifest has this name", Hint: "correct `manifests:` in kdev.yaml"}
		}
		slices.Sort(files)
		for _, file := range files {
			m.files[file] = true
			if err := m.yamlFile(root, file); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Manifests) yamlFile(root, file string) error {
	rel, err := filepath.Rel(root, file)
	if err != nil {
		rel = file
	}
	rel = filepath.ToSlash(rel)
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	invalid := func(line int, err error) error {
		where := rel
		if line > 0 {
			where = fmt.Sprintf("%s:%d", rel, line)
		}
		return &problem.Problem{Class: problem.Usage, Code: "manifest-invalid", Where: where, Summary: "this is no Kubernetes manifest", Err: err,
			Hint: "each document needs apiVersion, kind and metadata.name"}
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			line := 0
			if found := yamlLine.FindStringSubmatch(err.Error()); found != nil {
				fmt.Sscan(found[1], &line)
			}
			return invalid(line, err)
		}
		if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
			continue
		}
		text, err := yaml.Marshal(&doc)
		if err != nil {
			return invalid(doc.Line, err)
		}
		var u unstructured.Unstructured
		if err := kyaml.Unmarshal(text, &u.Object); err != nil {
			return invalid(doc.Content[0].Line, err)
		}
		objects := []*unstructured.Unstructured{&u}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				return invalid(doc.Content[0].Line, err)
			}
			objects = nil
			for i := range list.Items {
				objects = append(objects, &list.Items[i])
			}
		}
		for _, o := range objects {
			if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
				return invalid(doc.Content[0].Line, errors.New("apiVersion, kind or metadata.name is missing"))
			}
			m.Objects = append(m.Objects, &Object{o, fmt.Sprintf("%s:%d", rel, doc.Content[0].Line)})
		}
	}
}

// findOrigins looks in the files that were read for the documents that
// objects came from. One whose name a generator or a prefix changed stays
// without origin.
func (m *Manifests) findOrigins(root string) {
	known := map[Ref]string{}
	for file := range m.files {
		if ext := filepath.Ext(file); ext != ".yaml" && ext != ".yml" {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			continue
		}
		dec := yaml.NewDecoder(bytes.NewReader(b))
		for {
			var doc struct {
				Kind     yaml.Node
				Metadata struct{ Name string }
				Spec     yaml.Node
			}
			var node yaml.Node
			if err := dec.Decode(&node); err != nil {
				break
			}
			if err := node.Decode(&doc); err != nil || len(node.Content) == 0 || doc.Metadata.Name == "" {
				continue
			}
			ref := Ref{doc.Kind.Value, doc.Metadata.Name}
			at := fmt.Sprintf("%s:%d", filepath.ToSlash(rel), node.Content[0].Line)
			// A patch repeats kind and name; the document with the most in it is
			// taken for the original, the first file breaks ties.
			if old, ok := known[ref]; !ok || at < old {
				known[ref] = at
			}
		}
	}
	for _, o := range m.Objects {
		if o.Origin == "" {
			o.Origin = known[RefOf(o)]
		}
	}
}

// duplicates refuses the same object twice: the second would silently win.
func duplicates(objects []*Object) error {
	type key struct{ group, kind, namespace, name string }
	seen := map[key]*Object{}
	for _, o := range objects {
		k := key{o.GroupVersionKind().Group, o.GetKind(), o.GetNamespace(), o.GetName()}
		if first := seen[k]; first != nil {
			return &problem.Problem{Class: problem.Usage, Code: "manifest-duplicate", Where: o.Origin,
				Summary: RefOf(o).String() + " is there twice", Hint: "the other one is at " + first.Origin}
		}
		seen[k] = o
	}
	return nil
}
