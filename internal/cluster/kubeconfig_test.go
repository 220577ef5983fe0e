package cluster

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/problem"
)

// foreignKubeconfig has what kubeconfigs in the wild have: comments, fields of
// other tools, exec plugins, relative paths, anchors, long data, a current context.
const foreignKubeconfig = `# kept by hand
apiVersion: v1
kind: Config
current-context: prod-eu
preferences: {colors: true}
clusters:
- name: prod-eu # do not touch
  cluster:
    server: https://prod.example.com
    certificate-authority: certs/ca.crt
    x-vendor: {a: 1, b: [2, "3"]}
- cluster: {server: "https://127.0.0.1:7777", insecure-skip-tls-verify: true}
  name: tunnel
contexts:
- name: prod-eu
  context: {cluster: prod-eu, user: sso, namespace: shop}
- name: tunnel
  context:
    cluster: tunnel
    user: sso
    extensions:
    - name: context_info
      extension: {provider: minikube.sigs.k8s.io, version: v1.30.0}
users:
- name: sso
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: aws
      args: [eks, get-token, "--cluster-name=prod"]
      env: [{name: AWS_PROFILE, value: "0123"}]
      interactiveMode: Never
`

const kindEntry = `apiVersion: v1
kind: Config
current-context: kind-deploytest
clusters:
- cluster: {certificate-authority-data: QUFBQQ==, server: "https://127.0.0.1:46709"}
  name: kind-deploytest
contexts:
- context: {cluster: kind-deploytest, user: kind-deploytest}
  name: kind-deploytest
users:
- name: kind-deploytest
  user: {client-certificate-data: QUFBQQ==, client-key-data: QUFBQQ==}
`

func TestMergeAndRemove(t *testing.T) {
	const empty = "apiVersion: v1\nkind: Config\nclusters: null\ncontexts: []\nusers: null\ncurrent-context: \"\"\n"
	stale := strings.ReplaceAll(kindEntry, "46709", "1111")
	for _, tc := range []struct {
		name   string
		files  []string // contents; "" is a file that is not there
		target int      // index of the file that gets the entry
	}{
		{"one file", []string{foreignKubeconfig}, 0},
		{"no file yet", []string{""}, 0},
		{"kubectl's empty file", []string{empty}, 0},
		{"first that exists", []string{"", foreignKubeconfig}, 1},
		{"several", []string{foreignKubeconfig, empty}, 0},
		{"where the entry already is", []string{foreignKubeconfig, stale}, 1},
		{"in both", []string{stale, stale}, 0},
		{"json", []string{`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"x","cluster":{"server":"https://x"}}],"users":[],"contexts":[],"current-context":"x"}`}, 0},
		{"none exists", []string{"", ""}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			var files []string
			for i, text := range tc.files {
				f := filepath.Join(dir, "sub", string(rune('a'+i)))
				files = append(files, f)
				if text != "" {
					write(t, f, text)
				}
			}
			t.Setenv("KUBECONFIG", strings.Join(files, string(os.PathListSeparator)))
			before := withoutEntry(t, "kind-deploytest", files...)

			for range 2 { // the second time changes nothing
				if err := mergeKubeconfig(t.Context(), "", "kind-deploytest", []byte(kindEntry)); err != nil {
					t.Fatal(err)
				}
			}
			if after := withoutEntry(t, "kind-deploytest", files...); after != before {
				t.Errorf("merge changed foreign entries:\n%s\nwas:\n%s", after, before)
			}
			for i, f := range files {
				data, _ := os.ReadFile(f)
				if has := holdsEntry(data, "kind-deploytest"); has != (i == tc.target) {
					t.Errorf("entry in file %d: %v\n%s", i, has, data)
				}
			}
			config, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
			if err != nil {
				t.Fatal(err)
			}
			if c := config.Clusters["kind-deploytest"]; c == nil || c.Server != "https://127.0.0.1:46709" {
				t.Errorf("kubectl sees %+v", c)
			}
			if stat, _ := os.Stat(files[tc.target]); tc.files[tc.target] == "" && stat.Mode().Perm() != 0o600 {
				t.Errorf("new kubeconfig has mode %v", stat.Mode())
			}

			if err := removeKubeconfig(t.Context(), "", "kind-deploytest"); err != nil {
				t.Fatal(err)
			}
			if after := semantics(t, files...); after != before {
				t.Errorf("remove left:\n%s\nwant:\n%s", after, before)
			}
		})
	}
}

func TestMergeKeepsComments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, foreignKubeconfig)
	if err := mergeKubeconfig(t.Context(), file, "kind-deploytest", []byte(kindEntry)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# kept by hand", "# do not touch", "certificate-authority: certs/ca.crt", "- name: prod-eu"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("lost %q:\n%s", want, data)
		}
	}
}

func TestKubeconfigFileStaysWhatItIs(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	write(t, file, foreignKubeconfig)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	stat := func(path string) os.FileInfo {
		s, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := stat(file)
	// Removing what is not there writes nothing.
	if err := removeKubeconfig(t.Context(), link, "kind-deploytest"); err != nil {
		t.Fatal(err)
	}
	if now := stat(file); !os.SameFile(before, now) || now.ModTime() != before.ModTime() {
		t.Error("an edit without effect wrote the file")
	}
	if err := mergeKubeconfig(t.Context(), link, "kind-deploytest", []byte(kindEntry)); err != nil {
		t.Fatal(err)
	}
	if stat(link).Mode()&os.ModeSymlink == 0 || stat(file).Mode().Perm() != 0o640 {
		t.Errorf("link %v, file %v", stat(link).Mode(), stat(file).Mode())
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKubeconfigProblems(t *testing.T) {
	t.Run("locked", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "config")
		write(t, file+".lock", "")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := mergeKubeconfig(ctx, file, "kind-deploytest", []byte(kindEntry)); err == nil {
			t.Error("merged into a locked file")
		}
		if _, err := os.Stat(file + ".lock"); err != nil {
			t.Error("took away another's lock")
		}
	})
	t.Run("broken", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "config")
		write(t, file, "clusters: [\n")
		err := mergeKubeconfig(t.Context(), file, "kind-deploytest", []byte(kindEntry))
		if p := problem.As(err); p == nil || p.Code != "kubeconfig-invalid" {
			t.Errorf("error %v", err)
		}
		if data, _ := os.ReadFile(file); string(data) != "clusters: [\n" {
			t.Error("changed a file that it does not understand")
		}
	})
}

func TestKubeconfigFromManyAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, foreignKubeconfig)
	before := semantics(t, file)
	names := []string{"kind-a", "kind-b", "kind-c", "kind-d", "kind-e", "kind-f"}
	each := func(do func(name string) error) {
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() {
				if err := do(name); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	each(func(name string) error {
		return mergeKubeconfig(t.Context(), file, name, []byte(strings.ReplaceAll(kindEntry, "kind-deploytest", name)))
	})
	config, err := clientcmd.LoadFromFile(file)
	if err != nil || len(config.Contexts) != 2+len(names) {
		t.Errorf("%d contexts, %v", len(config.Contexts), err)
	}
	each(func(name string) error { return removeKubeconfig(t.Context(), file, name) })
	if after := semantics(t, file); after != before {
		t.Errorf("left:\n%s\nwant:\n%s", after, before)
	}
}

// semantics is the content of the files without its form: JSON with sorted keys.
// Empty lists and files that are not there count as the same.
func semantics(t *testing.T, files ...string) string {
	t.Helper()
	return withoutEntry(t, "", files...)
}

// withoutEntry is semantics with the entries of a name left out.
func withoutEntry(t *testing.T, name string, files ...string) string {
	t.Helper()
	var out []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		config := map[string]any{}
		if err := yaml.Unmarshal(data, &config); err != nil {
			t.Fatal(err)
		}
		for _, list := range kubeconfigLists {
			entries, _ := config[list].([]any)
			entries = slices.DeleteFunc(entries, func(e any) bool { return name != "" && e.(map[string]any)["name"] == name })
			config[list] = entries
			if len(entries) == 0 {
				delete(config, list)
			}
		}
		if name == "" || len(config) > 0 {
			delete(config, "apiVersion")
			delete(config, "kind")
		}
		text, err := json.MarshalIndent(config, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	return strings.Join(out, "\n")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeExecutable(t *testing.T, path, text string) {
	t.Helper()
	write(t, path, text)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}
