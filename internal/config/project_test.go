package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

func load(t *testing.T, root string) *Project {
	t.Helper()
	p, err := Load(root, LoadOptions{Env: map[string]string{"USER": "ada"}, ManifestsOptional: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func project(t *testing.T, files ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "shop")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		write(t, root, name, content)
	}
	return root
}

const service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"

func TestLoadResolves(t *testing.T) {
	c := corpus(t)["full"]
	root := c.unpack(t)
	p := load(t, root)
	web, ok := p.Service("web")
	if !ok {
		t.Fatal("no web")
	}
	want := Service{
		Name:  "web",
		Where: "kdev.yaml:7",
		Image: "ghcr.io/acme/web",
		Build: &Build{
			Context:    filepath.Join(root, "web"),
			Dockerfile: filepath.Join(root, "web", "Dockerfile"),
			Target:     "final",
			Args:       map[string]string{"DEBUG": "true", "RETRIES": "3", "VERSION": "1.30", "WHO": "ada"},
			Where:      "kdev.yaml:9",
		},
		Sync: Sync{Rules: []SyncRule{{From: "src", To: "/app/src", Where: "kdev.yaml:10"}}},
		OnSync: []OnSync{
			{Paths: []string{"*.py"}, Restart: true, Where: "kdev.yaml:12"},
			{Paths: []string{"package.json"}, Run: []string{"sh", "-c", "npm ci"}, Where: "kdev.yaml:13"},
			{Paths: []string{"nginx.conf"}, Run: []string{"nginx", "-t"}, Signal: "HUP", Where: "kdev.yaml:14"},
		},
		Ports: []Port{
			{"127.0.0.1", 80, 80, "kdev.yaml:15"},
			{"127.0.0.1", 8080, 80, "kdev.yaml:15"},
			{"127.0.0.1", 8081, 81, "kdev.yaml:15"},
			{"::1", 8082, 82, "kdev.yaml:15"},
			{"127.0.0.1", 9000, 80, "kdev.yaml:15"},
		},
		Needs: []string{"redis"},
	}
	if !reflect.DeepEqual(*web, want) {
		t.Errorf("web\n got %+v %+v\nwant %+v %+v", *web, *web.Build, want, *want.Build)
	}
	if r, _ := p.Service("redis"); r.Build != nil {
		t.Error("redis has no folder and yet a build")
	}
	if w, _ := p.Service("worker"); !w.Sync.Off {
		t.Error("sync: off is lost")
	}
	if p.Namespace != "shop-ada" || p.NamespaceFrom != "kdev.yaml:3" {
		t.Errorf("namespace %s from %s", p.Namespace, p.NamespaceFrom)
	}
	if want := (Cluster{"kind", 2, "v1.36"}); p.Cluster != want {
		t.Errorf("cluster %+v", p.Cluster)
	}
	if want := (Router{Port: 7081}); p.Router != want {
		t.Errorf("router %+v", p.Router)
	}
	e := p.Environments[0]
	if e.Name != "prod" || e.Context != "prod-eu" || e.Namespace != "shop-prod" || len(e.Manifests) != 1 {
		t.Errorf("environment %+v", e)
	}
}

func TestVariablesReachTheirType(t *testing.T) {
	root := corpus(t)["variable-typed"].unpack(t)
	p, err := Load(root, LoadOptions{Env: map[string]string{"EMPTY": "", "N": "3"}})
	if err != nil {
		t.Fatal(err)
	}
	web, _ := p.Service("web")
	if p.Name != "shop" || p.Cluster.Nodes != 3 || p.Cluster.Version != "v1.36" || !web.OnSync[0].Restart || web.Build.Args["A"] != "${HOME}" {
		t.Errorf("%+v %+v", p, web)
	}
}

func TestEnvironmentWinsOverDotenv(t *testing.T) {
	root := project(t, "kdev.yaml=name: ${A}-${B}", ".env=A=file\nB=file")
	p, err := Load(root, LoadOptions{Env: map[string]string{"A": "env"}, ManifestsOptional: true})
	if err != nil || p.Name != "env-file" {
		t.Fatal(p, err)
	}
}

func TestBranch(t *testing.T) {
	root := project(t, "kdev.yaml=namespace: shop-${BRANCH}", ".git/HEAD=ref: refs/heads/Feature/Login_2\n")
	if p := load(t, root); p.Namespace != "shop-feature-login-2" {
		t.Error(p.Namespace)
	}
	linked := project(t, "kdev.yaml=namespace: shop-${BRANCH}", "git/HEAD=ref: refs/heads/fix\n", ".git=gitdir: git\n")
	if p := load(t, linked); p.Namespace != "shop-fix" {
		t.Error(p.Namespace)
	}
	detached := project(t, "kdev.yaml=namespace: shop-${BRANCH}", ".git/HEAD=0123456789abcdef\n")
	_, err := Load(detached, LoadOptions{Env: map[string]string{}})
	if p := problem.As(err); p == nil || p.Code != "config-variable" {
		t.Error(err)
	}
}

func TestDetection(t *testing.T) {
	for name, c := range map[string]struct {
		files        []string
		services     []string
		manifests    []Source
		environments []string
		namespace    string
	}{
		"overlays": {
			files: []string{
				"webui/Dockerfile=", "services/api/Dockerfile=", "node_modules/x/Dockerfile=", ".hidden/Dockerfile=",
				"deploy/base/kustomization.yaml=namespace: base",
				"deploy/overlays/dev/kustomization.yaml=resources: [../../base]\nnamespace: dev-ns\n",
				"deploy/overlays/prod/kustomization.yml=namespace: shop-prod",
				"deploy/overlays/notes/readme.md=",
			},
			services:     []string{"api", "webui"},
			manifests:    []Source{{Kustomize: "deploy/overlays/dev", Where: "deploy/overlays/dev"}},
			environments: []string{"prod shop-prod"},
			namespace:    "dev-ns deploy/overlays/dev/kustomization.yaml:2",
		},
		"base's namespace": {
			files: []string{
				"web/Dockerfile=", "k8s/base/kustomization.yaml=namespace: base",
				"k8s/overlays/dev/kustomization.yaml=resources: [../../base]",
			},
			services:  []string{"web"},
			manifests: []Source{{Kustomize: "k8s/overlays/dev", Where: "k8s/overlays/dev"}},
			namespace: "base k8s/base/kustomization.yaml:1",
		},
		"kustomization": {
			files:     []string{"Dockerfile=", "kustomization.yaml=resources: []"},
			services:  []string{"shop"},
			manifests: []Source{{Kustomize: ".", Where: "."}},
			namespace: "shop the project's name",
		},
		"plain files": {
			files: []string{
				"web/Dockerfile=", "Dockerfile=", "k8s/a.yaml=apiVersion: v1\nkind: Service\nmetadata: {namespace: ours}\n",
				"k8s/b.yaml=apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {namespace: ours}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ours}\n---\napiVersion: acme.io/v1\nkind: Thing\n",
			},
			services:  []string{"web"},
			manifests: []Source{{YAML: []string{"k8s/*.yaml"}, Where: "k8s"}},
			namespace: "ours k8s/a.yaml:3",
		},
		"plain files of which one names no namespace": {
			files: []string{
				"web/Dockerfile=", "k8s/a.yaml=" + service, "k8s/b.yaml=apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {namespace: kube-system}\n",
			},
			services:  []string{"web"},
			manifests: []Source{{YAML: []string{"k8s/*.yaml"}, Where: "k8s"}},
			namespace: "shop the project's name",
		},
		"plain files of the cluster": {
			files:     []string{"web/Dockerfile=", "k8s/b.yaml=apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: kube-public}\n"},
			services:  []string{"web"},
			manifests: []Source{{YAML: []string{"k8s/*.yaml"}, Where: "k8s"}},
			namespace: "shop the project's name",
		},
		"plain files beside others": {
			files:     []string{"web/Dockerfile=", "k8s/a.yaml=" + service, "k8s/values.yaml=replicas: 2"},
			services:  []string{"web"},
			manifests: []Source{{YAML: []string{"k8s/a.yaml"}, Where: "k8s"}},
			namespace: "shop the project's name",
		},
		"two namespaces": {
			files: []string{
				"web/Dockerfile=", "k8s.yaml=" + "apiVersion: v1\nkind: A\nmetadata: {namespace: a}\n---\napiVersion: v1\nkind: A\nmetadata: {namespace: b}\n",
			},
			services:  []string{"web"},
			manifests: []Source{{YAML: []string{"k8s.yaml"}, Where: "k8s.yaml"}},
			namespace: "shop the project's name",
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := project(t, c.files...)
			p := load(t, root)
			var services, environments []string
			for _, s := range p.Services {
				services = append(services, s.Name)
			}
			for _, e := range p.Environments {
				environments = append(environments, e.Name+" "+e.Namespace)
			}
			if !slices.Equal(services, c.services) {
				t.Errorf("services %v", services)
			}
			if !reflect.DeepEqual(p.Manifests, c.manifests) {
				t.Errorf("manifests %+v", p.Manifests)
			}
			if !slices.Equal(environments, c.environments) {
				t.Errorf("environments %v", environments)
			}
			if got := p.Namespace + " " + p.NamespaceFrom; got != c.namespace {
				t.Errorf("namespace %s", got)
			}
			if found, err := Find(filepath.Join(root)); err != nil || found != root {
				t.Errorf("Find: %s, %v", found, err)
			}
		})
	}
}

func TestListedServicesAreAll(t *testing.T) {
	root := project(t, "kdev.yaml=services: {a: {}}", "a/Dockerfile=", "x/b/Dockerfile=", "kdev.local.yaml=services: {b: {}}")
	p := load(t, root)
	if len(p.Services) != 2 || p.Services[1].Build == nil || p.Services[1].Build.Context != filepath.Join(root, "x", "b") {
		t.Errorf("%+v", p.Services)
	}
	root = project(t, "kdev.yaml=name: x", "a/Dockerfile=", "b/Dockerfile=", "kdev.local.yaml=services: {b: {ports: [80]}}")
	if p := load(t, root); len(p.Services) != 2 || len(p.Services[1].Ports) != 1 {
		t.Errorf("a person's own wishes switched detection off: %+v", p.Services)
	}
}

func TestOverlayReplacesAndKeepsLines(t *testing.T) {
	p := load(t, corpus(t)["overlay"].unpack(t))
	web, _ := p.Service("web")
	if len(web.Ports) != 1 || web.Ports[0].Local != 9090 || web.Ports[0].Where != "kdev.local.yaml:2" || web.Where != "kdev.yaml:2" {
		t.Errorf("%+v", web)
	}
}

func TestFind(t *testing.T) {
	root := project(t, "kdev.yaml=", "a/b/c.txt=", "a/Dockerfile=")
	if got, err := Find(filepath.Join(root, "a", "b")); err != nil || got != root {
		t.Error(got, err)
	}
	detected := project(t, ".git/HEAD=", "web/src/a.py=", "web/Dockerfile=", "k8s/a.yaml="+service)
	if got, err := Find(filepath.Join(detected, "web", "src")); err != nil || got != detected {
		t.Error(got, err)
	}
	for name, c := range map[string]struct {
		root string
		hint string
	}{
		"nothing":        {project(t, "a.txt="), "manifests: {yaml: [FILES]}"},
		"no manifests":   {project(t, "web/Dockerfile="), "manifests: {yaml: [FILES]}"},
		"no Dockerfile":  {project(t, "k8s/a.yaml="+service), "manifests: {yaml: [FILES]}"},
		"another ending": {project(t, "kdev.yml="), "rename it to kdev.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Find(c.root)
			p := problem.As(err)
			if p == nil || p.Code != "config-missing" || p.Where != c.root || !strings.Contains(p.Hint, c.hint) || p.ExitCode() != 2 {
				t.Errorf("%+v", p)
			}
			_, err = Load(c.root, LoadOptions{})
			if p := problem.As(err); p == nil || p.Code != "config-missing" {
				t.Errorf("Load: %v", err)
			}
		})
	}
}

// The hint of config-missing has to work when it is followed.
func TestMissingHintWorks(t *testing.T) {
	root := project(t, "web/Dockerfile=", "infra/web.yaml="+service)
	if _, err := Find(root); err == nil {
		t.Fatal("found")
	}
	write(t, root, FileName, "manifests: {yaml: [infra/web.yaml]}\n")
	if got, err := Find(root); err != nil || got != root {
		t.Fatal(got, err)
	}
	if p := load(t, root); len(p.Manifests) != 1 || len(p.Services) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestNamedFileThatIsMissing(t *testing.T) {
	_, err := Load(project(t), LoadOptions{File: "other.yaml"})
	if p := problem.As(err); p == nil || p.Code != "config-missing" || p.Where != "other.yaml" {
		t.Error(err)
	}
}

func TestUnreadable(t *testing.T) {
	root := project(t, "kdev.yaml/x=")
	_, err := Load(root, LoadOptions{})
	if p := problem.As(err); p == nil || p.Code != "config-read" || p.Where != "kdev.yaml" {
		t.Error(err)
	}
}

func TestNoManifests(t *testing.T) {
	root := project(t, "kdev.yaml=name: x", "web/Dockerfile=")
	_, err := Load(root, LoadOptions{})
	if p := problem.As(err); p == nil || p.Code != "config-no-manifests" || p.ExitCode() != 2 {
		t.Error(err)
	}
	if p := load(t, root); len(p.Services) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestOnSyncMatches(t *testing.T) {
	for _, c := range []struct {
		patterns, path string
		want           bool
	}{
		{"", "a/b.py", true},
		{"*.py", "a.py", true},
		{"*.py", "a/b/c.py", true},
		{"*.py", "a.pyc", false},
		{"src", "src/a/b", true},
		{"src/", "src/a", true},
		{"src/*.js", "src/a.js", true},
		{"src/*.js", "src/a/b.js", false},
		{"src/**", "src/a/b.js", true},
		{"./package.json", "package.json", true},
		{"*.js !*.test.js", "a/b.test.js", false},
		{"*.js !*.test.js", "a/b.js", true},
	} {
		o := OnSync{Paths: strings.Fields(c.patterns)}
		if got := o.Matches(c.path); got != c.want {
			t.Errorf("%q %s: %v", c.patterns, c.path, got)
		}
	}
}

func TestSatisfies(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"v0.3.0", ">=0.3", true}, {"v0.2.9", ">=0.3", false}, {"v1.0.0", ">=0.3", true}, {"v0.3.5", "0.3", true}, {"v0.3.5", "0.3.4", false},
		{"v0.3.5-rc.1", "<0.4", true}, {"v0.4.0", "<0.4", false}, {"v0.4.1", "<=0.4", true}, {"v0.4.1", ">0.4", false}, {"v0.10.0", ">0.9", true},
	} {
		if got := satisfies(c.have, c.want); got != c.ok {
			t.Errorf("%s %s: %v", c.have, c.want, got)
		}
	}
}

func TestProblemsAreReachable(t *testing.T) {
	_, err := Load(corpus(t)["several"].unpack(t), LoadOptions{})
	var all Problems
	if !errors.As(err, &all) || len(all) != 3 || strings.Count(err.Error(), "\n") != 2 {
		t.Fatal(err)
	}
	if problem.As(err) != all[0] {
		t.Error("problem.As does not give the first one")
	}
}

func TestBuildSteps(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	root := corpus(t)["build-steps"].unpack(t)
	p := load(t, root)
	web, _ := p.Service("web")
	b := web.Build
	secrets := map[string]BuildSecret{"npmrc": {File: filepath.Join(home, ".npmrc")}, "API-token.1": {Env: "API_TOKEN"}}
	if !reflect.DeepEqual(b.Secrets, secrets) {
		t.Errorf("secrets %+v", b.Secrets)
	}
	for _, key := range []string{"secrets.npmrc", "secrets.API-token.1", "ssh"} {
		file, line, _ := strings.Cut(b.Places[key], ":")
		text, err := os.ReadFile(filepath.Join(root, file))
		n, _ := strconv.Atoi(line)
		lines := strings.Split(string(text), "\n")
		if err != nil || n < 1 || n > len(lines) || !strings.Contains(lines[n-1], strings.TrimPrefix(key, "secrets.")) {
			t.Errorf("%s is at %q: %v", key, b.Places[key], err)
		}
	}
	if !slices.Equal(b.SSH, []string{"default", "work=" + filepath.Join(root, "keys", "id")}) {
		t.Errorf("ssh %q", b.SSH)
	}
	if b.Network != "none" || b.ExtraHosts["git.corp"] != "10.0.0.5" || len(b.CacheFrom) != 1 || len(b.CacheTo) != 1 || p.Registry != "ghcr.io/acme" {
		t.Errorf("%+v, registry %q", b, p.Registry)
	}
}

// The slash decides where a single file goes, and means nothing for a folder.
func TestBuildKit(t *testing.T) {
	t.Setenv("HOME", "/home/ada")
	root := corpus(t)["buildkit"].unpack(t)
	want := BuildKit{Address: "tcp://builder.corp:1234", CA: filepath.Join(root, "ca.pem"), Cert: "/home/ada/cert.pem", Key: "/key.pem", ServerName: "kit"}
	if got := load(t, root).BuildKit; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	root = project(t, "kdev.yaml=buildkit: ${KIT}\n", "web/Dockerfile=FROM scratch\n")
	p, err := Load(root, LoadOptions{Env: map[string]string{"KIT": ClusterBuildKit}, ManifestsOptional: true})
	if err != nil || p.BuildKit != (BuildKit{Address: ClusterBuildKit}) {
		t.Errorf("%+v %v", p, err)
	}
}

func TestSyncRuleKeepsSlash(t *testing.T) {
	root := project(t, "web/Dockerfile=FROM scratch\n", "web/app.py=x", "web/src/a.py=x",
		"kdev.yaml=services:\n  web:\n    sync: [{from: app.py, to: /app//}, {from: app.py, to: /app/main.py}, {from: src, to: /app/src/}, {from: later.py, to: /app/./}, {from: app.py, to: /}]\n", "deploy/web.yaml="+service)
	web, ok := load(t, root).Service("web")
	if !ok {
		t.Fatal("no web")
	}
	var got []string
	for _, rule := range web.Sync.Rules {
		got = append(got, rule.To)
	}
	if want := []string{"/app/", "/app/main.py", "/app/src", "/app/", "/"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChartValuesAreAsHelmSetsThem(t *testing.T) {
	p := load(t, project(t, "chart/Chart.yaml=name: shop\n", "kdev.yaml=manifests:\n- helm:\n    chart: chart\n    set:\n      image.tag: \"1.10\"\n      id: \"0012345\"\n      bare: 0012345\n      version: 1.10\n"+
		"      hex: 0x1F\n      million: 1234567\n      quoted: \"1234567\"\n      half: 0.5\n      \"yes\": yes\n      on: true\n      off: \"true\"\n      braces: \"{a,b}\"\n      l: null\n      who: ${USER}\n"))
	want := map[string]any{"image.tag": "1.10", "id": "0012345", "bare": "0012345", "version": "1.10", "hex": "0x1F", "million": int64(1234567), "quoted": "1234567", "half": 0.5,
		"yes": "yes", "on": true, "off": "true", "braces": "{a,b}", "l": nil, "who": "ada"}
	if got := p.Manifests[0].Helm.Set; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

// Files that are gone keep nothing from being removed or looked at, and those of one
// environment none of the others.
func TestManifestsThatAreNotThere(t *testing.T) {
	yaml := "kdev.yaml=manifests: {yaml: [k8s/*.yaml]}\nenvironments:\n  staging: {yaml: [staging/*.yaml]}\n"
	p := load(t, project(t, yaml, "k8s/web.yaml="+service))
	e, err := p.Environment("staging")
	if err != nil || len(Missing(p.Manifests)) > 0 {
		t.Fatalf("%v, %v", Missing(p.Manifests), err)
	}
	if got := Missing(e.Manifests); len(got) != 1 || got[0].Where != "kdev.yaml:3" || got[0].Code != "config-manifests-missing" {
		t.Errorf("staging: %v", got)
	}
	gone := project(t, yaml)
	if _, err := Load(gone, LoadOptions{}); err == nil {
		t.Error("what dev needs is not said")
	}
	if p, err = Load(gone, LoadOptions{ManifestsLate: true}); err != nil || len(Missing(p.Manifests)) != 1 {
		t.Errorf("late: %v", err)
	}
}
