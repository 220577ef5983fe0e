package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Schema is the JSON Schema (draft 7, which editors know best) of kdev.yaml.
// It says what can be said without the folder: keys, types, forms of values.
func Schema() []byte {
	s := objectSchema(reflect.TypeFor[file]())
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "kdev.yaml"
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return append(out, '\n')
}

type schema = map[string]any

// variablePattern is a value with a variable in it: its form is known only
// after the variable was replaced, so any such string is accepted where a
// string of some form is wanted.
const variablePattern = `\$\{`

// schemaOf describes a value of one of file.go's types.
func schemaOf(t reflect.Type, rule reflect.StructTag) schema {
	switch t {
	case reflect.TypeFor[text]():
		return schema{"anyOf": []any{stringSchema(rule), schema{"type": []string{"number", "boolean"}}}}
	case reflect.TypeFor[chartValue]():
		return schema{"type": []string{"string", "number", "boolean", "null"}}
	case reflect.TypeFor[portFile]():
		return schema{"anyOf": []any{
			schema{"type": "integer", "minimum": 1, "maximum": 65535},
			stringForm(portExpr),
		}}
	case reflect.TypeFor[commandFile]():
		return schema{"anyOf": []any{stringSchema(""), schema{"type": "array", "items": stringSchema(""), "minItems": 1}}}
	case reflect.TypeFor[restartFile]():
		return schema{"anyOf": []any{schema{"type": "boolean"}, schema{"const": restartContainer}, schema{"type": "string", "pattern": variablePattern}}}
	case reflect.TypeFor[manifestsFile]():
		one := objectSchema(reflect.TypeFor[sourceFile]())
		one["type"] = "object"
		return schema{"anyOf": []any{one, schema{"type": "array", "items": one}}}
	case reflect.TypeFor[syncFile]():
		return schema{"anyOf": []any{
			schema{"const": "off"},
			schema{"type": "array", "items": objectSchema(reflect.TypeFor[syncRuleFile]())},
		}}
	case reflect.TypeFor[routerFile]():
		return schema{"anyOf": []any{schema{"const": "off"}, objectSchema(reflect.TypeFor[routerKeysFile]())}}
	case reflect.TypeFor[buildFile]():
		return schema{"anyOf": []any{stringSchema(`check:"inside"`), objectSchema(t)}}
	case reflect.TypeFor[buildkitFile]():
		return schema{"anyOf": []any{stringSchema(`check:"buildkit"`), objectSchema(t)}}
	case reflect.TypeFor[needFile]():
		kinds := schema{}
		for _, kind := range StoreKinds() {
			kinds[kind] = objectSchema(reflect.TypeFor[storeFile]())
		}
		return schema{"anyOf": []any{stringSchema(`check:"label"`), schema{"type": "object", "properties": kinds, "additionalProperties": false, "minProperties": 1, "maxProperties": 1}}}
	case reflect.TypeFor[beforeFile]():
		return schema{"anyOf": []any{stringSchema(`enum:"build,deploy"`), schema{"type": "array", "items": stringSchema(`check:"label"`), "minItems": 1}}}
	case reflect.TypeFor[readyFile]():
		return schema{"anyOf": []any{
			schema{"type": "integer", "minimum": 1, "maximum": 65535},
			stringForm(readyExpr),
			objectSchema(reflect.TypeFor[logFile]()),
		}}
	}
	switch t.Kind() {
	case reflect.String:
		return stringSchema(rule)
	case reflect.Int:
		lo, hi := bounds(rule)
		return schema{"anyOf": []any{schema{"type": "integer", "minimum": lo, "maximum": hi}, schema{"type": "string", "pattern": variablePattern}}}
	case reflect.Bool:
		return schema{"anyOf": []any{schema{"type": "boolean"}, schema{"type": "string", "pattern": variablePattern}}}
	case reflect.Slice:
		return schema{"type": []string{"array", "null"}, "items": schemaOf(t.Elem(), rule)}
	case reflect.Map:
		s := schema{"type": []string{"object", "null"}, "additionalProperties": schemaOf(t.Elem(), "")}
		if keys := rule.Get("keys"); keys != "" {
			s["propertyNames"] = schema{"pattern": checks[keys].expr}
		}
		return s
	case reflect.Struct:
		return objectSchema(t)
	}
	panic("config: no schema for " + t.String())
}

func objectSchema(t reflect.Type) schema {
	properties := schema{}
	var required []string
	for _, f := range fieldsOf(t) {
		if f.later {
			continue
		}
		s := schemaOf(f.typ, f.tag)
		s["description"] = describe(f.tag)
		properties[f.key] = s
		if f.tag.Get("required") == "true" {
			required = append(required, f.key)
		}
	}
	s := schema{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	if required != nil {
		s["type"], s["required"] = "object", required
	}
	switch t {
	case reflect.TypeFor[sourceFile](), reflect.TypeFor[environmentFile]():
		s["type"] = "object"
		one := []any{
			schema{"required": []string{"kustomize"}},
			schema{"required": []string{"yaml"}, "properties": schema{"yaml": schema{"type": "array", "minItems": 1}}},
			schema{"required": []string{"helm"}},
			schema{"required": []string{"command"}},
		}
		if t == reflect.TypeFor[environmentFile]() {
			one = append(one, schema{"required": []string{"manifests"}})
			// None is enough where services have app, which Load knows.
			one = append(one, schema{"not": schema{"anyOf": slices.Clone(one)}})
		}
		s["oneOf"] = one
	case reflect.TypeFor[localFile]():
		s["type"] = "object"
		s["oneOf"] = []any{
			schema{"required": []string{"run"}, "not": schema{"required": []string{"ready"}}},
			schema{"required": []string{"serve"}, "not": schema{"required": []string{"before"}}},
		}
	case reflect.TypeFor[onSyncFile]():
		s["type"] = "object"
		s["anyOf"] = []any{
			schema{"required": []string{"run"}},
			schema{"required": []string{"signal"}},
			schema{"required": []string{"restart"}, "properties": schema{"restart": schema{"not": schema{"const": false}}}},
		}
		s["not"] = schema{"required": []string{"signal", "restart"}, "properties": schema{"restart": schema{"enum": []any{true, restartContainer}}}}
	}
	return s
}

func stringSchema(rule reflect.StructTag) schema {
	if enum := rule.Get("enum"); enum != "" {
		return schema{"anyOf": []any{
			schema{"enum": strings.Split(enum, ",")},
			schema{"type": "string", "pattern": variablePattern},
		}}
	}
	if c := rule.Get("check"); c != "" {
		return stringForm(checks[c].expr)
	}
	return schema{"type": "string", "minLength": 1}
}

func stringForm(expr string) schema {
	return schema{"type": "string", "pattern": "(" + expr + ")|" + variablePattern}
}

func describe(rule reflect.StructTag) string {
	s := rule.Get("doc")
	if d := rule.Get("default"); d != "" {
		s += " (default: " + d + ")"
	}
	return s
}

// Reference is the table of keys for docs/config.md.
func Reference() string {
	var b strings.Builder
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	rows(&b, "", reflect.TypeFor[file]())
	return b.String()
}

// Unsupported lists the keys that the design has and this version refuses.
func Unsupported() []string {
	var out []string
	walk("", reflect.TypeFor[file](), func(path string, f field) {
		if f.later {
			out = append(out, path)
		}
	})
	return out
}

func rows(b *strings.Builder, path string, t reflect.Type) {
	walk(path, t, func(path string, f field) {
		if !f.later {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", path, valueName(f), f.tag.Get("default"), f.tag.Get("doc"))
		}
	})
}

// walk visits every key of the format, a key before those inside it.
func walk(path string, t reflect.Type, visit func(path string, f field)) {
	for _, f := range fieldsOf(t) {
		sub := join(path, f.key)
		visit(sub, f)
		inner, name := f.typ, ""
		switch {
		case f.later, inner == reflect.TypeFor[beforeFile](), inner == reflect.TypeFor[readyFile]():
			continue
		case inner == reflect.TypeFor[syncFile]():
			inner, name = reflect.TypeFor[syncRuleFile](), "[]"
		case inner == reflect.TypeFor[routerFile]():
			inner = reflect.TypeFor[routerKeysFile]()
		case inner.Kind() == reflect.Map:
			inner, name = inner.Elem(), ".NAME"
		case inner.Kind() == reflect.Slice:
			inner = inner.Elem()
			if f.typ != reflect.TypeFor[manifestsFile]() {
				name = "[]"
			}
		}
		if inner == reflect.TypeFor[needFile]() {
			inner, name = reflect.TypeFor[storeFile](), "[].KIND"
		}
		if inner.Kind() == reflect.Struct {
			walk(sub+name, inner, visit)
		}
	}
}

func valueName(f field) string {
	if enum := f.tag.Get("enum"); enum != "" {
		return "`" + strings.ReplaceAll(enum, ",", "`, `") + "`"
	}
	switch f.typ {
	case reflect.TypeFor[text]():
		return "string"
	case reflect.TypeFor[chartValue]():
		return "string, number, bool or null"
	case reflect.TypeFor[commandFile]():
		return "string or list"
	case reflect.TypeFor[restartFile]():
		return "`true`, `false` or `container`"
	case reflect.TypeFor[manifestsFile]():
		return "source or list of sources"
	case reflect.TypeFor[syncFile]():
		return "`off` or list"
	case reflect.TypeFor[routerFile]():
		return "`off` or mapping"
	case reflect.TypeFor[buildFile](), reflect.TypeFor[buildkitFile]():
		return "string or mapping"
	case reflect.TypeFor[beforeFile]():
		return "`build`, `deploy` or list"
	case reflect.TypeFor[readyFile]():
		return "URL, port or `log: EXPRESSION`"
	}
	switch f.typ.Kind() {
	case reflect.Int:
		return "whole number"
	case reflect.Bool:
		return "`true` or `false`"
	case reflect.Slice:
		return "list"
	case reflect.Map, reflect.Struct:
		return "mapping"
	}
	return "string"
}
