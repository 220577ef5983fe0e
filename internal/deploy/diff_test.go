package deploy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kdev-io/kdev/internal/problem"
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

// New objects go through a dry run as well: what an apply would refuse is refused, what the
// API server cannot look at is said, and what may not be read is not called new.
func TestDiffOfNewObjects(t *testing.T) {
	const text = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: v1
kind: Secret
metadata: {name: token}
`
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "token", errors.New("no"))
	for name, tc := range map[string]struct {
		refused error // the ConfigMap's dry run
		want    string
		code    string
	}{
		"fine":         {nil, "+ ConfigMap/settings  all.yaml:2\n", ""},
		"refused":      {apierrors.NewBadRequest("failed to create typed patch object (shop/settings; /v1, Kind=ConfigMap): .data.a: expected string, got &value.valueUnstructured{Value:1}"), "", "object-refused"},
		"no namespace": {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"), "+ ConfigMap/settings (not checked: namespace shop is not there yet)  all.yaml:2\n", ""},
		"may not":      {apierrors.NewForbidden(configMaps.GroupResource(), "settings", errors.New("no")), `+ ConfigMap/settings (not checked: configmaps "settings" is forbidden: no)  all.yaml:2` + "\n", ""},
		"webhook":      {apierrors.NewBadRequest("admission webhook a.b does not support dry run"), "+ ConfigMap/settings (not checked: an admission webhook supports no dry run)  all.yaml:2\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, s := stubbed(t, "")
			s.PrependReactor("*", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, forbidden })
			s.refuse = func(u *unstructured.Unstructured, _ metav1.PatchOptions) error {
				if u.GetName() == "settings" {
					return tc.refused
				}
				return nil
			}
			diffs, err := d.Diff(t.Context(), parse(t, text))
			if p := problem.As(err); tc.code != "" {
				if p == nil || p.Code != tc.code || p.Where != "ConfigMap/settings (all.yaml:2)" {
					t.Errorf("error %v", err)
				}
				return
			}
			var out strings.Builder
			if _, err := WriteDiff(&out, diffs, false); err != nil {
				t.Fatal(err)
			}
			if want := tc.want + "? Secret/token (not visible: this user may not read secrets)  all.yaml:6\n"; out.String() != want || err != nil {
				t.Errorf("diff\n%swant\n%s%v", out.String(), want, err)
			}
			if len(s.applied) > 0 {
				t.Errorf("applied %v", s.applied)
			}
		})
	}

	d, _ := stubbed(t, "")
	const custom = "apiVersion: acme.io/v1\nkind: Thing\nmetadata: {name: one}\n"
	if _, err := d.Diff(t.Context(), parse(t, custom)); !isUnknownKind(err) {
		t.Errorf("an unknown kind: %v", err)
	}
	diffs, err := d.Diff(t.Context(), parse(t, custom+"---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.acme.io}\nspec: {group: acme.io, names: {kind: Thing}}\n"))
	if err != nil || len(diffs) != 2 || diffs[1].Why != "not checked: its kind is not there yet" {
		t.Errorf("a kind of the manifests: %+v, %v", diffs, err)
	}
}

// What is being deleted is made anew by an apply, or waited for.
func TestDiffOfTerminating(t *testing.T) {
	d, s := stubbed(t, "")
	const text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\n"
	if _, err := d.Apply(t.Context(), parse(t, text)); err != nil {
		t.Fatal(err)
	}
	u, err := s.Resource(configMaps).Namespace("shop").Get(t.Context(), "held", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u.SetDeletionTimestamp(&metav1.Time{Time: time.Now()})
	if err := s.Tracker().Update(configMaps, u, "shop"); err != nil {
		t.Fatal(err)
	}
	for mark, objects := range map[string][]*Object{"± ConfigMap/held (recreated: ": parse(t, text), "- ConfigMap/held (": nil} {
		diffs, err := d.Diff(t.Context(), objects)
		var out strings.Builder
		if _, werr := WriteDiff(&out, diffs, false); werr != nil || err != nil || !strings.HasPrefix(out.String(), mark+"it is being deleted and waits for finalizer example.com/hold)") {
			t.Errorf("%s %v, %v", out.String(), err, werr)
		}
	}
	s.PrependReactor("delete", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	pruned, err := d.PruneReport(t.Context(), nil)
	if err != nil || len(pruned.Removed) > 0 || fmt.Sprint(pruned.Going) != "[{ConfigMap/held it is being deleted and waits for finalizer example.com/hold}]" {
		t.Errorf("%+v, %v", pruned, err)
	}
}
