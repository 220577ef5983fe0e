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
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kyaml "sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/problem"
)

// yamlLine finds the line that a YAML library's message names.
var yamlLine = regexp.MustCompile(`line (\d+)(?:: )?`)

// lineOf reads the line of a syntax error in data. The library counts the lines
// of its parser's errors, not those of its scanner's, from zero.
func lineOf(err error, data []byte) int {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	if strings.Contains(err.Error(), "did not find expected") {
		n++
	}
	return min(n, len(strings.Split(strings.TrimRight(string(data), "\n"), "\n")))
}

func withoutLine(err error) string {
	return strings.TrimPrefix(yamlLine.ReplaceAllString(err.Error(), ""), "yaml: ")
}

// eachDocument calls fn for the content of each document that has one.
func eachDocument(data []byte, fn func(*yaml.Node) error) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
			continue
		}
		if err := fn(doc.Content[0]); err != nil {
			return err
		}
	}
}

// yaml adds the objects of files and patterns, in the order of the patterns, then
// by name.
func (m *Manifests) yaml(ctx context.Context, root string, patterns []string) error {
	for _, pattern := range patterns {
		if strings.Contains(pattern, "://") {
			data, err := pinned(ctx, pattern, "")
			if err != nil {
				return err
			}
			address, _, _ := strings.Cut(pattern, "#")
			if err := m.yamlText(data, func(line int) string { return fmt.Sprintf("%s:%d", address, line) }); err != nil {
				return err
			}
			continue
		}
		abs := filepath.Join(root, filepath.FromSlash(pattern))
		if filepath.IsAbs(pattern) {
			abs = pattern
		}
		m.globs = append(m.globs, abs)
		files, err := filepath.Glob(abs)
		if err != nil {
			return &problem.Problem{Class: problem.Usage, Code: "manifest-missing", Where: pattern, Summary: "no pattern of file names", Err: err,
				Hint: "`*` and `?` stand for parts of a name"}
		}
		if len(files) == 0 {
			return &problem.Problem{Class: problem.Usage, Code: "manifest-missing", Where: pattern,
				Summary: "no manifest has this name", Hint: "correct `manifests:` in kdev.yaml"}
		}
		slices.Sort(files)
		for _, file := range files {
			if m.files[file] {
				continue // an earlier pattern has it
			}
			m.files[file] = true
			if err := m.yamlFile(root, file); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Manifests) yamlFile(root, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return m.yamlText(data, func(line int) string { return placeIn(root, file, line) })
}

// yamlText adds the objects of a text, whose lines are called as place says.
func (m *Manifests) yamlText(data []byte, place func(line int) string) error {
	invalid := func(line int, cause string) error {
		return &problem.Problem{Class: problem.Usage, Code: "manifest-invalid", Where: place(line), Summary: "this is no Kubernetes manifest",
			Err: errors.New(cause), Hint: "each document needs apiVersion, kind and metadata.name"}
	}
	err := eachDocument(data, func(node *yaml.Node) error {
		text, err := yaml.Marshal(node)
		if err != nil {
			return invalid(node.Line, err.Error())
		}
		var u unstructured.Unstructured
		if err := kyaml.Unmarshal(text, &u.Object); err != nil {
			return invalid(node.Line, err.Error())
		}
		objects, lines := []*unstructured.Unstructured{&u}, []int{node.Line}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				return invalid(node.Line, err.Error())
			}
			objects, lines = nil, nil
			items := mappingValue(node, "items")
			for i := range list.Items {
				objects, lines = append(objects, &list.Items[i]), append(lines, items.Content[i].Line)
			}
		}
		for i, o := range objects {
			switch {
			case o.GetAPIVersion() == "" || o.GetKind() == "":
				return invalid(lines[i], "apiVersion or kind is missing")
			case o.GetName() == "":
				return invalid(lines[i], "metadata.name is missing")
			}
			m.Objects = append(m.Objects, &Object{Unstructured: o, Origin: place(lines[i])})
		}
		return nil
	})
	if err != nil && problem.As(err) == nil {
		p := problem.As(invalid(lineOf(err, data), withoutLine(err)))
		p.Summary, p.Hint = "this is no YAML", "look at this line and the one before it: indentation and quotes are the usual causes"
		return p
	}
	return err
}
