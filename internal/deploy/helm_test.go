package deploy

import (
	"maps"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

// shopChart has a dependency beside it, a hook of each kind, and a password that it makes up.
var shopChart = map[string]string{
	"chart/Chart.yaml":  "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n- {name: cache, version: 1.0.0, repository: \"file://../cache\", condition: cache.enabled}\n",
	"chart/values.yaml": "web: {replicas: 1, image: web}\ncache: {enabled: true}\n",
	"chart/templates/web.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ include \"shop.name\" . }}}\nspec:\n  replicas: {{ .Values.web.replicas }}\n" +
		"  template: {spec: {containers: [{name: web, image: {{ .Values.web.image }}}]}}\n",
	"chart/templates/_helpers.tpl": "{{ define \"shop.name\" }}{{ .Release.Name }}-web{{ end }}",
	"chart/templates/NOTES.txt":    "thank you\n",
	"chart/templates/hooks.yaml": hook("migrate", "pre-install,pre-upgrade", "5") + hook("prepare", "pre-install", "-1") + hook("seed", "post-install", "0") +
		hook("check", "test", "0") + hook("bye", "pre-delete", "0"),
	"chart/templates/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: made}\nstringData: {password: {{ randAlphaNum 12 }}, user: shop}\n",
	"chart/crds/shops.yaml":       "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: shops.example.com}\n",
	"cache/Chart.yaml":            "apiVersion: v2\nname: cache\nversion: 1.0.0\n",
	"cache/values.yaml":           "size: 1\n",
	"cache/templates/cache.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-cache, labels: {in: {{ .Release.Namespace }}}}\ndata: {size: \"{{ .Values.size }}\"}\n",
	"prod.yaml":                   "web: {replicas: 3}\ncache: {size: 2}\n",
}

func hook(name, events, weight string) string {
	return "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: " + name + "\n  annotations: {helm.sh/hook: \"" + events + "\", helm.sh/hook-weight: \"" + weight + "\"}\n"
}

func TestHelm(t *testing.T) {
	root := project(t, shopChart)
	m, err := Render(t.Context(), root, []Source{{Helm: &Chart{Chart: "chart", Release: "dev", Namespace: "shop", Values: []string{"prod.yaml"}, Set: map[string]any{"web.image": "ghcr.io/acme/web", "cache.size": int64(7)}}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range m.Objects {
		line := RefOf(o).String() + " " + o.Origin
		if h := o.Hook; h != nil {
			line += " hook"
			for word, is := range map[string]bool{" before": h.PreInstall || h.PreUpgrade, " after": h.PostInstall || h.PostUpgrade} {
				if is {
					line += word
				}
			}
			if h.due(true) && h.due(false) {
				line += " always"
			}
		}
		for _, path := range o.unstable {
			line += " unstable " + path.String()
		}
		got = append(got, line)
	}
	want := []string{
		"CustomResourceDefinition/shops.example.com chart/crds/shops.yaml",
		"ConfigMap/dev-cache chart/charts/cache/templates/cache.yaml",
		"Job/migrate chart/templates/hooks.yaml hook before always", "Job/prepare chart/templates/hooks.yaml hook before", "Job/seed chart/templates/hooks.yaml hook after",
		"Secret/made chart/templates/secret.yaml unstable stringData.password",
		"Deployment/dev-web chart/templates/web.yaml",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	web := m.Objects[len(m.Objects)-1]
	if images := ImageRefs(m.Objects); len(images) != 1 || images[0] != "ghcr.io/acme/web" {
		t.Errorf("images %v", images)
	}
	if spec := web.Object["spec"].(map[string]any); spec["replicas"] != int64(3) && spec["replicas"] != float64(3) {
		t.Errorf("replicas %v", spec["replicas"])
	}
	if cache := m.Objects[1]; cache.GetLabels()["in"] != "shop" || cache.Object["data"].(map[string]any)["size"] != "7" {
		t.Errorf("%v", cache.Object)
	}
	for file, reads := range map[string]bool{"chart/templates/new.yaml": true, "chart/values.yaml": true, "cache/templates/cache.yaml": true, "prod.yaml": true, "other.yaml": false} {
		if m.Reads(root+"/"+file) != reads {
			t.Errorf("Reads(%s) = %v", file, !reads)
		}
	}

	// A dependency that is switched off is left out.
	m, err = Render(t.Context(), root, []Source{{Helm: &Chart{Chart: "chart", Release: "dev", Set: map[string]any{"cache.enabled": false}}}})
	if err != nil || len(m.Objects) != len(want)-1 {
		t.Errorf("%d objects, %v", len(m.Objects), err)
	}
}

func TestHelmSet(t *testing.T) {
	root := project(t, map[string]string{
		"chart/Chart.yaml":       "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
		"chart/values.yaml":      "l: {kept: 1}\nhosts: [a, b]\n",
		"chart/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {values: {{ toJson (omit .Values \"global\") | quote }}, plain: \"{{ .Values.million }}\"}\n",
	})
	m, err := Render(t.Context(), root, []Source{{Helm: &Chart{Chart: "chart", Release: "dev", Set: map[string]any{
		"image.tag": "1.10", "braces": "{a,b}", "commas": `a,b=c\d`, "l": nil, "million": int64(1234567), "half": 0.5, "on": true, "hosts[0]": "yes", `keys.example\.com/x`: "dotted",
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	data := m.Objects[0].Object["data"].(map[string]any)
	want := `{"braces":"{a,b}","commas":"a,b=c\\d","half":0.5,"hosts":["yes"],"image":{"tag":"1.10"},"keys":{"example.com/x":"dotted"},"million":1234567,"on":true}`
	if data["values"] != want || data["plain"] != "1234567" {
		t.Errorf("%v\nwant %s", data, want)
	}
}

func TestHelmProblems(t *testing.T) {
	for _, tc := range []struct {
		name        string
		files       map[string]string
		chart       Chart
		code, where string
		says        string
	}{
		{"a value that is not there", map[string]string{"chart/templates/web.yaml": "a: 1\nb: {{ .Values.no.such }}\n"}, Chart{}, "render-failed", "chart/templates/web.yaml:2", "nil pointer"},
		{"required", map[string]string{"chart/templates/web.yaml": "a: 1\nb: 2\nc: {{ required \"say web.host\" .Values.web.host }}\n"}, Chart{}, "render-failed", "chart/templates/web.yaml:3", "say web.host"},
		{"a template that is none", map[string]string{"chart/templates/web.yaml": "a: {{ if }}\n"}, Chart{}, "render-failed", "chart/templates/web.yaml:1", ""},
		{"no YAML", map[string]string{"chart/templates/web.yaml": "a:\n  b: 1\n c: {{ 1 }}\n"}, Chart{}, "manifest-invalid", "chart/templates/web.yaml", "line 3"},
		{"no manifest", map[string]string{"chart/templates/web.yaml": "a: 1\n"}, Chart{}, "manifest-invalid", "chart/templates/web.yaml", "kind"},
		{"bad values", map[string]string{"prod.yaml": "a: [\n"}, Chart{Values: []string{"prod.yaml"}}, "chart-values", "prod.yaml:1", ""},
		{"no values", nil, Chart{Values: []string{"nope.yaml"}}, "chart-values", "nope.yaml", "there is no nope.yaml"},
		{"a path that is none", nil, Chart{Set: map[string]any{"a[x]": "1"}}, "chart-values", "chart", "a[x]"},
		{"no dependency", map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n- {name: db, version: 1.0.0, repository: \"@stable\"}\n"}, Chart{}, "chart-dependency", "chart/Chart.yaml", "db"},
		{"no chart", nil, Chart{Chart: "nowhere"}, "chart-invalid", "nowhere", "no such file"},
		{"a registry without a version", nil, Chart{Chart: "oci://registry.example.invalid/web"}, "chart-pull", "oci://registry.example.invalid/web", "has no version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := maps.Clone(shopChart)
			maps.Copy(files, tc.files)
			root := project(t, files)
			c := tc.chart
			if c.Chart == "" {
				c.Chart = "chart"
			}
			c.Release = "dev"
			_, err := Render(t.Context(), root, []Source{{Helm: &c}})
			p := problem.As(err)
			if p == nil {
				t.Fatalf("error %v", err)
			}
			if p.Code != tc.code || p.Where != tc.where || !strings.Contains(p.Error(), tc.says) || p.Hint == "" {
				t.Errorf("got  %s %v (hint: %s)\nwant %s %s: … %s", p.Code, p, p.Hint, tc.code, tc.where, tc.says)
			}
			if strings.Contains(p.Error(), root) {
				t.Errorf("names the root: %v", p)
			}
		})
	}
}

func TestCommandSource(t *testing.T) {
	root := project(t, map[string]string{"make.sh": "echo about to make >&2\nprintf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: %s}\\n---\\napiVersion: v1\\nkind: Secret\\nmetadata: {name: b}\\n' \"$NAME\"\n",
		"bad.sh": "echo cannot read shop.cue >&2; exit 3\n", "chatty.sh": "echo hello\n"})
	run := func(script string) (*Manifests, error) {
		return Render(t.Context(), root, []Source{{Command: &Command{Run: []string{"sh", script}, Env: map[string]string{"NAME": "a"}, Inputs: []string{"*.sh"}, Where: "kdev.yaml:3"}}})
	}
	m, err := run("make.sh")
	if err != nil || len(m.Objects) != 2 || RefOf(m.Objects[0]).String() != "ConfigMap/a" || m.Objects[0].Origin != "kdev.yaml:3" || !m.Reads(root+"/make.sh") {
		t.Errorf("%v, %v", m, err)
	}
	for script, says := range map[string]string{"bad.sh": "cannot read shop.cue", "chatty.sh": "no Kubernetes manifests"} {
		_, err := run(script)
		if p := problem.As(err); p == nil || p.Code != "render-command" || p.Where != "kdev.yaml:3" || !strings.Contains(p.Error()+p.Output, says) {
			t.Errorf("%s: %v", script, err)
		}
	}
	_, err = Render(t.Context(), root, []Source{{Command: &Command{Run: []string{"no-such-program-here"}}}})
	if p := problem.As(err); p == nil || p.Summary != "there is no program no-such-program-here" {
		t.Errorf("%v", err)
	}
}

// What a chart makes up stays what it was at first; all else is the render's.
func TestKeepLive(t *testing.T) {
	first := parse(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {password: one, user: a}\n")
	second := parse(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {password: two, user: a}\n")
	markUnstable(first, second)
	live := parse(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {password: bGl2ZQ==, user: b2xk}\n")[0]
	readable(first[0])
	kept, _ := keepLive(first[0], live.Unstructured)
	data := first[0].Object["data"].(map[string]any)
	if data["password"] != "bGl2ZQ==" || data["user"] != "YQ==" || len(kept) != 1 || kept[0] != "data.password" {
		t.Errorf("%v, kept %v", data, kept)
	}
	if kept, _ := keepLive(second[0], nil); kept != nil {
		t.Errorf("without a live object: %v", kept)
	}
}
