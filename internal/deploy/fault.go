package deploy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// A fault is one field that the API server refuses.
type fault struct {
	path string // spec.template.spec.containers[name="web"].image, "" for the whole object
	text string // in plain words
	key  string // `name="A"`, of the list item that is there twice
}

var (
	// .spec.ports: duplicate entries for key [port=80,protocol="TCP"]
	typedFault = regexp.MustCompile(`(?m)^\s*\.((?:[\w/-]+|\[[^\]]*\]|\.)+): (.+)$`)
	duplicate  = regexp.MustCompile(`duplicate entries for key \[(.+)\]`)
	// What validation says of a claim ends with both specs as Go writes them.
	goDump   = regexp.MustCompile(`(?s)\s*\n\s*&?(?:\w+\.)?[A-Z]\w*\{.*`)
	expected = regexp.MustCompile(`expected ([a-z]+)(?: \([^)]*\))?, got (?:&value\.valueUnstructured\{Value:(.*)\}|(.*))`)
)

// faults reads the fields that a refusal is about: from the causes of an Invalid,
// or from the text in which structured-merge-diff says what it could not read.
func faults(err error) []fault {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return nil
	}
	s := status.Status()
	var found []fault
	if s.Details != nil {
		for _, c := range s.Details.Causes {
			if c.Field != "" {
				found = append(found, fault{path: fieldOf(c.Field), text: goDump.ReplaceAllString(c.Message, "")})
			}
		}
	}
	if len(found) > 0 {
		return found
	}
	_, typed, ok := strings.Cut(s.Message, "failed to create typed patch object (")
	if !ok {
		return nil
	}
	_, typed, _ = strings.Cut(typed, "): ")
	for _, m := range typedFault.FindAllStringSubmatch(strings.TrimPrefix(typed, "errors:"), -1) {
		f := fault{path: m[1], text: m[2]}
		switch {
		case strings.Contains(f.text, "field not declared in schema"):
			f.text = "there is no such field"
		case duplicate.MatchString(f.text):
			f.key = duplicate.FindStringSubmatch(f.text)[1]
			f.text = "there are two items with " + f.key + ", of which only one can count"
		case expected.MatchString(f.text):
			e := expected.FindStringSubmatch(f.text)
			f.text = "a " + strings.Replace(e[1], "numeric", "number", 1) + " belongs here" + notValue + e[2] + e[3]
			if e[1] == "string" {
				f.text += inQuotes
			}
		}
		found = append(found, f)
	}
	return found
}

// fieldOf is the path of a cause, "" where the API server means the whole object: it writes
// an empty path as [] (a ConfigMap that is too long) and one that is nil as <nil> (a rule
// at the root of a CRD).
func fieldOf(path string) string {
	if path == "[]" || path == "<nil>" {
		return ""
	}
	return path
}

// String is a fault as a person reads it.
func (f fault) String() string {
	if f.path == "" {
		return f.text
	}
	return f.path + ": " + f.text
}

// notValue and inQuotes stand around the value that a fault quotes.
const notValue, inQuotes = ", not ", ": put it in quotes"

// invalidValue is how the API server's validation quotes a value before it says what is
// wrong with it (k8s.io/apimachinery/pkg/util/validation/field, Error.ErrorBody).
var invalidValue = regexp.MustCompile(`(?s)^(?:Invalid|Unsupported|Duplicate) value: (?:"(?:[^"\\]|\\.)*"|[^:]*)(?:: )?`)

// ofSecret is a fault of a Secret without the value that it quotes.
func (f fault) ofSecret() fault {
	if !ofValues(f.path) {
		return f
	}
	f.text = orElse(invalidValue.ReplaceAllString(f.text, ""), "it is not valid")
	if text, _, ok := strings.Cut(f.text, notValue); ok {
		quotes := strings.HasSuffix(f.text, inQuotes)
		if f.text = text; quotes {
			f.text += inQuotes
		}
	}
	return f
}

// line finds the line of a fault in the file that the object comes from, 0 when
// it is not there: a patch or a generator may have put it in.
func (f fault) line(root, origin string) (file string, line int) {
	file, at, ok := strings.Cut(origin, ":")
	start, err := strconv.Atoi(at)
	if !ok || err != nil {
		return "", 0
	}
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return "", 0
	}
	_ = eachDocument(data, func(node *yaml.Node) error {
		for _, object := range append([]*yaml.Node{node}, itemsOf(node)...) {
			if object.Line == start {
				line = f.find(object)
			}
		}
		return nil
	})
	return file, line
}

func itemsOf(list *yaml.Node) []*yaml.Node {
	if list.Kind != yaml.MappingNode {
		return nil
	}
	if items := mappingValue(list, "items"); items != nil {
		return items.Content
	}
	return nil
}

// step of a path: a field, an index or the keys of an item.
var pathStep = regexp.MustCompile(`\[([^\]]*)\]|([^.\[\]]+)`)

// find walks down as far as the document has the path and returns the line there.
func (f fault) find(node *yaml.Node) int {
	line := 0
	for _, m := range pathStep.FindAllStringSubmatch(f.path, -1) {
		next, at := child(node, m[1], m[2])
		if next == nil {
			return line
		}
		node, line = next, at
	}
	if f.key != "" && node.Kind == yaml.SequenceNode {
		seen := false
		for _, item := range node.Content {
			if !hasYAMLKeys(item, f.key) {
				continue
			}
			if seen {
				return item.Line
			}
			seen = true
		}
	}
	return line
}

// child takes one step: item is "0" or `name="web"`, field a key. Neither is a step of `[]`,
// which leads nowhere.
func child(node *yaml.Node, item, field string) (*yaml.Node, int) {
	switch {
	case field == "" && item == "":
		return nil, 0
	case field == "" && node.Kind == yaml.MappingNode: // annotations[example.com/x]
		field = item
	}
	if field != "" {
		if node.Kind != yaml.MappingNode {
			return nil, 0
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == field {
				return node.Content[i+1], node.Content[i].Line
			}
		}
		return nil, 0
	}
	if node.Kind != yaml.SequenceNode {
		return nil, 0
	}
	if i, err := strconv.Atoi(item); err == nil && i >= 0 && i < len(node.Content) {
		return node.Content[i], node.Content[i].Line
	}
	for _, n := range node.Content {
		if hasYAMLKeys(n, item) {
			return n, n.Line
		}
	}
	return nil, 0
}

// hasYAMLKeys says whether an item has the keys `port=80,protocol="TCP"`; one that
// is left out is taken for its default.
func hasYAMLKeys(item *yaml.Node, keys string) bool {
	if item.Kind != yaml.MappingNode {
		return false
	}
	some := false
	for _, pair := range strings.Split(keys, ",") {
		key, want, ok := strings.Cut(pair, "=")
		if !ok {
			return false
		}
		var text string
		if json.Unmarshal([]byte(want), &text) != nil {
			text = want
		}
		have := mappingValue(item, key)
		if have == nil {
			continue
		}
		if have.Value != text {
			return false
		}
		some = true
	}
	return some
}
