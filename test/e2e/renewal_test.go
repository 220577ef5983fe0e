//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A ConfigMap that is mounted as a volume changes: no pod is replaced, the kubelet renews the
// file, and then what onSync says of a file by that name follows.
func TestVolumeRenewal(t *testing.T) {
	const ns = "kdev-renewal"
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"kdev.yaml":      "name: " + ns + "\nservices:\n  web:\n    onSync:\n    - {paths: [level.conf], run: cat /etc/web/level.conf}\n    - {paths: [\"*.py\"], restart: true}\n",
		"web/Dockerfile": "FROM busybox:1\nWORKDIR /app\nCOPY page.txt .\nCMD [\"sleep\", \"1000000\"]\n",
		"web/page.txt":   "page\n",
		"k8s/web.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level.conf: "level info", other.conf: same}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      volumes: [{name: v, configMap: {name: settings}}]
      containers: [{name: app, image: kdev-renewal/web, volumeMounts: [{name: v, mountPath: /etc/web}]}]
`,
	})
	t.Cleanup(func() {
		if got, out := code(t, dir, "down"); got != 0 {
			t.Errorf("down: %d\n%s", got, out)
		}
	})
	up := start(t, dir, "up")
	up.expect("everything is ready")
	before := identities(t, ns)
	up.mark()
	edit(t, filepath.Join(dir, "k8s", "web.yaml"), "level info", "level debug")
	up.expect("mounts ConfigMap/settings: the kubelet renews the files")
	// It looks at a pod that has changed at once, instead of within a minute or two.
	for _, pod := range pods(t, ns)["web"] {
		patch := []byte(`{"metadata":{"annotations":{"e2e/look":"now"}}}`)
		if _, err := api.CoreV1().Pods(ns).Patch(t.Context(), pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	up.expect("the kubelet has renewed /etc/web in ")
	up.expect("ran sh -c cat /etc/web/level.conf in ")
	if strings.Contains(up.text(), "process restarted") {
		t.Errorf("a rule for other files was followed:\n%s", up.text())
	}
	same(t, before, identities(t, ns))
	if got := up.interrupt(); got != 130 {
		t.Errorf("Ctrl-C: exit code %d", got)
	}
}
