//go:build e2e

package e2e

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRelease goes through what surrounds `kdev up`: what would be applied and what
// would change, how it fares, another environment, a pipeline, the way back.
func TestRelease(t *testing.T) {
	const ns, staging = "release", "release-staging"
	dir := filepath.Join(t.TempDir(), "release")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", "release"))); err != nil {
		t.Fatal(err)
	}
	script, manifest := filepath.Join(dir, "web", "run.sh"), filepath.Join(dir, "deploy", "base", "web.yaml")
	run := func(want int, args ...string) string {
		t.Helper()
		got, out := code(t, dir, args...)
		if got != want {
			t.Fatalf("kdev %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, want, out)
		}
		return out
	}
	says := func(out string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Fatalf("%q is missing in\n%s", text, out)
			}
		}
	}
	image := func(namespace string) string {
		t.Helper()
		d, err := api.AppsV1().Deployments(namespace).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d.Spec.Template.Spec.Containers[0].Image
	}
	t.Cleanup(func() {
		code(t, dir, "down", "--volumes")
		code(t, dir, "down", "--volumes", "-n", staging)
	})

	says(run(1, "diff"), "+ Deployment/web", "+ Secret/token")
	says(run(0, "status"), "absent")
	run(0, "up", "--until", "ready")
	if out := run(0, "diff"); strings.Contains(out, "Deployment") {
		t.Errorf("a diff without a difference:\n%s", out)
	}
	for _, field := range declaredFields(t, run(1, "diff", "--declared", "-o", "json")) {
		switch field {
		case "metadata.labels[applyset.kubernetes.io/part-of]", "spec.template.spec.containers[web].image", "spec.template.spec.containers[web].command":
		default:
			t.Errorf("kdev changes %s", field)
		}
	}
	says(run(0, "render", "web"), "/.kdev/agent", image(ns))

	status := readStatus(t, run(0, "status", "-o", "json"))
	if len(status.Services) != 1 || status.Services[0].State != "ready" || len(status.Services[0].Pods) != 1 || len(status.Services[0].Pods[0].Stages) < 4 || status.Services[0].Image != image(ns) {
		t.Errorf("status: %+v", status)
	}

	edit(t, manifest, "- port: 80", "- port: 81")
	says(run(1, "diff"), "~ Service/web", "spec.ports[0].port", "- 80", "+ 81")
	edit(t, manifest, "very-secret", "quite-another")
	if out := run(1, "diff"); strings.Contains(out, "another") && !strings.Contains(out, "(another)") {
		t.Errorf("a secret is shown:\n%s", out)
	}

	says(run(0, "deploy", "-e", "staging"), "web  ✓ ready", "environment staging is ready")
	first := image(staging)
	if first == image(ns) || strings.Contains(run(0, "render", "-e", "staging"), "agent") {
		t.Errorf("staging runs a dev image: %s", first)
	}
	says(run(0, "render", "-e", "staging"), first)
	run(0, "diff", "-e", "staging")

	edit(t, script, "serving one", "serving two")
	run(0, "deploy", "-e", "staging")
	second := image(staging)
	if second == first {
		t.Fatal("the new image was not deployed")
	}
	says(run(0, "rollback", "-e", "staging"), first, second)
	says(run(0, "rollback", "web", "-e", "staging"), "back to "+first)
	if got := image(staging); got != first {
		t.Errorf("runs %s after a rollback, want %s", got, first)
	}

	edit(t, script, "exec sleep 100000", "echo out of ideas; exit 7")
	says(run(3, "deploy", "-e", "staging"), "crashes with exit code 7", "out of ideas")
	says(run(0, "status", "-e", "staging"), "failed", "exit code 7")
	says(run(0, "rollback", "web", "-e", "staging"), "back to "+first)

	report := filepath.Join(dir, "report.xml")
	says(run(3, "ci", "--isolated", "--report", report), "removed namespace release-ci-", "crashes with exit code 7")
	var suite struct {
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure string `xml:"failure"`
		} `xml:"testcase"`
	}
	readFile(t, report, func(b []byte) error { return xml.Unmarshal(b, &suite) })
	if suite.Failures != 1 || len(suite.Cases) < 4 || !strings.Contains(suite.Cases[len(suite.Cases)-1].Failure, "out of ideas") {
		t.Errorf("report: %+v", suite)
	}
	edit(t, script, "echo out of ideas; exit 7", "exec sleep 100000")
	report = filepath.Join(dir, "report.json")
	says(run(0, "ci", "--isolated", "--keep", "--report", report), "everything is ready", "removed namespace release-ci-")
	var passed struct {
		Passed    bool
		Namespace string
	}
	readFile(t, report, func(b []byte) error { return json.Unmarshal(b, &passed) })
	if !passed.Passed {
		t.Errorf("report: %+v", passed)
	}
	if _, err := api.CoreV1().Namespaces().Get(t.Context(), passed.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("namespace %s: %v", passed.Namespace, err)
	}
}

func readFile(t *testing.T, file string, read func([]byte) error) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = read(b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lastJSON decodes the last line of an output that begins an object: notes of the
// standard error may stand before it.
func lastJSON(t *testing.T, out string, into any) {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "{") {
			if err := json.Unmarshal([]byte(line), into); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			return
		}
	}
	t.Fatalf("no object in %s", out)
}

func declaredFields(t *testing.T, out string) []string {
	t.Helper()
	var doc struct {
		Objects []struct{ Fields []struct{ Path string } }
	}
	lastJSON(t, out, &doc)
	var paths []string
	for _, o := range doc.Objects {
		for _, f := range o.Fields {
			paths = append(paths, f.Path)
		}
	}
	if len(paths) == 0 {
		t.Fatalf("nothing is declared: %s", out)
	}
	return paths
}

type statusOf struct {
	Services []struct {
		Name, State, Image string
		Pods               []struct {
			Name   string
			Stages []struct{ Name string }
		}
	}
}

func readStatus(t *testing.T, out string) statusOf {
	t.Helper()
	var doc statusOf
	lastJSON(t, out, &doc)
	return doc
}
