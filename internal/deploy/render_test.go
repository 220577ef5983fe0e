package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/problem"
)

// project writes files below a new root.
func project(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n"

func TestRender(t *testing.T) {
	root := project(t, map[string]string{
		"base/kustomization.yaml": "resources: [web.yaml, settings.yaml]\n",
		"base/web.yaml":           "# the page\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n",
		"base/settings.yaml":      settings,
		"dev/kustomization.yaml": "namespace: shop\nnamePrefix: dev-\nresources: [../base]\npatches:\n- path: more.yaml\n- target: {kind: Service}\n  patch: '[{\"op\": \"add\", \"path\": \"/metadata/labels\", \"value\": {\"a\": \"b\"}}]'\n" +
			"configMapGenerator:\n- name: made\n  files: [app.ini]\n",
		"dev/more.yaml": "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: web}\nspec: {replicas: 3}\n",
		"dev/app.ini":   "x=1\n",
		"k8s/a.yaml":    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: one}\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: two}\n---\n---\n" + strings.Replace(settings, "settings", "plain", 1),
		"k8s/b.yaml":    "# nothing\n",
	})
	render := func() (string, *Manifests) {
		m, err := Render(t.Context(), root, []Source{{Kustomize: "dev"}, {YAML: []string{"k8s/*.yaml", "k8s/a.yaml"}}})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, o := range m.Objects {
			text, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("# %s\n%s", o.Origin, text))
		}
		return strings.Join(out, "---\n"), m
	}
	first, m := render()
	for range 10 {
		if again, _ := render(); again != first {
			t.Fatalf("rendered differently:\n%s\nthan\n%s", again, first)
		}
	}
	if strings.Contains(first, originAnnotation) {
		t.Error("the annotation that kustomize was asked for is left")
	}
	var got []string
	for _, o := range m.Objects {
		got = append(got, RefOf(o).String()+" "+o.Origin)
	}
	want := []string{
		"Service/dev-web base/web.yaml:2", "Deployment/dev-web base/web.yaml:6", "ConfigMap/dev-settings base/settings.yaml:1",
		"ConfigMap/dev-made-54bg8m29k2 dev/kustomization.yaml",
		"Secret/one k8s/a.yaml:4", "Secret/two k8s/a.yaml:7", "ConfigMap/plain k8s/a.yaml:12",
	}
	// The generated name's hash is kustomize's business.
	for i := range got {
		if strings.HasPrefix(got[i], "ConfigMap/dev-made-") && i < len(want) {
			got[i] = want[i]
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for file, reads := range map[string]bool{
		"base/web.yaml": true, "dev/more.yaml": true, "dev/app.ini": true, "base/kustomization.yaml": true, "k8s/new.yaml": true, "README.md": false, "k8s/sub/x.yaml": false,
	} {
		if m.Reads(filepath.Join(root, file)) != reads {
			t.Errorf("Reads(%s) = %v", file, !reads)
		}
	}
}

// A long message keeps its start, which names the file, and its end, which names the
// field.
func TestLongKustomizeMessage(t *testing.T) {
	got := plainKustomize("accumulating resources: first.yaml: " + strings.Repeat("middle ", 200) + ": spec.replicas")
	if !strings.HasPrefix(got, "first.yaml") || !strings.HasSuffix(got, "spec.replicas") || len([]rune(got)) > 610 {
		t.Errorf("%d: %s", len(got), got)
	}
}

func TestRenderKeepsAnOriginThatIsWanted(t *testing.T) {
	root := project(t, map[string]string{"kustomization.yaml": "resources: [a.yaml]\nbuildMetadata: [originAnnotations]\n", "a.yaml": settings})
	m, err := Render(t.Context(), root, []Source{{Kustomize: "."}})
	if err != nil {
		t.Fatal(err)
	}
	if m.Objects[0].GetAnnotations()[originAnnotation] == "" || m.Objects[0].Origin != "a.yaml:1" {
		t.Errorf("%v, origin %s", m.Objects[0].GetAnnotations(), m.Objects[0].Origin)
	}
}

func TestRenderProblems(t *testing.T) {
	kustomize, plain := Source{Kustomize: "base"}, Source{YAML: []string{"k8s/*.yaml"}}
	for _, tc := range []struct {
		name   string
		source Source
		files  map[string]string
		code   string
		where  string
		says   string
	}{
		{"a missing file", kustomize, map[string]string{"base/kustomization.yaml": "resources:\n- a.yaml\n- web.yaml\n", "base/a.yaml": settings}, "render-failed", "base/kustomization.yaml:3", "there is no web.yaml"},
		{"a missing folder", kustomize, map[string]string{"base/kustomization.yaml": "resources:\n- ../other\n"}, "render-failed", "base/kustomization.yaml:2", "there is no ../other"},
		{"a missing file of a generator", kustomize, map[string]string{"base/kustomization.yaml": "configMapGenerator:\n- name: x\n  files:\n  - app.ini=nope.ini\n"}, "render-failed", "base/kustomization.yaml:4", "there is no nope.ini"},
		{"a missing patch", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\npatches:\n- path: p.yaml\n", "base/a.yaml": settings}, "render-failed", "base/kustomization.yaml:3", "there is no p.yaml"},
		{"bad YAML", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": settings + "data:\n  a: b\n c: d\n"}, "render-failed", "base/a.yaml:7", "no YAML"},
		{"bad YAML in the second document", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": settings + "---\n" + settings + "data: {a: [}\n"}, "render-failed", "base/a.yaml:10", "no YAML"},
		{"a bad kustomization", kustomize, map[string]string{"base/kustomization.yaml": "resources:\n- a.yaml\n  b: [\n", "base/a.yaml": settings}, "render-failed", "base/kustomization.yaml:3", "no YAML"},
		{"no kind", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": settings + "---\napiVersion: v1\nmetadata: {name: x}\n"}, "manifest-invalid", "base/a.yaml:6", "kind"},
		{"an unknown key", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\nresource: x\n", "base/a.yaml": settings}, "render-failed", "base/kustomization.yaml:2", `"resource"`},
		{"a patch without target", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\npatches:\n- path: p.yaml\n", "base/a.yaml": settings, "base/p.yaml": "# x\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: nope}\n"}, "render-failed", "base/p.yaml:2", "ConfigMap/nope, which is not there"},
		{"a JSON patch without its field", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\npatches:\n- path: p.yaml\n  target: {kind: ConfigMap}\n", "base/a.yaml": settings, "base/p.yaml": "- op: replace\n  path: /data/mode\n  value: x\n"}, "render-failed", "base/p.yaml:2", "/data/mode, and there is no such field"},
		{"a patch that is none", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml]\npatches:\n- path: p.yaml\n", "base/a.yaml": settings, "base/p.yaml": "hello\n"}, "render-failed", "base/p.yaml (base/kustomization.yaml:3)", ""},
		{"twice", kustomize, map[string]string{"base/kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "base/a.yaml": settings, "base/b.yaml": "\n" + settings}, "manifest-duplicate", "base/b.yaml:2", "twice"},
		{"no kustomization", kustomize, map[string]string{"base/a.yaml": settings}, "render-failed", "base", "unable to find one of"},
		{"outside of the base", kustomize, map[string]string{"base/kustomization.yaml": "resources: [../a.yaml]\n", "a.yaml": settings}, "render-failed", "base/kustomization.yaml", "is not in or below"},
		{"a cycle", kustomize, map[string]string{"base/kustomization.yaml": "resources: [../base]\n"}, "render-failed", "base/kustomization.yaml", "cycle"},
		{"a URL", kustomize, map[string]string{"base/kustomization.yaml": "resources:\n- https://example.invalid/a.yaml\n"}, "render-remote", "base/kustomization.yaml:2", "not in the project"},
		{"a repository", kustomize, map[string]string{"base/kustomization.yaml": "resources:\n- github.com/nobody/nothing?ref=v1\n"}, "render-remote", "base/kustomization.yaml:2", "not in the project"},
		{"a URL of a generator", kustomize, map[string]string{"base/kustomization.yaml": "configMapGenerator:\n- name: x\n  files:\n  - app.ini=https://example.invalid/app.ini\n"}, "render-remote", "base/kustomization.yaml:4", "https://example.invalid/app.ini is not in the project"},
		{"a URL of a schema", kustomize, map[string]string{"base/kustomization.yaml": "resources: []\nopenapi: {path: \"https://example.invalid/s.json\"}\n"}, "render-remote", "base/kustomization.yaml:2", "not in the project"},
		{"a remote base of a base", Source{Kustomize: "dev"}, map[string]string{"dev/kustomization.yaml": "resources: [../base]\n", "base/kustomization.yaml": "components:\n- git@example.invalid:x.git\n"}, "render-remote", "base/kustomization.yaml:2", "not in the project"},

		{"plain: bad YAML", plain, map[string]string{"k8s/a.yaml": settings + "---\na: [\n"}, "manifest-invalid", "k8s/a.yaml:6", "no YAML"},
		{"plain: no name", plain, map[string]string{"k8s/a.yaml": settings + "---\napiVersion: v1\nkind: Secret\n"}, "manifest-invalid", "k8s/a.yaml:6", "metadata.name"},
		{"plain: no kind", plain, map[string]string{"k8s/a.yaml": "hello: world\n"}, "manifest-invalid", "k8s/a.yaml:1", "kind"},
		{"plain: a list of things", plain, map[string]string{"k8s/a.yaml": "- a\n"}, "manifest-invalid", "k8s/a.yaml:1", ""},
		{"plain: twice", plain, map[string]string{"k8s/a.yaml": settings, "k8s/b.yaml": "---\n" + settings}, "manifest-duplicate", "k8s/b.yaml:2", "twice"},
		{"plain: a key twice", plain, map[string]string{"k8s/a.yaml": settings + "data:\n  a: x\n  b: y\n  a: z\n"}, "manifest-invalid", "k8s/a.yaml:8", "key a stands twice"},
		{"plain: a key twice in a List", plain, map[string]string{"k8s/a.yaml": "apiVersion: v1\nkind: List\nitems:\n- kind: ConfigMap\n  apiVersion: v1\n  metadata: {name: x}\n  kind: ConfigMap\n"}, "manifest-invalid", "k8s/a.yaml:7", "key kind stands twice"},
		{"plain: a name that is a number", plain, map[string]string{"k8s/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: 123\n"}, "manifest-invalid", "k8s/a.yaml:4", "metadata.name is no text, but 123: put it in quotes"},
		{"plain: a namespace that is none", plain, map[string]string{"k8s/a.yaml": settings + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: yes}\n"}, "manifest-invalid", "k8s/a.yaml:8", "metadata.namespace is no text, but yes"},
		{"plain: a template", plain, map[string]string{"k8s/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Values.x }}\n"}, "manifest-invalid", "k8s/a.yaml:4", "looks like a template"},
		{"plain: a template with a condition", plain, map[string]string{"k8s/a.yaml": "apiVersion: v1\n{{- if .Values.x }}\nkind: ConfigMap\n{{- end }}\n"}, "manifest-invalid", "k8s/a.yaml:2", "looks like a template"},
		{"plain: a template in a text", plain, map[string]string{"k8s/a.yaml": settings + "data:\n  t: '{{ .Labels }}'\n  a: 1\n b: [\n"}, "manifest-invalid", "k8s/a.yaml:8", "no YAML"},
		{"plain: a text", plain, map[string]string{"k8s/a.yaml": "hello\n"}, "manifest-invalid", "k8s/a.yaml:1", `a text, "hello"`},
		{"plain: empty", plain, map[string]string{"k8s/a.yaml": "# nothing\n"}, "manifest-empty", "k8s/*.yaml", "no object"},
		{"a command that prints nothing", Source{Command: &Command{Run: []string{"true"}, Where: "kdev.yaml:3"}}, nil, "manifest-empty", "kdev.yaml:3", "no object"},
		{"a command that prints a text", Source{Command: &Command{Run: []string{"echo", "done"}, Where: "kdev.yaml:3"}}, nil, "render-command", "kdev.yaml:3", `there is a text, "done", where an object belongs`},
		{"plain: none", plain, map[string]string{}, "manifest-missing", "k8s/*.yaml", "no manifest"},
		{"plain: a URL", Source{YAML: []string{"https://example.invalid/a.yaml"}}, map[string]string{}, "render-remote", "https://example.invalid/a.yaml", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := project(t, tc.files)
			m, err := Render(t.Context(), root, []Source{tc.source})
			p := problem.As(err)
			if p == nil {
				t.Fatalf("error %v", err)
			}
			if p.Code != tc.code || p.Where != tc.where || !strings.Contains(p.Error(), tc.says) || p.Hint == "" {
				t.Errorf("got  %s %v (hint: %s)\nwant %s %s: … %s", p.Code, p, p.Hint, tc.code, tc.where, tc.says)
			}
			if dir := tc.source.Kustomize; tc.code == "render-remote" && dir != "" && !strings.Contains(p.Hint, "command: {run: [kubectl, kustomize, "+dir+"], inputs: ["+dir+"/*]}") {
				t.Errorf("hint %s", p.Hint)
			}
			if strings.Contains(p.Error()+p.Hint, root) {
				t.Errorf("names the root: %v, %s", p, p.Hint)
			}
			if m == nil {
				t.Error("nil Manifests")
			}
		})
	}
}

// A file without an object beside others is told, and so is a chart that renders to nothing;
// where nothing is left of all, the render is refused.
func TestRenderTellsWhatIsEmpty(t *testing.T) {
	root := project(t, map[string]string{"a.yaml": settings, "b.yaml": "# nothing\n", "chart/Chart.yaml": "apiVersion: v2\nname: chart\nversion: 1.0.0\n", "chart/templates/a.yaml": "{{- if .Values.on }}\n" + settings + "{{- end }}\n"})
	plain, chart := Source{YAML: []string{"*.yaml"}}, Source{Helm: &Chart{Chart: "chart", Namespace: "shop"}}
	m, err := Render(t.Context(), root, []Source{plain, chart})
	if err != nil || len(m.Objects) != 1 || !slices.Contains(m.Notes, "b.yaml holds no object") || !slices.Contains(m.Notes, "chart renders to no object") {
		t.Errorf("%v, notes %q", err, m.Notes)
	}
	if _, err := Render(t.Context(), root, []Source{chart, chart}); problem.As(err) == nil || problem.As(err).Code != "manifest-empty" {
		t.Errorf("charts alone: %v", err)
	}
}
