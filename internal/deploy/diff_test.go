package deploy

import (
	"strings"
	"testing"
)

func parse(t *testing.T, text string) []*Object {
	t.Helper()
	objects, _ := parseIn(t, text)
	return objects
}

// parseIn is parse with the root of the project that the manifests are in.
func parseIn(t *testing.T, text string) ([]*Object, string) {
	t.Helper()
	root := project(t, map[string]string{"all.yaml": text})
	m, err := Render(t.Context(), root, []Source{{YAML: []string{"all.yaml"}}})
	if err != nil {
		t.Fatal(err)
	}
	return m.Objects, root
}

func TestCompare(t *testing.T) {
	const from = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {example.com/a.b: "1"}}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - {name: web, image: "web:1", args: [a, b], resources: {limits: {cpu: 0.5}}, env: [{name: A, value: "1"}, {name: B, value: "2"}]}
      - {name: side, image: "side:1"}
---
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {token: old, same: x, tls.key: one}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: gone}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: same}
data: {a: "1"}
`
	const to = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {example.com/a.b: "2"}}
spec:
  replicas: 3
  paused: false
  template:
    spec:
      containers:
      - {name: web, image: "web:2", args: [a, b, c], resources: {limits: {cpu: 500m}}, env: [{name: B, value: "2"}, {name: C, value: "3"}]}
      - {name: side, image: "side:1"}
---
apiVersion: v1
kind: Secret
metadata: {name: token}
data: {token: bmV3, same: eA==, tls.key: dHdv}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: new}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: same}
data: {a: "1"}
`
	const want = `- ConfigMap/gone  all.yaml:18
+ ConfigMap/new  all.yaml:19
~ Deployment/web  all.yaml:2
    metadata.annotations[example.com/a.b]
      - 1
      + 2
    spec.replicas
      - 1
      + 3
    spec.template.spec.containers[web].args
      - ["a","b"]
      + ["a","b","c"]
    spec.template.spec.containers[web].env[A]
      - {"name":"A","value":"1"}
    spec.template.spec.containers[web].env[C]
      + {"name":"C","value":"3"}
    spec.template.spec.containers[web].image
      - web:1
      + web:2
~ Secret/token  all.yaml:14
    data[tls.key]
      - ***
      + *** (another)
    data.token
      - ***
      + *** (another)
`
	for range 5 { // maps must not decide the order
		var b strings.Builder
		n, err := WriteDiff(&b, Compare(parse(t, from), parse(t, to)), false)
		if err != nil || n != 4 || b.String() != want {
			t.Fatalf("%d, %v, got\n%s\nwant\n%s", n, err, b.String(), want)
		}
	}
	if diffs := Compare(parse(t, from), parse(t, from)); len(diffs) > 0 {
		t.Errorf("the same differs: %+v", diffs)
	}
}

// What kdev changes in a render is what `diff --declared` lists: image references
// and, for dev images, command prefixes.
func TestDeclared(t *testing.T) {
	plain := parse(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {initContainers: [{name: init, image: "shop/web:1", command: [migrate]}], containers: [{name: web, image: "shop/web:1"}, {name: cache, image: "redis:7"}]}}}
`)
	ours := Copy(plain)
	Inject(ours, []Image{{Service: "web", Ref: "localhost:5001/shop/web:x@sha256:1", Prefix: []string{"/.kdev/agent", "run", "--"}}})
	var got []string
	for _, d := range Compare(plain, ours) {
		for _, f := range d.Fields {
			got = append(got, d.Kind+"/"+d.Name+" "+f.Path)
		}
	}
	want := "Deployment/web spec.template.spec.containers[web].image\n" +
		"Deployment/web spec.template.spec.initContainers[init].command\n" +
		"Deployment/web spec.template.spec.initContainers[init].image"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// No form of a path shows a value of a Secret.
func TestSecretsAreNotCompared(t *testing.T) {
	whole := map[string]any{"data": map[string]any{"tls.key": "b25l"}, "type": "Opaque"}
	for _, tt := range []struct{ from, to map[string]any }{
		{whole, map[string]any{"type": "Opaque"}},
		{map[string]any{"type": "Opaque"}, whole},
		{whole, map[string]any{"data": map[string]any{"tls.key": "dHdv", ".dockerconfigjson": "e30="}, "type": "Opaque"}},
		{map[string]any{"stringData": map[string]any{"a[0]": "one"}}, map[string]any{"stringData": map[string]any{"a[0]": "two"}}},
	} {
		for _, f := range fieldDiffs(tt.from, tt.to, true) {
			for _, v := range []any{f.From, f.To} {
				if v != nil && v != hiddenValue && v != "*** (another)" {
					t.Errorf("%s shows %v", f.Path, v)
				}
			}
		}
	}
}
