package config

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// special is how a value is read that can be written in more than one way.
// schemaOf in schema.go has the counterpart of each case.
func special(target any) (func(*decoder, *yaml.Node, string, reflect.StructTag), bool) {
	switch t := target.(type) {
	case *text:
		return t.decode, true
	case *chartValue:
		return t.decode, true
	case *portFile:
		return t.decode, true
	case *commandFile:
		return t.decode, true
	case *restartFile:
		return t.decode, true
	case *manifestsFile:
		return t.decode, true
	case *syncFile:
		return t.decode, true
	case *buildFile:
		return t.decode, true
	case *needFile:
		return t.decode, true
	case *buildkitFile:
		return t.decode, true
	case *appFile:
		return t.decode, true
	case *routerFile:
		return t.decode, true
	case *beforeFile:
		return t.decode, true
	case *readyFile:
		return t.decode, true
	}
	return nil, false
}

func (t *text) decode(d *decoder, n *yaml.Node, path string, rule reflect.StructTag) {
	_, s, ok := d.scalar(n, path, "a string")
	if ok && d.check(n, path, s, rule.Get("check")) {
		*t = text(s)
	}
}

// decode reads a value as helm's --set does: a number that would not come out as it was
// written, 1.10 or 0012345, is text, and so is what stands in quotes.
func (v *chartValue) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		v.value = nil
		return
	}
	if n.Kind != yaml.ScalarNode {
		d.add(usage("config-type", d.pos(n), "write its parts one by one, as "+lastKey(path)+"[0] or "+lastKey(path)+".KEY; text with braces stands in quotes",
			"%s must be a string, a number, true, false or null, not %s", path, typeName(n)))
		return
	}
	tag, s, ok := d.scalar(n, path, "a string")
	if !ok {
		return
	}
	v.value = s
	if n.Style != 0 {
		return
	}
	switch i, err := strconv.ParseInt(s, 10, 64); {
	case tag == "!!bool":
		v.value = strings.EqualFold(s, "true")
	case err == nil && strconv.FormatInt(i, 10) == s:
		v.value = i
	case tag == "!!float":
		if f, err := strconv.ParseFloat(s, 64); err == nil && fmt.Sprint(f) == s {
			v.value = f
		}
	}
}

// lastKey is the last key of a path below `set`, which may itself have dots.
func lastKey(path string) string {
	_, key, _ := strings.Cut(path, ".set.")
	return key
}

// portExpr is what the schema can say about a port.
const portExpr = `^(([^:]+|\[[0-9A-Fa-f:.]+\]):)?([0-9]{1,5}:)?[0-9]{1,5}$`

func (p *portFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	tag, s, ok := d.scalar(n, path, "a port")
	if !ok {
		return
	}
	if bare, protocol, found := strings.Cut(s, "/"); found {
		if _, good := ParsePort(bare); good {
			what, hint := "%s: %q: only TCP ports are forwarded", "take it out: nothing leads from this machine to such a port of a pod; ask it from within a pod, with `kdev exec`"
			if strings.EqualFold(protocol, "tcp") {
				what, hint = "%s: %q names its protocol", "write it as "+bare+": every forwarded port is TCP"
			}
			d.add(usage("config-value", d.pos(n), hint, what, path, s))
			return
		}
	}
	if _, good := ParsePort(s); !good || tag != "!!int" && tag != "!!str" {
		d.add(usage("config-value", d.pos(n), "write it as 80, 8080:80 or 127.0.0.1:8080:80", "%s: %q is not a port", path, s))
		return
	}
	*p = portFile(s)
}

// ParsePort reads remote, local:remote and host:local:remote; an IPv6 host
// stands in brackets.
func ParsePort(s string) (Port, bool) {
	p := Port{Host: "127.0.0.1"}
	rest := s
	if i := strings.LastIndex(s, ":"); i >= 0 {
		rest = s[i+1:]
		local := s[:i]
		if j := strings.LastIndex(local, ":"); j >= 0 {
			host := local[:j]
			local = local[j+1:]
			if h, ok := strings.CutPrefix(host, "["); ok {
				host, ok = strings.CutSuffix(h, "]")
				if !ok || net.ParseIP(host) == nil {
					return Port{}, false
				}
			} else if host == "" || strings.ContainsAny(host, ":[] /") {
				return Port{}, false
			}
			p.Host = host
		}
		n, ok := portNumber(local)
		if !ok {
			return Port{}, false
		}
		p.Local = n
	}
	n, ok := portNumber(rest)
	if !ok {
		return Port{}, false
	}
	p.Remote = n
	if p.Local == 0 {
		p.Local = n
	}
	return p, true
}

func portNumber(s string) (int, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= 65535
}

func (c *commandFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind == yaml.SequenceNode {
		var list []string
		d.list(n, path, "", reflect.ValueOf(&list).Elem())
		if len(n.Content) == 0 {
			d.add(usage("config-value", d.pos(n), "give it a value, or take the key out", "%s is empty", path))
		}
		*c = list
		return
	}
	if s, ok := d.str(n, path, ""); ok {
		*c = commandFile{"sh", "-c", s}
	}
}

const restartContainer = "container"

func (r *restartFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	tag, s, ok := d.scalar(n, path, "true, false or container")
	switch {
	case !ok:
	case tag == "!!bool":
		*r = restartFile(strings.ToLower(s))
	case s == restartContainer:
		*r = restartContainer
	default:
		d.wrongType(n, path, "true, false or container")
	}
}

// asked says whether there is to be a restart.
func (r restartFile) asked() bool { return r == "true" || r == restartContainer }

func (m *manifestsFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind == yaml.SequenceNode {
		var list []sourceFile
		d.list(n, path, "", reflect.ValueOf(&list).Elem())
		*m = list
		return
	}
	if n.Kind != yaml.MappingNode {
		d.add(usage("config-type", d.pos(n), "write it as manifests: {kustomize: FOLDER} or manifests: {yaml: [FILES]}",
			"%s must be a mapping or a list of mappings, not %s", path, typeName(n)))
		return
	}
	if len(n.Content) == 0 {
		d.add(usage("config-value", d.pos(n), "name a source: kustomize or yaml, or take the key out", "%s is empty", path))
		return
	}
	var one sourceFile
	d.object(n, path, reflect.ValueOf(&one).Elem())
	*m = manifestsFile{one}
}

func (s *syncFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind == yaml.SequenceNode {
		d.list(n, path, "", reflect.ValueOf(&s.Rules).Elem())
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == "off" {
		s.Off = true
		return
	}
	d.add(usage("config-type", d.pos(n), "write off, or a list of {from, to}", "%s must be a list or off, not %s", path, typeName(n)))
}

func (b *buildFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.object(n, path, reflect.ValueOf(b).Elem())
		return
	}
	if s, ok := d.str(n, path, `check:"inside"`); ok {
		b.Context = s
		d.at[join(path, "context")] = d.pos(n)
	}
}

func (b *buildkitFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.object(n, path, reflect.ValueOf(b).Elem())
		return
	}
	b.Address, _ = d.str(n, path, `check:"buildkit"`)
}

func (f *needFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind != yaml.MappingNode {
		f.Name, _ = d.str(n, path, `check:"label"`)
		return
	}
	pairs, ok := d.mapping(n, path)
	if !ok {
		return
	}
	kinds := StoreKinds()
	if len(pairs) != 1 || !slices.Contains(kinds, pairs[0].key.Value) {
		d.add(usage("config-value", d.pos(n), "write it as "+kinds[0]+": {version: …}; there are: "+strings.Join(kinds, ", "), "%s must be one kind that kdev can make", path))
		return
	}
	f.Name, f.Store = pairs[0].key.Value, &storeFile{}
	d.value(pairs[0].value, join(path, f.Name), "", reflect.ValueOf(f.Store).Elem())
}

// decode notes that the key has a value: app: {} is a service without a port.
func (a *appFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	a.Given = n.Kind == yaml.MappingNode
	d.object(n, path, reflect.ValueOf(a).Elem())
}

func (r *routerFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	switch {
	case n.Kind == yaml.MappingNode || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		d.object(n, path, reflect.ValueOf(&r.Keys).Elem())
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == "off":
		r.Off = true
	default:
		d.add(usage("config-type", d.pos(n), "write off, or {port: 7080}", "%s must be a mapping or off, not %s", path, typeName(n)))
	}
}

func (b *beforeFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind == yaml.SequenceNode {
		d.list(n, path, `check:"label"`, reflect.ValueOf(&b.Services).Elem())
		if len(n.Content) == 0 {
			d.add(usage("config-value", d.pos(n), "name a service, or write build or deploy", "%s is empty", path))
		}
		return
	}
	_, s, ok := d.scalar(n, path, "build, deploy or a list of services")
	switch {
	case !ok:
	case s == "build" || s == "deploy":
		b.Stage = s
	default:
		d.add(usage("config-value", d.pos(n), "write build or deploy, or a list: ["+s+"]", "%s is %q", path, s))
	}
}

// readyExpr is what the schema can say about a URL of a readiness check.
const readyExpr = `^https?://[^/]`

func (r *readyFile) decode(d *decoder, n *yaml.Node, path string, _ reflect.StructTag) {
	if n.Kind == yaml.MappingNode {
		var line logFile
		d.object(n, path, reflect.ValueOf(&line).Elem())
		r.Log = line.Log
		return
	}
	tag, s, ok := d.scalar(n, path, "a URL, a port or {log: EXPRESSION}")
	if !ok {
		return
	}
	if port, good := portNumber(s); good && tag == "!!int" {
		r.Port = port
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		d.add(usage("config-value", d.pos(n), "write http://localhost:PORT/PATH, a port, or {log: EXPRESSION}", "%s: %q is no readiness check", path, s))
		return
	}
	r.HTTP = s
}
