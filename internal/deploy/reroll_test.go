package deploy

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// What of a changed ConfigMap a pod reads once, and what the kubelet renews in it.
func TestReadsOf(t *testing.T) {
	for _, c := range []struct {
		name, mounts, volume string
		changed              string
		started, mounted     bool
	}{
		{"a folder", "{mountPath: /etc/app}", "{configMap: {name: conf}}", "app.env", false, true},
		{"one file, and it changed", "{mountPath: /etc/nginx.conf, subPath: nginx.conf}", "{configMap: {name: conf}}", "nginx.conf", true, false},
		{"one file, and another changed", "{mountPath: /etc/nginx.conf, subPath: nginx.conf}", "{configMap: {name: conf}}", "app.env", false, false},
		{"one file under another name", "{mountPath: /etc/x, subPath: sub/x}", "{configMap: {name: conf, items: [{key: nginx.conf, path: sub/x}, {key: app.env, path: other}]}}", "nginx.conf", true, false},
		{"a folder of such", "{mountPath: /etc/x, subPath: sub}", "{configMap: {name: conf, items: [{key: nginx.conf, path: sub/x}, {key: app.env, path: other}]}}", "nginx.conf", true, false},
		{"beside that folder", "{mountPath: /etc/x, subPath: sub}", "{configMap: {name: conf, items: [{key: nginx.conf, path: sub/x}, {key: app.env, path: other}]}}", "app.env", false, false},
		{"a name that the pod makes", "{mountPath: /etc/x, subPathExpr: $(POD)}", "{configMap: {name: conf}}", "app.env", true, false},
		{"both", "{mountPath: /etc/app}, {name: v, mountPath: /etc/x, subPath: app.env}", "{configMap: {name: conf}}", "app.env", true, true},
		{"in a projection", "{mountPath: /etc/x, subPath: app.env}", "{projected: {sources: [{configMap: {name: conf}}]}}", "app.env", true, false},
	} {
		text := "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: web, volumeMounts: [" +
			strings.Replace(c.mounts, "{", "{name: v, ", 1) + "]}], volumes: [" + strings.Replace(c.volume, "{", "{name: v, ", 1) + "]}}}}"
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		started, mounted := readsOf(&Object{Unstructured: &unstructured.Unstructured{Object: fields}}, map[string]map[string]bool{"ConfigMap/conf": {c.changed: true}})
		if len(started) > 0 != c.started || len(mounted) > 0 != c.mounted {
			t.Errorf("%s: started %v, mounted %v", c.name, started, mounted)
		}
	}
}

// When a hook has its turn, on the first apply and on later ones.
func TestHookTurns(t *testing.T) {
	for events, want := range map[string]string{
		"pre-install":                           "before -",
		"post-install":                          "after -",
		"pre-upgrade":                           "- before",
		"pre-install,pre-upgrade":               "before before",
		"post-install,pre-upgrade":              "after before",
		"pre-install, post-upgrade":             "before after",
		"pre-install,post-install,post-upgrade": "before after",
	} {
		o := &Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"annotations": map[string]any{hookAnnotation: events}}}}}
		hooked([]*Object{o})
		turn := func(first bool) string {
			switch {
			case !o.Hook.due(first):
				return "-"
			case o.Hook.before(first):
				return "before"
			}
			return "after"
		}
		if got := turn(true) + " " + turn(false); got != want {
			t.Errorf("%s: %s, want %s", events, got, want)
		}
	}
}
