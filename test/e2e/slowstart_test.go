//go:build e2e

package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A process that starts slowly is restarted in place for longer than its liveness
// probe lets it fail: the kubelet, which grants a slow start once, leaves it alone.
func TestSlowStart(t *testing.T) {
	const ns, url = "slowstart", "http://127.0.0.1:18993/"
	dir := filepath.Join(t.TempDir(), ns)
	write(t, dir, map[string]string{
		"kdev.yaml":      "services:\n  web: {ports: [18993:8000], onSync: [{restart: true}]}\n",
		"web/Dockerfile": "FROM python:3-slim\nWORKDIR /app\nCOPY . .\nCMD [\"python3\", \"slow.py\"]\n",
		"web/page.txt":   "page one\n",
		"web/slow.py": `import http.server, time

time.sleep(6)
PAGE = open("/app/page.txt", "rb").read()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

http.server.HTTPServer(("", 8000), Handler).serve_forever()
`,
		"k8s/web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: slowstart/web
          startupProbe: {httpGet: {port: 8000}, periodSeconds: 1, failureThreshold: 60}
          livenessProbe: {httpGet: {port: 8000}, periodSeconds: 1, failureThreshold: 2}
`,
	})
	t.Cleanup(func() { code(t, dir, "down", "--volumes") })
	says := func(text string) {
		t.Helper()
		eventually(t, url+" says "+text, func() (bool, string) {
			body, err := get(url)
			if err != nil {
				return false, err.Error()
			}
			return strings.Contains(body, text), body
		})
	}
	up := start(t, dir, "up")
	up.expect("everything is ready")
	says("page one")
	_, out := code(t, dir, "diff", "--declared", "--output", "json")
	if fields := declaredFields(t, out); !slices.ContainsFunc(fields, func(f string) bool { return strings.HasSuffix(f, ".livenessProbe.failureThreshold") }) {
		t.Errorf("declared: %q", fields)
	}
	before := identities(t, ns)
	edit(t, filepath.Join(dir, "web", "page.txt"), "one", "two")
	says("page two")
	edit(t, filepath.Join(dir, "web", "page.txt"), "two", "three")
	says("page three")
	same(t, before, identities(t, ns))
}
