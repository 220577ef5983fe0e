//go:build e2e

package deploy

import (
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

// What the API server refuses names the object, the field and the file.
func TestRefusals(t *testing.T) {
	d := deployer(t)
	const head = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n      - name: web\n        image: debian:bookworm-slim\n"
	for _, tc := range []struct{ name, text, code, where, says string }{
		{"a field that is not known", head + "        imagePolicy: Always\n", "object-refused", "all.yaml:13", "imagePolicy"},
		{"a wrong type", head + "        ports: [{containerPort: http}]\n", "object-refused", "all.yaml:13", "containerPort"},
		{"a number where a text belongs", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  PORT: 80\n", "object-refused", "all.yaml:5", "PORT"},
		{"an environment variable twice", head + "        env:\n        - {name: A, value: x}\n        - {name: B, value: x}\n        - {name: A, value: z}\n", "object-refused", "all.yaml:16", "A"},
		{"a port twice", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n  - {name: a, port: 80}\n  - {name: b, port: 80}\n", "object-refused", "all.yaml:7", "80"},
		{"a value that is not allowed", head + "        imagePullPolicy: Sometimes\n", "object-refused", "all.yaml:13", "imagePullPolicy"},
		{"a required field", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 0}\n", "object-refused", "all.yaml:", "selector"},
		{"a name that is not allowed", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Web_1}\n", "object-refused", "all.yaml:3", "metadata.name"},
		{"a kind that is not known", "apiVersion: example.com/v1\nkind: Gizmo\nmetadata: {name: a}\n", "kind-unknown", "all.yaml:1", "Gizmo"},
		{"a kind that is misspelt", "apiVersion: apps/v1\nkind: Deploymint\nmetadata: {name: a}\n", "kind-unknown", "all.yaml:1", "Deploymint"},
		{"a version that is gone", "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: a}\n", "kind-unknown", "all.yaml:1", "extensions/v1beta1"},
		{"a namespace that is not there", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: absent-e2e}\n", "object-refused", "all.yaml:", "absent-e2e"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all, root := parseIn(t, tc.text)
			d.options.Root = root
			_, err := d.Apply(t.Context(), all)
			p := problem.As(err)
			if p == nil {
				t.Fatalf("error %v", err)
			}
			t.Logf("%v\n    hint: %s", p, p.Hint)
			if p.Code != tc.code || !strings.Contains(p.Where, tc.where) || !strings.Contains(p.Error(), tc.says) || p.Hint == "" {
				t.Errorf("got %s at %s, want %s at %s saying %s", p.Code, p.Where, tc.code, tc.where, tc.says)
			}
		})
	}
}
