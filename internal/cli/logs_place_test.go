package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kdev-io/kdev/internal/testkube"
)

// withoutCurrent takes the current context out of the kubeconfig, as on a machine where
// only kdev made a cluster, and adds the context "other" of the namespace elsewhere.
func withoutCurrent(t *testing.T) {
	t.Helper()
	path := os.Getenv("KUBECONFIG")
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c.CurrentContext = ""
	c.Contexts["other"] = c.Contexts["fake"].DeepCopy()
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
}

// TestLogsLaysFlagsOverTheProjectsContext: kubectl's flags change how the project's
// cluster is talked to, not which one it is.
func TestLogsLaysFlagsOverTheProjectsContext(t *testing.T) {
	c, _, env := besideStanding(t)
	withoutCurrent(t)
	c.Log("default", "db-0", "db").End()
	for _, flag := range []string{"--request-timeout=5s", "--as=me", "--user=fake", "--cluster=fake", "--insecure-skip-tls-verify", "--token=fake", "--disable-compression"} {
		if o := logsBeside(t, env, "sts/db", "--no-follow", "-o", "raw", flag); o.code != 0 || o.stdout != "db-0 of before\n" {
			t.Errorf("%s: %+v", flag, o)
		}
	}
}

// TestLogsOfTheProjectsContextByName: naming the project's own context is no other place;
// another one is read as outside of the project.
func TestLogsOfTheProjectsContextByName(t *testing.T) {
	c, _, env := besideStanding(t)
	withoutCurrent(t)
	if err := c.Put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kdev-shop", Labels: map[string]string{idLabel: "x"}}}); err != nil {
		t.Fatal(err)
	}
	mine := testkube.Pod("default", "web-1", "web")
	mine.Labels = map[string]string{partOfLabel: "x"}
	c.pod(mine)
	c.pod(testkube.Pod("elsewhere", "far-1", "far"))
	for _, name := range []string{"db-0", "stray-1", "web-1"} {
		c.Log("default", name, name[:len(name)-2]).End()
	}
	c.Log("elsewhere", "far-1", "far").Print(c.at, "far away")
	c.Log("elsewhere", "far-1", "far").End()
	home := env.Getenv("HOME")
	alone := env
	alone.Getenv = func(k string) string { return map[string]string{"HOME": home}[k] }
	if o := logsBeside(t, alone, "--context", "fake", "--no-follow", "-o", "raw"); o.code != 0 || o.stdout != "web-1 of before\n" {
		t.Errorf("without a session: %+v", o)
	}
	// The session's pods are the project's, whatever their labels say.
	o := logsBeside(t, env, "--context", "fake", "--no-follow", "-o", "raw")
	got := strings.Split(strings.TrimSpace(o.stdout), "\n")
	slices.Sort(got)
	if want := []string{"db-0 of before", "docs are served", "web-1 of before"}; o.code != 0 || !slices.Equal(got, want) {
		t.Errorf("with a session: %+v", o)
	}
	if o := logsBeside(t, env, ".", "--context", "other", "--no-follow", "-o", "raw"); o.code != 0 || o.stdout != "far away\n" {
		t.Errorf("another context: %+v", o)
	}
	if o := logsBeside(t, env, "--context", "other", "--no-follow"); o.code != 2 || !strings.Contains(o.stderr, "one of pod-query") {
		t.Errorf("another context without a query: %+v", o)
	}
}

// TestLogsCompletesInTheProject: a completion asks where the command would read.
func TestLogsCompletesInTheProject(t *testing.T) {
	_, _, env := besideStanding(t)
	withoutCurrent(t)
	var out, errs strings.Builder
	env.Out, env.Err = &out, &errs
	if code := Main(t.Context(), env, []string{"__complete", "logs", "sts/d"}); code != 0 || !strings.HasPrefix(out.String(), "sts/db\n") {
		t.Errorf("%d %q\n%s", code, out.String(), errs.String())
	}
}

// TestLogsOfAnEnvironment: --env reads where the environment is; what kdev deployed there,
// else all that is there.
func TestLogsOfAnEnvironment(t *testing.T) {
	c, _, env := besideStanding(t)
	withoutCurrent(t)
	project := `name: shop
manifests: {yaml: [a.yaml]}
environments:
  staging: {manifests: {yaml: [a.yaml]}, context: other, namespace: elsewhere}
`
	for name, text := range map[string]string{"kdev.yaml": project, "a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"} {
		if err := os.WriteFile(filepath.Join(env.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mine := testkube.Pod("elsewhere", "web-9", "web")
	mine.Labels = map[string]string{partOfLabel: "y"}
	c.pod(mine)
	c.pod(testkube.Pod("elsewhere", "far-1", "far"))
	c.Log("elsewhere", "web-9", "web").Print(c.at, "web of staging")
	c.Log("elsewhere", "far-1", "far").Print(c.at, "far of staging")
	c.Log("elsewhere", "web-9", "web").End()
	c.Log("elsewhere", "far-1", "far").End()
	read := func(args ...string) (lines []string, o outcome) {
		t.Helper()
		o = logsBeside(t, env, append([]string{"--env", "staging", "--no-follow", "-o", "raw"}, args...)...)
		lines = strings.Split(strings.TrimSpace(o.stdout), "\n")
		slices.Sort(lines)
		return lines, o
	}
	if got, o := read(); o.code != 0 || !slices.Equal(got, []string{"far of staging", "web of staging"}) || !strings.Contains(o.stderr, "kdev deployed nothing in namespace elsewhere") {
		t.Errorf("%+v", o)
	}
	if err := c.Put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "kdev-shop", Labels: map[string]string{idLabel: "y"}}}); err != nil {
		t.Fatal(err)
	}
	if got, o := read(); o.code != 0 || !slices.Equal(got, []string{"web of staging"}) {
		t.Errorf("%+v", o)
	}
	if got, o := read("far"); o.code != 0 || !slices.Equal(got, []string{"far of staging"}) {
		t.Errorf("%+v", o)
	}
	if _, o := read("--context", "fake"); o.code != 2 || !strings.Contains(o.stderr, "--env cannot be used with --context") {
		t.Errorf("%+v", o)
	}
	if o := logsBeside(t, env, "--env", "stagin", "--no-follow"); o.code != 2 || !strings.Contains(o.stderr, "staging") {
		t.Errorf("%+v", o)
	}
}
