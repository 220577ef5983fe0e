package cli

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// sourceKeys are the keys of an environment that name its one source.
var sourceKeys = []string{"kustomize", "yaml", "helm", "command"}

// ejectedConfig is kdev.yaml without app of the services, with the sources that were
// written down and the Secrets that stay kdev's. Comments stay where they are.
func ejectedConfig(p *config.Project, parts ejectParts, to string, secrets []secretKeys, environments []string) (string, error) {
	text, err := os.ReadFile(p.File)
	if err != nil {
		return "", err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return "", err
	}
	top := doc.Content[0]
	services := valueOf(top, "services")
	for _, name := range parts.services {
		svc := valueOf(services, name)
		for _, key := range []string{"app", "needs"} {
			if at := variableIn(valueOf(svc, key)); at != nil {
				return "", &problem.Problem{Class: problem.Usage, Code: "eject-variable", Where: fmt.Sprintf("%s:%d", config.FileName, at.Line),
					Summary: key + " of " + name + " has a variable, of which the value of this moment would be written down",
					Hint:    "write what it stands for, or put a value that nobody should see under secrets:"}
			}
		}
		removeKey(valueOf(services, name), "app")
	}
	for _, s := range secrets {
		made := flow("generate", wordList(s.keys))
		if len(s.in) < len(environments) {
			setKey(made, "only", wordList(s.in))
		}
		setKey(section(top, "secrets"), s.name, made)
	}
	for _, name := range environments {
		ours := flow("kustomize", word(path.Join(to, "overlays", name)))
		e, err := p.Environment(name)
		if err != nil {
			return "", err
		}
		if e.Up {
			addSource(top, "manifests", ours, e)
			continue
		}
		entry := valueOf(section(top, "environments"), name)
		if entry == nil {
			entry = &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
			setKey(section(top, "environments"), name, entry)
		}
		if entry.Kind != yaml.MappingNode { // a key without a value
			*entry = yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		}
		addSource(entry, "manifests", ours, e)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return "", fmt.Errorf("writing %s: %w", config.FileName, err)
	}
	return out.String(), enc.Close()
}

// variableIn is the first text in a node that has a ${NAME}; nil where none has.
func variableIn(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode && strings.Contains(strings.ReplaceAll(n.Value, "$${", ""), "${") {
		return n
	}
	for _, c := range n.Content {
		if at := variableIn(c); at != nil {
			return at
		}
	}
	return nil
}

// addSource puts a source behind those that a mapping names, or behind those that were
// detected for it. Where there is no other, a mapping of an environment is the source.
func addSource(in *yaml.Node, key string, ours *yaml.Node, e config.Environment) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	switch was := valueOf(in, key); {
	case was != nil && was.Kind == yaml.SequenceNode:
		was.Content = append(was.Content, ours)
		return
	case was != nil && was.Kind == yaml.MappingNode:
		list.Content = append(list.Content, was)
	default:
		for _, s := range sourceKeys {
			if v := valueOf(in, s); v != nil && !e.Up {
				list.Content = append(list.Content, flow(s, v))
				removeKey(in, s)
			}
		}
		if len(list.Content) == 0 {
			list.Content = detectedSources(e)
		}
	}
	switch {
	case len(list.Content) > 0:
		list.Content = append(list.Content, ours)
		setKey(in, key, list)
	case e.Up:
		setKey(in, key, ours)
	default:
		in.Content = append(in.Content, ours.Content...)
	}
}

// detectedSources are sources that no key named: kustomizations and files.
func detectedSources(e config.Environment) []*yaml.Node {
	var out []*yaml.Node
	for _, s := range e.Manifests {
		switch {
		case s.Kustomize != "":
			out = append(out, flow("kustomize", word(s.Kustomize)))
		case s.YAML != nil:
			out = append(out, flow("yaml", wordList(s.YAML)))
		}
	}
	return out
}

// section is the mapping of a key, which is made where it is not there.
func section(top *yaml.Node, key string) *yaml.Node {
	v := valueOf(top, key)
	if v == nil || v.Kind != yaml.MappingNode {
		v = &yaml.Node{Kind: yaml.MappingNode}
		setKey(top, key, v)
	}
	return v
}

func word(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func wordList(list []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, s := range list {
		n.Content = append(n.Content, word(s))
	}
	return n
}

func flow(key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle, Content: []*yaml.Node{word(key), value}}
}

func keyIndex(n *yaml.Node, key string) int {
	if n == nil || n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}

func valueOf(n *yaml.Node, key string) *yaml.Node {
	if i := keyIndex(n, key); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

func setKey(n *yaml.Node, key string, value *yaml.Node) {
	if i := keyIndex(n, key); i >= 0 {
		n.Content[i+1] = value
		return
	}
	n.Content = append(n.Content, word(key), value)
}

func removeKey(n *yaml.Node, key string) {
	if i := keyIndex(n, key); i >= 0 {
		n.Content = slices.Delete(n.Content, i, i+2)
	}
}
