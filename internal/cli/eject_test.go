package cli

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
)

// several is a project with manifests of its own beside two services of the short form.
var several = map[string]string{
	"kdev.yaml": `# what this project is
name: several
manifests: {yaml: [k8s/cache.yaml]} # the old part
services:
  web:
    app: {port: 80, environments: {prod: {port: 8080, env: {A: b}}}} # the new part
    needs: [api, redis, cache]
  api: # stays as it is
    app: {port: 81, command: [api], host: api.localhost, environments: {prod: {host: api.example.com, command: [api, --prod]}}}
    needs:
    - redis
    - postgres: {environments: [dev]}
environments:
  prod: {kustomize: k8s/prod}
  staging:
    namespace: other
`,
	"k8s/cache.yaml":              "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cache}\n",
	"k8s/prod/kustomization.yaml": "resources: [cache.yaml]\n",
	"k8s/prod/cache.yaml":         "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n",
	"web/Dockerfile":              "FROM scratch\n",
	"api/Dockerfile":              "FROM scratch\n",
}

func ejectProject(t *testing.T, from fs.FS, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if from != nil {
		if err := os.CopyFS(dir, from); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func eject(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := Main(context.Background(), Env{In: strings.NewReader(""), Out: &out, Err: &out, Dir: dir, Getenv: func(string) string { return "" }}, append([]string{"eject"}, args...))
	return code, out.String()
}

func rendersOf(t *testing.T, dir string) []rendering {
	t.Helper()
	p, err := config.Load(dir, config.LoadOptions{Env: map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := renderAll(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What was ejected renders to the same objects, in each environment, at each step.
func TestEject(t *testing.T) {
	for _, c := range []struct {
		name  string
		from  string
		files map[string]string
		steps [][]string
		keeps []string // of kdev.yaml
	}{
		{"example", "../../examples/visits", nil, [][]string{nil}, []string{"# signs the cookie", "manifests: {kustomize: deploy/overlays/dev}", "redis: {generate: [password]}"}},
		{"every key", "../deploy/app/testdata/shop", nil, [][]string{nil}, []string{"orders: {generate: [password], only: [dev]}"}},
		{"one after the other", "", several, [][]string{{"web"}, {"api", "--to", "deploy/api"}}, []string{"# what this project is", "# the old part", "# stays as it is", "{kustomize: k8s/prod}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var from fs.FS
			if c.from != "" {
				from = os.DirFS(c.from)
			}
			dir := ejectProject(t, from, c.files)
			before := rendersOf(t, dir)
			for _, args := range c.steps {
				if code, out := eject(t, dir, args...); code != 0 || !strings.Contains(out, "renders to the same objects") {
					t.Fatalf("eject %v: %d\n%s", args, code, out)
				}
				after := rendersOf(t, dir)
				for i, was := range before {
					if after[i].environment != was.environment || len(after[i].objects) != len(was.objects) {
						t.Errorf("%s: %d objects, were %d", was.environment, len(after[i].objects), len(was.objects))
					}
					for _, d := range deploy.Compare(was.objects, after[i].objects) {
						t.Errorf("%s: %s %s/%s %v", was.environment, d.Change, d.Kind, d.Name, d.Fields)
					}
				}
			}
			text, err := os.ReadFile(filepath.Join(dir, "kdev.yaml"))
			if err != nil || strings.Contains(string(text), "app: ") {
				t.Errorf("%v: kdev.yaml is\n%s", err, text)
			}
			for _, keep := range c.keeps {
				if !strings.Contains(string(text), keep) {
					t.Errorf("%q is missing in kdev.yaml:\n%s", keep, text)
				}
			}
			if code, out := eject(t, dir); code != 2 || !strings.Contains(out, "no such service is described by app") {
				t.Errorf("nothing to eject: %d\n%s", code, out)
			}
		})
	}
}

// Nothing is overwritten, and nothing is left behind of what cannot be done.
func TestEjectRefuses(t *testing.T) {
	dir := ejectProject(t, os.DirFS("../../examples/visits"), map[string]string{"deploy/base/web.yaml": "mine: true\n"})
	tree := func() map[string]string {
		t.Helper()
		all := map[string]string{}
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			all[p] = ""
			if !d.IsDir() {
				b, err := os.ReadFile(p)
				all[p] = string(b)
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	refused := func(says string, args ...string) {
		t.Helper()
		before := tree()
		if code, out := eject(t, dir, args...); code != 2 || !strings.Contains(out, says) {
			t.Errorf("eject %v: %d\n%s", args, code, out)
		}
		after := tree()
		for p, text := range before {
			if after[p] != text {
				t.Errorf("%s is changed", p)
			}
		}
		if len(after) != len(before) {
			t.Errorf("%d files, were %d", len(after), len(before))
		}
	}
	refused("deploy/base/web.yaml: the file is there already")
	refused("no such service is described by app", "api")
	refused("a folder of the project", "--to", "../elsewhere")
	if err := os.WriteFile(filepath.Join(dir, "kdev.local.yaml"), []byte("services: {web: {app: {port: 8000, replicas: 2}}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused("Deployment/web is there twice", "--to", "k8s")
	if err := os.Remove(filepath.Join(dir, "kdev.local.yaml")); err != nil {
		t.Fatal(err)
	}
	if code, out := eject(t, dir, "--force"); code != 0 {
		t.Errorf("--force: %d\n%s", code, out)
	}
}
