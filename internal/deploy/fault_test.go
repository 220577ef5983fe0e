package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/problem"
)

func TestFaults(t *testing.T) {
	const head = `failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): `
	for _, tc := range []struct {
		message string
		want    []fault
	}{
		{head + `.spec.template.spec.containers[name="web"].imagePolicy: field not declared in schema`, []fault{{path: `spec.template.spec.containers[name="web"].imagePolicy`, text: "there is no such field"}}},
		{head + `.data.PORT: expected string, got &value.valueUnstructured{Value:80}`, []fault{{path: "data.PORT", text: "a string belongs here, not 80: put it in quotes"}}},
		{head + `.spec.replicas: expected numeric (int or float), got string`, []fault{{path: "spec.replicas", text: "a number belongs here, not string"}}},
		{head + "errors:\n  .spec.env: duplicate entries for key [name=\"A\"]\n  .spec.env[name=\"A\"].value: expected string, got &value.valueUnstructured{Value:true}",
			[]fault{{path: "spec.env", text: `there are two items with name="A", of which only one can count`, key: `name="A"`}, {path: `spec.env[name="A"].value`, text: "a string belongs here, not true: put it in quotes"}}},
		{`something else`, nil},
	} {
		got := faults(apierrors.NewInternalError(errors.New("x")))
		if len(got) > 0 {
			t.Errorf("faults in an internal error: %v", got)
		}
		got = faults(apierrors.NewBadRequest(tc.message))
		if len(got) != len(tc.want) {
			t.Fatalf("%s: %+v", tc.message, got)
		}
		for i := range got {
			if got[i] != tc.want[i] {
				t.Errorf("got %+v, want %+v", got[i], tc.want[i])
			}
		}
	}
}

// What a refusal quotes of a Secret is not told: neither from its causes, nor from the text,
// whether it is understood or not. What it says of other fields is.
func TestRefusedSecret(t *testing.T) {
	made, root := parseIn(t, `
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {password: 12345, pin: 12, user: "tall\nship"}
data: {key: aHVzaGh1c2g=}
`)
	const head = `failed to create typed patch object (shop/token; /v1, Kind=Secret): `
	invalid := func(field, message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Message: "Secret is invalid: " + field + ": " + message,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: field, Message: message}}}}}
	}
	d := New(nil, Options{Project: "shop", Namespace: "shop", Root: root})
	defer d.Close()
	for _, tc := range []struct {
		err  error
		want string
	}{
		{apierrors.NewBadRequest(head + ".stringData.password: expected string, got &value.valueUnstructured{Value:12345}"), "stringData.password: a string belongs here: put it in quotes"},
		{apierrors.NewBadRequest(head + ".stringData.pin: expected string, got &value.valueUnstructured{Value:12}"), "stringData.pin: a string belongs here: put it in quotes"},
		{apierrors.NewBadRequest(head + "pin of 12 is new to me"), "failed to create typed patch object (shop/token; /v1, Kind=Secret)"},
		{apierrors.NewBadRequest(head + ".immutable: expected boolean, got &value.valueUnstructured{Value:17}"), "immutable: a boolean belongs here, not 17"},
		{invalid("data[key]", `Invalid value: "hush: 7": must be JSON`), "data[key]: must be JSON"},
		{invalid("data[key]", "Invalid value: 12"), "data[key]: it is not valid"},
		{invalid("type", `Invalid value: "Opaque": field is immutable`), `type: Invalid value: "Opaque": field is immutable`},
		{apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "token", errors.New(`hushhush, "tall\nship" and aHVzaGh1c2g= are too weak`)), `secrets "token" is forbidden: ***, "***" and *** are too weak`},
	} {
		p := problem.As(d.refusedProblem(tc.err, made[0]))
		if p == nil || p.Err.Error() != tc.want {
			t.Errorf("%v:\ntold %v\nwant %s", tc.err, p, tc.want)
		}
		if strings.Contains(tc.want, "password") && p.Where != "Secret/token (all.yaml:5)" {
			t.Errorf("where %s", p.Where)
		}
	}
}

func TestFaultLine(t *testing.T) {
	root := t.TempDir()
	const text = `apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    example.com/a.b: x
spec:
  template:
    spec:
      containers:
      - name: web
        image: web
        env:
        - {name: A, value: "1"}
        - name: B
          value: "2"
        - {name: A, value: "3"}
        ports:
        - {containerPort: 80}
`
	if err := os.WriteFile(filepath.Join(root, "all.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		fault fault
		line  int
	}{
		{fault{path: "metadata.name"}, 8},
		{fault{path: "metadata.annotations[example.com/a.b]"}, 10},
		{fault{path: `spec.template.spec.containers[name="web"].image`}, 16},
		{fault{path: "spec.template.spec.containers[0].image"}, 16},
		{fault{path: `spec.template.spec.containers[name="web"].env[name="B"].value`}, 20},
		{fault{path: `spec.template.spec.containers[name="web"].env`, key: `name="A"`}, 21},
		{fault{path: `spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].hostPort`}, 23},
		{fault{path: "spec.selector"}, 11}, // as far as it goes
		{fault{path: "spec.template.spec.containers[7].image"}, 14},
		{fault{path: "status"}, 0},
	} {
		file, line := tc.fault.line(root, "all.yaml:5")
		if file != "all.yaml" || line != tc.line {
			t.Errorf("%s: %s:%d, want %d", tc.fault.path, file, line, tc.line)
		}
	}
	for _, origin := range []string{"", "all.yaml", "absent.yaml:1"} {
		if _, line := (fault{path: "metadata.name"}).line(root, origin); line != 0 {
			t.Errorf("origin %q: line %d", origin, line)
		}
	}
}

func FuzzFaultLine(f *testing.F) {
	f.Add(`spec.containers[name="web"].env[0]`, `name="A"`, "spec: {containers: [{name: web}]}")
	f.Fuzz(func(t *testing.T, path, key, text string) {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "a.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fault{path: path, key: key}.line(root, "a.yaml:1")
	})
}

// A refusal of the whole object has a path that names no field: it is told once, with the
// object's own place.
func TestRefusedWhole(t *testing.T) {
	made, root := parseIn(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata: {a: x}\n")
	d := New(nil, Options{Project: "shop", Namespace: "shop", Root: root})
	defer d.Close()
	for field, message := range map[string]string{"[]": "Too long: may not be more than 1048576 bytes", "<nil>": "Invalid value: must not be changed"} {
		err := &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: field, Message: message}}}}}
		p := problem.As(d.refusedProblem(err, made[0]))
		if p == nil || p.Err.Error() != message || p.Where != "ConfigMap/big (all.yaml:1)" || p.Hint == "" {
			t.Errorf("%s: told %+v", field, p)
		}
	}
}

// FuzzFaultPath walks any path into a document: it ends, and names a line that the document has.
func FuzzFaultPath(f *testing.F) {
	const text = "metadata:\n  name: web\nspec:\n  ports:\n  - port: 80\n    \"\": 1\n  - {port: 81, protocol: TCP}\n"
	for _, path := range []string{"[]", "spec[]", "spec.ports[-1]", "spec.ports[1].port", `spec.ports[port=80,protocol="TCP"].x`, "spec[ports][0]", "<nil>", "a[[]]", "metadata..name"} {
		f.Add(path, "port=80")
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, key string) {
		if line := (fault{path: path, key: key}).find(doc.Content[0]); line < 0 || line > 7 {
			t.Errorf("%q with key %q is at line %d", path, key, line)
		}
	})
}
