//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWithoutAnEngine: the cluster and the registry answer, and the engine's address is
// wrong. What is cached or needs nothing run is built and deployed all the same; a new RUN
// says that it needs the engine.
func TestWithoutAnEngine(t *testing.T) {
	const ns = "unaided"
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"kdev.yaml":  "name: " + ns + "\nmanifests: [{yaml: [k8s.yaml]}]\nservices: {web: {build: .}}\n",
		"Dockerfile": "FROM busybox:1\nRUN echo made > /made\nCOPY text /text\nCMD [\"sleep\", \"100000\"]\n",
		"text":       "one",
		"k8s.yaml":   "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      terminationGracePeriodSeconds: 0\n      containers: [{name: web, image: web}]\n",
	})
	t.Cleanup(func() { code(t, dir, "down") })
	if exit, out := code(t, dir, "up", "--until", "ready"); exit != 0 {
		t.Fatal(out)
	}
	_, built := code(t, dir, "build")
	before := identities(t, ns)
	unaided := func(args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, kdevBinary, args...)
		cmd.Dir, cmd.Env = dir, append(append([]string{}, environ...), "DOCKER_HOST=tcp://127.0.0.1:1")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	const warning = "going on without the engine"

	out, err := unaided("up", "--until", "ready")
	if err != nil || strings.Count(out, warning) != 1 || !strings.Contains(out, "image kept") {
		t.Fatalf("unchanged: %v\n%s", err, out)
	}
	for app, id := range identities(t, ns) {
		if before[app] != id {
			t.Errorf("%s was restarted: %s, before %s", app, id, before[app])
		}
	}
	edit(t, filepath.Join(dir, "text"), "one", "two")
	if out, err = unaided("up", "--until", "ready", "--no-sync"); err != nil || !strings.Contains(out, "text changed") {
		t.Fatalf("edited: %v\n%s", err, out)
	}
	if exit, out := code(t, dir, "exec", "web", "--", "cat", "/text", "/made"); exit != 0 || !strings.Contains(out, "two") || !strings.Contains(out, "made") {
		t.Errorf("the container has not what was built: exit code %d\n%s", exit, out)
	}
	edit(t, filepath.Join(dir, "text"), "two", "one")
	if out, err = unaided("build"); err != nil || lastLine(out) != lastLine(built) {
		t.Errorf("kdev build names its image another one: %v\n%s\nwith an engine:\n%s", err, out, built)
	}
	edit(t, filepath.Join(dir, "Dockerfile"), "echo made", "echo anew")
	if out, err = unaided("up", "--until", "ready"); err == nil || !strings.Contains(out, "RUN echo anew > /made needs an engine") {
		t.Errorf("a RUN that is not cached: %v\n%s", err, out)
	}
}

func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}
