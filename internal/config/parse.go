package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kdev-io/kdev/internal/problem"
)

// parse gives the top mapping of a file, or nil for an empty one.
func parse(name string, content []byte) (*yaml.Node, Problems) {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, Problems{syntaxProblem(name, content, err)}
	}
	var next yaml.Node
	switch err := dec.Decode(&next); {
	case err == nil:
		return nil, Problems{usage("config-yaml", position{name, next.Line}, "keep one document: take out the --- line and what follows", "a second document")}
	case !errors.Is(err, io.EOF):
		return nil, Problems{syntaxProblem(name, content, err)}
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].ShortTag() == "!!null" {
		return nil, nil
	}
	return doc.Content[0], nil
}

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

func syntaxProblem(name string, content []byte, err error) *problem.Problem {
	text := yamlPrefix.ReplaceAllString(err.Error(), "")
	hint := "look at this line and the one before it: indentation, quotes and brackets are the usual causes"
	switch {
	case strings.Contains(text, "cannot start any token") && strings.Contains(string(content), "\t"):
		hint = "indent with spaces: YAML takes no tabs"
	case strings.Contains(text, "mapping values are not allowed"):
		hint = "check the indentation; a value that holds a colon and a blank needs quotes"
	case strings.Contains(text, "could not find expected ':'"):
		hint = "a key needs a colon and a blank after it"
	case strings.Contains(text, "unknown anchor"), strings.Contains(text, "alphabetic or numeric character"):
		hint = "a value that starts with * or & needs quotes"
	case strings.Contains(text, "did not find expected key"), strings.Contains(text, "did not find expected '-' indicator"):
		hint = "check the indentation: keys of one mapping start in one column"
	}
	return usage("config-yaml", position{name, syntaxLine(content)}, hint, "not valid YAML: %s", text)
}

// syntaxLine finds the line that breaks a file: the one after the longest
// beginning that is valid by itself. The line in the parser's own error is
// often that of the mapping around it, or one off.
func syntaxLine(content []byte) int {
	lines := bytes.SplitAfter(content, []byte("\n"))
	if len(lines) > 2000 {
		return 1 // every beginning is parsed; no configuration is that long
	}
	for n := len(lines) - 1; n > 0; n-- {
		var doc yaml.Node
		err := yaml.Unmarshal(bytes.Join(lines[:n], nil), &doc)
		if err == nil {
			return n + 1
		}
	}
	return 1
}

// overlay lays the values of over on base: mappings key by key, anything else
// as a whole. What comes from over is noted in origin with its file.
func overlay(base, over *yaml.Node, file string, origin map[*yaml.Node]string) *yaml.Node {
	if base == nil || base.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode {
		mark(over, file, origin)
		return over
	}
	merged := *base
	merged.Content = append([]*yaml.Node(nil), base.Content...)
	for i := 0; i+1 < len(over.Content); i += 2 {
		k, v := over.Content[i], over.Content[i+1]
		at := -1
		for j := 0; j+1 < len(base.Content); j += 2 {
			if base.Content[j].Value == k.Value && k.Kind == yaml.ScalarNode {
				at = j
			}
		}
		if at < 0 || seenBefore(over, i) {
			mark(k, file, origin)
			mark(v, file, origin)
			merged.Content = append(merged.Content, k, v)
			continue
		}
		merged.Content[at+1] = overlay(base.Content[at+1], v, file, origin)
		if merged.Content[at+1] == v {
			mark(k, file, origin)
			merged.Content[at] = k
		}
	}
	if f, ok := origin[base]; ok {
		origin[&merged] = f
	}
	return &merged
}

// seenBefore says whether the key at i is a repetition, which has to reach
// the decoder to be reported.
func seenBefore(n *yaml.Node, i int) bool {
	for j := 0; j < i; j += 2 {
		if n.Content[j].Value == n.Content[i].Value {
			return true
		}
	}
	return false
}

func mark(n *yaml.Node, file string, origin map[*yaml.Node]string) {
	if _, ok := origin[n]; ok {
		return
	}
	origin[n] = file
	for _, c := range n.Content {
		mark(c, file, origin)
	}
	if n.Alias != nil {
		mark(n.Alias, file, origin)
	}
}
