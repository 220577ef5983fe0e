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
			// A key that stands twice there is not for who reads it to mend.
			if err := m.yamlText(data, false, func(line int) string { return fmt.Sprintf("%s:%d", address, line) }); err != nil {
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
	before := len(m.Objects)
	if err := m.yamlText(data, true, func(line int) string { return placeIn(root, file, line) }); err != nil {
		return err
	}
	if len(m.Objects) == before {
		m.Notes = append(m.Notes, placeIn(root, file, 0)+" holds no object")
	}
	return nil
}

// yamlText adds the objects of a text, whose lines are called as place says. A strict text
// has no key twice.
func (m *Manifests) yamlText(data []byte, strict bool, place func(line int) string) error {
	invalid := func(line int, cause string) error {
		return &problem.Problem{Class: problem.Usage, Code: "manifest-invalid", Where: place(line), Summary: "this is no Kubernetes manifest",
			Err: errors.New(cause), Hint: "each document needs apiVersion, kind and metadata.name"}
	}
	template := func(line int) error {
		return &problem.Problem{Class: problem.Usage, Code: "manifest-invalid", Where: place(line), Summary: "this looks like a template of a chart, not like a manifest",
			Hint: "name the chart's folder: manifests: {helm: {chart: FOLDER}}; what another tool renders goes under command:"}
	}
	err := eachDocument(data, func(node *yaml.Node) error {
		if cause := notMapping(node); cause != "" {
			return invalid(node.Line, cause)
		}
		if first, second := keyTwice(node); second != nil && strict {
			return &problem.Problem{Class: problem.Usage, Code: "manifest-invalid", Where: place(second.Line), Summary: "key " + second.Value + " stands twice",
				Hint: "the other one is at " + place(first.Line) + ": only one of them can count, so remove one"}
		}
		text, err := yaml.Marshal(node)
		if err != nil {
			return err
		}
		var u unstructured.Unstructured
		if err := kyaml.Unmarshal(text, &u.Object); err != nil {
			line := orLine(mappingKey(node), node.Line)
			if templateLine(data, line) == line {
				return template(line)
			}
			return invalid(line, withoutLine(err))
		}
		objects, nodes := []*unstructured.Unstructured{&u}, []*yaml.Node{node}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				return invalid(node.Line, err.Error())
			}
			objects, nodes = nil, mappingValue(node, "items").Content
			for i := range list.Items {
				objects = append(objects, &list.Items[i])
			}
		}
		for i, o := range objects {
			line := nodes[i].Line
			at, cause := notText(nodes[i], o)
			switch {
			case o.GetAPIVersion() == "" || o.GetKind() == "":
				return invalid(line, "apiVersion or kind is missing")
			case cause != "":
				return invalid(at, cause)
			case o.GetName() == "":
				return invalid(line, "metadata.name is missing")
			}
			m.Objects = append(m.Objects, &Object{Unstructured: o, Origin: place(line)})
		}
		return nil
	})
	if err != nil && problem.As(err) == nil && templateLine(data, lineOf(err, data)) > 0 {
		return template(templateLine(data, lineOf(err, data)))
	}
	if err != nil && problem.As(err) == nil {
		p := problem.As(invalid(lineOf(err, data), withoutLine(err)))
		p.Summary, p.Hint = "this is no YAML", "look at this line and the one before it: indentation and quotes are the usual causes"
		return p
	}
	return err
}

// notMapping says what a document is that is no object, "" where it is one.
func notMapping(node *yaml.Node) string {
	switch node.Kind {
	case yaml.ScalarNode:
		return fmt.Sprintf("there is a text, %q, where an object belongs", oneLine(node.Value, 60))
	case yaml.SequenceNode:
		return "there is a list where an object belongs"
	}
	return ""
}

// notText finds a name or namespace of an object that YAML takes for something else than a
// text, and says so.
func notText(node *yaml.Node, o *unstructured.Unstructured) (line int, cause string) {
	metadata, _ := o.Object["metadata"].(map[string]any)
	for _, key := range []string{"name", "namespace"} {
		switch metadata[key].(type) {
		case nil, string:
			continue
		}
		value := fmt.Sprint(metadata[key])
		line = node.Line
		if in := mappingValue(node, "metadata"); in != nil && in.Kind == yaml.MappingNode {
			if at := mappingValue(in, key); at != nil {
				line, value = at.Line, orElse(at.Value, value)
			}
		}
		return line, fmt.Sprintf("metadata.%s is no text, but %s%s", key, value, inQuotes)
	}
	return 0, ""
}

// keyTwice finds a key that a mapping has twice; nil where there is none.
func keyTwice(node *yaml.Node) (first, second *yaml.Node) {
	if node.Kind == yaml.MappingNode {
		seen := make(map[string]*yaml.Node, len(node.Content)/2)
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
				continue
			}
			if was := seen[key.Value]; was != nil {
				return was, key
			}
			seen[key.Value] = key
		}
	}
	for _, below := range node.Content { // an alias has none: its anchor is looked at where it stands
		if first, second = keyTwice(below); second != nil {
			return first, second
		}
	}
	return nil, nil
}

// mappingKey is the line of the first key that is a mapping itself, 0 where there is none.
func mappingKey(node *yaml.Node) int {
	if node.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Kind == yaml.MappingNode {
				return node.Content[i].Line
			}
		}
	}
	for _, below := range node.Content {
		if line := mappingKey(below); line > 0 {
			return line
		}
	}
	return 0
}

func orLine(line, otherwise int) int {
	if line == 0 {
		return otherwise
	}
	return line
}

// templateAction is how most actions of a chart's templates begin.
var templateAction = regexp.MustCompile(`\{\{-?\s*(?:[.$]|/\*|(?:if|else|end|range|with|include|template|define|block|toYaml|default|quote|printf)\b)`)

// templateLine is the line of a template's action where a mistake was found, or the one before
// it, 0 where there is none.
func templateLine(data []byte, line int) int {
	lines := bytes.Split(data, []byte("\n"))
	for _, n := range []int{line, line - 1} {
		if n > 0 && n <= len(lines) && templateAction.Match(lines[n-1]) {
			return n
		}
	}
	return 0
}
