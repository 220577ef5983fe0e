package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kdev-io/kdev/internal/problem"
)

// maxAliases bounds how often YAML aliases are followed, so that a small file
// cannot describe a huge one.
const maxAliases = 1000

// A decoder fills the types of file.go from YAML nodes, and reports what does
// not fit instead of stopping at it. It works on nodes rather than through
// yaml.Unmarshal because only they know their lines, duplicate keys and how a
// value was written.
type decoder struct {
	file     string                // of nodes that are not in origin
	origin   map[*yaml.Node]string // file of nodes that an overlay brought
	vars     *variables
	problems Problems
	at       map[string]position // position of each value, by dotted path
	aliases  int
}

func (d *decoder) pos(n *yaml.Node) position {
	if f, ok := d.origin[n]; ok {
		return position{f, n.Line}
	}
	return position{d.file, n.Line}
}

func (d *decoder) add(p *problem.Problem) { d.problems = append(d.problems, p) }

// position finds the line of a value, or of the nearest value around it.
func (d *decoder) position(path string) position {
	for {
		if p, ok := d.at[path]; ok {
			return p
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return position{file: d.file}
		}
		path = path[:i]
	}
}

// value decodes n into v, a settable value of one of file.go's types. rule is
// the tag of the field that v belongs to.
func (d *decoder) value(n *yaml.Node, path string, rule reflect.StructTag, v reflect.Value) {
	n = d.follow(n)
	if n == nil {
		return
	}
	if _, seen := d.at[path]; !seen {
		d.at[path] = d.pos(n)
	}
	if dec, ok := special(v.Addr().Interface()); ok {
		dec(d, n, path, rule)
		return
	}
	switch v.Kind() {
	case reflect.String:
		if s, ok := d.str(n, path, rule); ok {
			v.SetString(s)
		}
	case reflect.Int:
		d.integer(n, path, rule, v)
	case reflect.Bool:
		if tag, s, ok := d.scalar(n, path, "true or false"); ok {
			if tag != "!!bool" {
				d.wrongType(n, path, "true or false")
				return
			}
			v.SetBool(strings.EqualFold(s, "true"))
		}
	case reflect.Slice:
		d.list(n, path, rule, v)
	case reflect.Map:
		d.dict(n, path, rule, v)
	case reflect.Struct:
		d.object(n, path, v)
	default:
		panic("config: no decoder for " + v.Type().String())
	}
}

func (d *decoder) object(n *yaml.Node, path string, v reflect.Value) {
	pairs, ok := d.mapping(n, path)
	if !ok {
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]bool{}
	for _, kv := range pairs {
		key := kv.key.Value
		seen[key] = true
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		if i < 0 {
			d.unknown(kv.key, path, fields)
			continue
		}
		f := fields[i]
		sub := join(path, key)
		d.at[sub] = d.pos(kv.key)
		if f.later {
			d.add(usage("config-unsupported", d.pos(kv.key),
				"take the key out; this version of kdev has no such feature",
				"%s is not supported yet", sub))
			continue
		}
		d.value(kv.value, sub, f.tag, v.Field(f.index))
	}
	for _, f := range fields {
		if f.tag.Get("required") == "true" && !seen[f.key] {
			d.add(usage("config-value", d.pos(n), "add "+f.key+": "+f.tag.Get("doc"), "%s has no %s", path, f.key))
		}
	}
}

func (d *decoder) dict(n *yaml.Node, path string, rule reflect.StructTag, v reflect.Value) {
	pairs, ok := d.mapping(n, path)
	if !ok {
		return
	}
	m := reflect.MakeMap(v.Type())
	for _, kv := range pairs {
		sub := join(path, kv.key.Value)
		d.at[sub] = d.pos(kv.key)
		d.check(kv.key, path, kv.key.Value, rule.Get("keys"))
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(kv.value, sub, "", e)
		m.SetMapIndex(reflect.ValueOf(kv.key.Value), e)
	}
	v.Set(m)
}

func (d *decoder) list(n *yaml.Node, path string, rule reflect.StructTag, v reflect.Value) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrongType(n, path, "a list")
		return
	}
	s := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, e := range n.Content {
		d.value(e, fmt.Sprintf("%s[%d]", path, i), rule, s.Index(i))
	}
	v.Set(s)
}

func (d *decoder) integer(n *yaml.Node, path string, rule reflect.StructTag, v reflect.Value) {
	tag, s, ok := d.scalar(n, path, "a whole number")
	if !ok {
		return
	}
	i, err := strconv.Atoi(s)
	if tag != "!!int" || err != nil {
		d.wrongType(n, path, "a whole number")
		return
	}
	lo, hi := bounds(rule)
	if i < lo || i > hi {
		d.add(usage("config-value", d.pos(n), fmt.Sprintf("take a number from %d to %d", lo, hi), "%s is %d", path, i))
		return
	}
	v.SetInt(int64(i))
}

// str is a string that was written as one: 123 is a number, "123" is not.
func (d *decoder) str(n *yaml.Node, path string, rule reflect.StructTag) (string, bool) {
	tag, s, ok := d.scalar(n, path, "a string")
	if !ok {
		return "", false
	}
	if tag != "!!str" {
		d.add(usage("config-type", d.pos(n), fmt.Sprintf("put it in quotes: %q", s), "%s must be a string, not %s", path, typeName(n)))
		return "", false
	}
	if s == "" {
		d.add(usage("config-value", d.pos(n), "give it a value, or take the key out", "%s is empty", path))
		return "", false
	}
	if enum := rule.Get("enum"); enum != "" {
		values := strings.Split(enum, ",")
		if !slices.Contains(values, s) {
			d.add(usage("config-value", d.pos(n), didYouMean(s, values, "it must be "+strings.Join(values, " or ")), "%s is %q", path, s))
			return "", false
		}
	}
	return s, d.check(n, path, s, rule.Get("check"))
}

func (d *decoder) check(n *yaml.Node, path, s, name string) bool {
	if name == "" {
		return true
	}
	c := checks[name]
	if c.holds(name, s) {
		return true
	}
	d.add(usage("config-value", d.pos(n), c.hint, "%s: %q is not %s", path, s, c.want))
	return false
}

// scalar is a scalar's type and text after variables were replaced. A plain
// ${N} takes the type of what it became, so that nodes: ${NODES} is a number.
func (d *decoder) scalar(n *yaml.Node, path, want string) (tag, s string, ok bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.wrongType(n, path, want)
		return "", "", false
	}
	if !strings.Contains(n.Value, "${") {
		return n.ShortTag(), n.Value, true
	}
	s, p := d.vars.expand(n.Value, d.pos(n))
	if p != nil {
		d.add(p)
		return "", "", false
	}
	if n.Style != 0 || n.Tag != "!!str" {
		return n.ShortTag(), s, true
	}
	plain := yaml.Node{Kind: yaml.ScalarNode, Value: s}
	if tag := plain.ShortTag(); tag == "!!int" || tag == "!!float" || tag == "!!bool" {
		return tag, s, true
	}
	return "!!str", s, true
}

type pair struct{ key, value *yaml.Node }

// mapping gives a mapping's pairs, without those whose key is no plain string
// or was there before. Nothing (a key with no value) is an empty mapping.
func (d *decoder) mapping(n *yaml.Node, path string) ([]pair, bool) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return nil, true
	}
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, path, "a mapping")
		return nil, false
	}
	var pairs []pair
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := d.follow(n.Content[i])
		switch {
		case k == nil:
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			d.add(usage("config-yaml", d.pos(k), "write the keys out, or use an anchor for a whole value", "merge keys (<<) are not supported"))
		case k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null":
			d.add(usage("config-type", d.pos(k), "a key is one word before a colon", "a key of %s is %s", orTop(path), typeName(k)))
		case first[k.Value] != nil:
			d.add(usage("config-duplicate-key", d.pos(k), "keep one of the two",
				"%s is there twice, first on line %d", join(path, k.Value), first[k.Value].Line))
		default:
			first[k.Value] = k
			pairs = append(pairs, pair{k, n.Content[i+1]})
		}
	}
	return pairs, true
}

// follow resolves an alias, and is nil when there were too many.
func (d *decoder) follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		d.aliases++
		if d.aliases > maxAliases {
			if d.aliases == maxAliases+1 {
				d.add(usage("config-yaml", d.pos(n), "write the values out", "more than %d aliases", maxAliases))
			}
			return nil
		}
		n = n.Alias
	}
	return n
}

func (d *decoder) wrongType(n *yaml.Node, path, want string) {
	hint := ""
	switch {
	case want == "a list" && n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null":
		hint = fmt.Sprintf("write it as a list: [%s]", n.Value)
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		hint = "give it a value, or take the key out"
	case want == "true or false":
		hint = "write true or false"
	}
	d.add(usage("config-type", d.pos(n), hint, "%s must be %s, not %s", orTop(path), want, typeName(n)))
}

func typeName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	case "!!timestamp":
		return "the date " + n.Value
	}
	return fmt.Sprintf("%q", n.Value)
}

// A field is one key of an object.
type field struct {
	key   string
	index int
	tag   reflect.StructTag
	typ   reflect.Type
	later bool
}

func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Tag.Get("yaml") == "-" {
			continue
		}
		fs = append(fs, field{f.Tag.Get("yaml"), i, f.Tag, f.Type, f.Type == reflect.TypeFor[later]()})
	}
	return fs
}

func bounds(rule reflect.StructTag) (lo, hi int) {
	lo, _ = strconv.Atoi(rule.Get("min"))
	hi, err := strconv.Atoi(rule.Get("max"))
	if err != nil {
		hi = int(^uint(0) >> 1)
	}
	return lo, hi
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orTop(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}
