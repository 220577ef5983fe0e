//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// small writes a project of one service with a page, without any RUN.
func small(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	write(t, dir, map[string]string{
		"kdev.yaml":          "name: " + name + "\nservices:\n  web:\n    build: {context: web}\n    ports: [18080:8080]\nmanifests: {yaml: [k8s/*.yaml]}\n",
		"web/Dockerfile":     "FROM busybox:1.35\nCOPY www /www\nCMD [\"busybox\", \"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n",
		"web/www/index.html": "hello\n",
		"k8s/web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: web
        ports: [{containerPort: 8080}]
`,
	})
	t.Cleanup(func() {
		if c, out := code(t, dir, "down", "--volumes"); c != 0 {
			t.Errorf("down: exit code %d\n%s", c, out)
		}
	})
	return dir
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBadInput shows that each mistake ends in one error with a place, a hint
// and the documented exit code, and that nothing half-done is left unsaid.
func TestBadInput(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		args  []string
		code  int
		says  []string
	}{
		"a Dockerfile that fails": {
			files: map[string]string{"web/Dockerfile": "FROM busybox:1.35\nCOPY www /www\nRUN echo the reason && exit 3\n"},
			code:  1, says: []string{"web/Dockerfile:3", "the reason", "hint:"},
		},
		"a Dockerfile that is none": {
			files: map[string]string{"web/Dockerfile": "FROM busybox:1.35\nCOPPY www /www\n"},
			code:  2, says: []string{"web/Dockerfile:2", "COPPY", "hint:"},
		},
		"a base image that does not exist": {
			files: map[string]string{"web/Dockerfile": "FROM kdev.invalid/none:1\nCOPY www /www\n"},
			code:  1, says: []string{"kdev.invalid/none:1", "hint:"},
		},
		"a manifest that the API refuses": {
			files: map[string]string{"k8s/web.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: -1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers: [{name: web, image: web}]\n"},
			code:  3, says: []string{"Deployment/web", "k8s/web.yaml:5", "spec.replicas", "hint:"},
		},
		"a manifest that is no YAML": {
			files: map[string]string{"k8s/web.yaml": "apiVersion: v1\nkind: [\n"},
			code:  2, says: []string{"k8s/web.yaml:", "hint:"},
		},
		"a kind that the cluster does not know": {
			files: map[string]string{"k8s/thing.yaml": "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n"},
			code:  3, says: []string{"Thing/a", "k8s/thing.yaml:1", "hint:"},
		},
		"a command that is not in the image": {
			files: map[string]string{"web/Dockerfile": "FROM busybox:1.35\nCOPY www /www\nCMD [\"/no/such/program\"]\n"},
			code:  3, says: []string{"/no/such/program", "hint:", "will not start"},
		},
		"an image that nobody has": {
			files: map[string]string{"k8s/other.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: other}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: other, image: 'kdev.invalid/none:1'}]}\n"},
			code:  3, says: []string{"kdev.invalid/none:1", "hint:"},
		},
		"too little time": {
			files: map[string]string{"k8s/slow.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: slow}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: slow, image: 'busybox:1.35', command: [sleep, '1000'], readinessProbe: {exec: {command: ['false']}}}]}\n"},
			args:  []string{"--timeout", "15s"},
			code:  4, says: []string{"not ready after", "slow", "hint:"},
		},
	}
	i := 0
	for name, test := range tests {
		i++
		project := fmt.Sprintf("bad%d", i)
		t.Run(name, func(t *testing.T) {
			dir := small(t, project)
			write(t, dir, test.files)
			got, out := code(t, dir, append([]string{"up", "--until", "ready"}, test.args...)...)
			if got != test.code {
				t.Errorf("exit code %d, want %d", got, test.code)
			}
			for _, text := range test.says {
				if !strings.Contains(out, text) {
					t.Errorf("it does not say %q", text)
				}
			}
			if strings.Count(out, "error: ") != 1 {
				t.Errorf("it is not one error")
			}
			if t.Failed() {
				t.Logf("it printed:\n%s", out)
			}
			if c, out := code(t, dir, "down", "--volumes"); c != 0 {
				t.Fatalf("down: exit code %d\n%s", c, out)
			}
			if _, err := api.CoreV1().Namespaces().Get(t.Context(), project, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("down left the namespace: %v", err)
			}
		})
	}
}

func TestBusyPortIsToldAndTheNextOneServes(t *testing.T) {
	dir := small(t, "busyport")
	l, err := net.Listen("tcp", "127.0.0.1:18080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	up := start(t, dir, "up")
	up.expect("port 18080 is in use")
	up.expect("everything is ready")
	// Without a readiness probe the pod is ready before its server listens.
	eventually(t, "the page answers", func() (bool, string) {
		page, err := get("http://localhost:18081/")
		return err == nil && page == "hello\n", fmt.Sprintf("%q %v", page, err)
	})
	if code := up.interrupt(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
}

// TestInterruptedAtAnyMoment sends Ctrl-C at each phase; what was made by then
// is found by down.
func TestInterruptedAtAnyMoment(t *testing.T) {
	for i, phase := range []string{"cluster kind-", "registry ", "rendered", "building", "built", "created"} {
		t.Run(phase, func(t *testing.T) {
			dir := small(t, fmt.Sprintf("stopped%d", i))
			// A content of its own, so that the store holds no image of it yet.
			write(t, dir, map[string]string{"web/www/index.html": fmt.Sprintf("stopped %d %s\n", i, t.TempDir())})
			up := start(t, dir, "up")
			up.expect(phase)
			if code := up.interrupt(); code != 130 {
				t.Errorf("exit code %d, want 130:\n%s", code, up.text())
			}
			if c, out := code(t, dir, "down", "--volumes"); c != 0 {
				t.Fatalf("down: exit code %d\n%s", c, out)
			}
			if left := objects(t, fmt.Sprintf("stopped%d", i)); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}
