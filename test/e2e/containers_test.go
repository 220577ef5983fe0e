//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Two services share a folder; their images run in replicas, beside each other, as a
// sidecar that is an init container, in a StatefulSet and in a Job. A save is in all of
// them, and in those that come later.
func TestEveryContainer(t *testing.T) {
	const ns = "everywhere"
	dir := filepath.Join(t.TempDir(), ns)
	dockerfile := "FROM debian:bookworm-slim\nWORKDIR /app\nCOPY shared shared\nCOPY %s own\nCMD [\"sleep\", \"1000000\"]\n"
	write(t, dir, map[string]string{
		"kdev.yaml":         "services:\n  web: {build: {context: ., dockerfile: web/Dockerfile}}\n  worker: {build: {context: ., dockerfile: worker/Dockerfile}}\n",
		"web/Dockerfile":    fmt.Sprintf(dockerfile, "web"),
		"worker/Dockerfile": fmt.Sprintf(dockerfile, "worker"),
		"shared/page.txt":   "one\n",
		"k8s/all.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      initContainers:
        - {name: early, image: everywhere/web, restartPolicy: Always}
      containers:
        - {name: web, image: everywhere/web}
        - {name: beside, image: everywhere/web, command: [sleep, "1000000"]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: worker}
spec:
  replicas: 2
  serviceName: worker
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: worker, image: everywhere/worker}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: import}
spec:
  template:
    metadata: {labels: {app: import}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers: [{name: import, image: everywhere/worker}]
`,
	})
	t.Cleanup(func() { code(t, dir, "down", "--volumes") })
	// verified is the containers that kdev has verified, by name and how many of each.
	verified := func() (string, string) {
		t.Helper()
		_, out := code(t, dir, "sync", "status", "--verify", "--output", "json")
		var s struct {
			Containers []struct {
				Container string
				Syncing   bool
				Problem   *struct{ Summary string }
				Differs   []struct{ Path string }
			}
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return "", out
		}
		var names []string
		for _, c := range s.Containers {
			if c.Syncing && c.Problem == nil && len(c.Differs) == 0 {
				names = append(names, c.Container)
			}
		}
		slices.Sort(names)
		return strings.Join(names, " "), out
	}
	all := func(want string) {
		t.Helper()
		eventually(t, "the save in "+want, func() (bool, string) {
			got, out := verified()
			return got == want, out
		})
	}
	start(t, dir, "up") // never all ready: the Job goes on
	all("beside beside early early import web web worker worker")
	edit(t, filepath.Join(dir, "shared", "page.txt"), "one", "two")
	all("beside beside early early import web web worker worker")
	if _, out := code(t, dir, "scale", "worker", "3"); strings.Contains(out, "error") {
		t.Error(out)
	}
	all("beside beside early early import web web worker worker worker")
	for app, list := range pods(t, ns) {
		for _, pod := range list {
			for _, c := range pod.Status.ContainerStatuses {
				if c.RestartCount != 0 {
					t.Errorf("%s: %s of %s was restarted", app, c.Name, pod.Name)
				}
			}
		}
	}
}
