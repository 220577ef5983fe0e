package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kdev-io/kdev/internal/problem"
)

var (
	unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)
	registeredID = regexp.MustCompile(`already registered id: ([^/\s']+)/([^'\s]+?)\.`)
	noMatch      = regexp.MustCompile(`no matches for Id ([^\s.]+)[^/]*/([^\s;]+?)\.`)
	jsonPath     = regexp.MustCompile(`doc is missing path: "?([^\s":]+)`)
	wrapping     = regexp.MustCompile(`(?:accumulating (?:resources|components)(?: from '[^']*')?|accumulation err='|merging resources from '[^']*'|recursed (?:accumulation|merging) (?:of|from) path '[^']*')(?:: )?`)
)

// explain turns kustomize's nested message into a place and a cause. kustomize
// counts lines within a document and names folders only, so the files that it had
// read are looked at again.
func (r *recorder) explain(err error) error {
	if r.refused != nil {
		return r.refused
	}
	p := &problem.Problem{Class: problem.Usage, Code: "render-failed", Summary: "the kustomization does not render",
		Where: r.at(r.top, 0), Hint: "`kubectl kustomize " + r.at(r.top, 0) + "` should say the same; mend it and save"}
	text := strings.ReplaceAll(err.Error(), r.root+string(filepath.Separator), "")
	p.Err = errors.New(plainKustomize(text))
	if last := r.lastKustomization(); last != "" {
		p.Where = r.at(last, 0)
	}
	for _, look := range []func(string, *problem.Problem) bool{r.syntaxError, r.missingEntry, r.wrongDocument, r.unknownKey, r.twice, r.patchWithoutTarget, r.missingPath, r.mentioned} {
		if look(err.Error(), p) {
			break
		}
	}
	return p
}

func (r *recorder) lastKustomization() string {
	for _, file := range slices.Backward(r.read) {
		if isKustomization(file) {
			return file
		}
	}
	return ""
}

// syntaxError finds the first file that is no YAML.
func (r *recorder) syntaxError(_ string, p *problem.Problem) bool {
	for _, file := range r.read {
		if ext := filepath.Ext(file); ext != ".yaml" && ext != ".yml" && !isKustomization(file) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if err := eachDocument(data, func(*yaml.Node) error { return nil }); err != nil {
			p.Where, p.Summary, p.Err = r.at(file, lineOf(err, data)), "this is no YAML", errors.New(withoutLine(err))
			p.Hint = "look at this line and the one before it: indentation and quotes are the usual causes"
			return true
		}
	}
	return false
}

// missingEntry finds a file or folder that a kustomization names and is not there.
func (r *recorder) missingEntry(_ string, p *problem.Problem) bool {
	for _, file := range r.read {
		if !isKustomization(file) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, e := range append(pathEntries(data), generatorFiles(data)...) {
			path := filepath.Join(filepath.Dir(file), e.Value)
			if _, err := os.Stat(path); err != nil && !remoteForm.MatchString(e.Value) {
				p.Where, p.Summary, p.Err = r.at(file, e.Line), "there is no "+e.Value, nil
				p.Hint = "create " + r.at(path, 0) + ", or correct this line"
				return true
			}
		}
	}
	return false
}

// generatorFiles are the files that generators read: "key=file" or "file".
func generatorFiles(data []byte) []*yaml.Node {
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	var files []*yaml.Node
	for _, key := range []string{"configMapGenerator", "secretGenerator"} {
		list := mappingValue(doc.Content[0], key)
		if list == nil {
			continue
		}
		for _, generator := range list.Content {
			if generator.Kind != yaml.MappingNode {
				continue
			}
			for _, field := range []string{"files", "envs"} {
				sources := mappingValue(generator, field)
				if sources == nil {
					continue
				}
				for _, s := range sources.Content {
					_, file, ok := strings.Cut(s.Value, "=")
					if !ok {
						file = s.Value
					}
					files = append(files, &yaml.Node{Kind: yaml.ScalarNode, Value: file, Line: s.Line})
				}
			}
		}
	}
	return files
}

// wrongDocument finds a document without kind or name.
func (r *recorder) wrongDocument(text string, p *problem.Problem) bool {
	if !strings.Contains(text, "missing kind in object") && !strings.Contains(text, "missing metadata.name") {
		return false
	}
	for _, file := range r.read {
		if isKustomization(file) {
			continue
		}
		for _, d := range documents(file) {
			if d.ref.Kind == "" || d.ref.Name == "" && !strings.HasSuffix(d.ref.Kind, "List") {
				p.Where, p.Code, p.Summary, p.Err = r.at(file, d.line), "manifest-invalid", "this is no Kubernetes manifest", errors.New("kind or metadata.name is missing")
				p.Hint = "each document needs apiVersion, kind and metadata.name"
				return true
			}
		}
	}
	return false
}

// unknownKey finds a key that kustomize does not know.
func (r *recorder) unknownKey(text string, p *problem.Problem) bool {
	m := unknownField.FindStringSubmatch(text)
	file := r.lastKustomization()
	if m == nil || file == "" {
		return false
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil {
		return false
	}
	if line := keyLine(&doc, m[1]); line > 0 {
		p.Where, p.Summary, p.Err = r.at(file, line), fmt.Sprintf("a kustomization has no key %q here", m[1]), nil
		p.Hint = "correct the key; the usual ones are resources, components, patches, images, configMapGenerator"
		return true
	}
	return false
}

func keyLine(n *yaml.Node, key string) int {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i].Line
			}
		}
	}
	for _, c := range n.Content {
		if line := keyLine(c, key); line > 0 {
			return line
		}
	}
	return 0
}

// twice finds the second of two documents for the same object.
func (r *recorder) twice(text string, p *problem.Problem) bool {
	m := registeredID.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	kind, _, _ := strings.Cut(m[1], ".")
	var places []string
	for _, file := range r.read {
		if isKustomization(file) {
			continue
		}
		for _, d := range documents(file) {
			if d.ref == (Ref{kind, m[2]}) {
				places = append(places, r.at(file, d.line))
			}
		}
	}
	if len(places) < 2 {
		return false
	}
	p.Code, p.Where, p.Summary, p.Err = "manifest-duplicate", places[1], kind+"/"+m[2]+" is there twice", nil
	p.Hint = "the other one is at " + places[0]
	return true
}

// patchWithoutTarget finds a patch whose object is not there.
func (r *recorder) patchWithoutTarget(text string, p *problem.Problem) bool {
	m := noMatch.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	ref := Ref{m[1], m[2]}
	p.Summary, p.Err = "a patch changes "+ref.String()+", which is not there", nil
	p.Hint = "correct the patch's kind and name, or remove it"
	for _, file := range slices.Backward(r.read) {
		for _, d := range documents(file) {
			if d.ref == ref && !isKustomization(file) {
				p.Where = r.at(file, d.line)
				return true
			}
		}
	}
	return true
}

// missingPath finds the JSON patch that changes a field which is not there.
func (r *recorder) missingPath(text string, p *problem.Problem) bool {
	m := jsonPath.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	for _, file := range slices.Backward(r.read) {
		if line := r.lineWith(file, m[1]); line > 0 {
			p.Where, p.Summary = r.at(file, line), "a patch changes "+m[1]+", and there is no such field"
			p.Hint = "correct the path; `op: add` makes a field in an object that is there"
			return true
		}
	}
	return false
}

// mentioned finds the file that the message names: the last that was read, and
// the line that names it where that is an entry of a kustomization.
func (r *recorder) mentioned(text string, p *problem.Problem) bool {
	for _, file := range slices.Backward(r.read) {
		if isKustomization(file) || !strings.Contains(text, filepath.Base(file)) {
			continue
		}
		p.Where = r.at(file, 0)
		if kustomization := r.lastKustomization(); kustomization != "" {
			if line := r.lineWith(kustomization, filepath.Base(file)); line > 0 {
				p.Where += " (" + r.at(kustomization, line) + ")"
			}
		}
		return true
	}
	return false
}

// lineWith finds the first line of a file that has a text, 0 when none has.
func (r *recorder) lineWith(file, text string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if strings.Contains(line, text) {
			return n
		}
	}
	return 0
}

// plainKustomize drops what kustomize says about its own ways.
func plainKustomize(text string) string {
	text, _, _ = strings.Cut(text, "': must build at directory")
	text = wrapping.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
	return bothEnds(strings.TrimLeft(text, ": "), 600)
}

// bothEnds shortens a message in its middle: kustomize names the file at the start,
// and the field at the end.
func bothEnds(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit/2-1]) + " … " + string(runes[len(runes)-limit/2+2:])
}
