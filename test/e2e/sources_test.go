//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestGuestbook brings up a helm chart with a dependency and a hook.
func TestGuestbook(t *testing.T) {
	dir := project(t, "guestbook")
	edit(t, filepath.Join(dir, "kdev.yaml"), "8090:8000", "18983:8000")
	const page = "http://127.0.0.1:18983/"
	says := func(text string) {
		t.Helper()
		eventually(t, page+" says "+text, func() (bool, string) {
			body, err := get(page)
			if err != nil {
				return false, err.Error()
			}
			return strings.Contains(body, text), body
		})
	}
	up := start(t, dir, "up")
	t.Cleanup(func() { code(t, dir, "down", "--volumes") })
	up.expect("everything is ready")
	says("the first guest") // what the hook wrote to the dependency
	says("guestbook of dev")

	before := identities(t, "guestbook")
	edit(t, filepath.Join(dir, "web", "web.py"), "<form", "<p>no spam</p><form")
	says("no spam")
	same(t, before, identities(t, "guestbook"))

	edit(t, filepath.Join(dir, "values", "dev.yaml"), "guestbook of dev", "other values")
	says("other values")
	up.mark()
	edit(t, filepath.Join(dir, "charts", "guestbook", "templates", "web.yaml"), ".Values.replicas", ".Values.no.replicas")
	up.expect("charts/guestbook/templates/web.yaml:7")
	edit(t, filepath.Join(dir, "charts", "guestbook", "templates", "web.yaml"), ".Values.no.replicas", ".Values.replicas")
	up.expect("everything is ready")
	if code := up.interrupt(); code != 130 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}

	// Nothing runs again that ran: not the hook either.
	before = identities(t, "guestbook")
	if code, out := code(t, dir, "up", "--until", "ready"); code != 0 {
		t.Errorf("second up: %d\n%s", code, out)
	}
	same(t, before, identities(t, "guestbook"))
	if code, out := code(t, dir, "render", "-e", "prod"); code != 0 || !strings.Contains(out, "replicas: 3") || strings.Contains(out, "answers") || !strings.Contains(out, "name: guestbook-redis") {
		t.Errorf("render: %d\n%s", code, out)
	}
	if code, out := code(t, dir, "diff"); code != 0 {
		t.Errorf("diff: %d\n%s", code, out)
	}
}

// TestFleet brings up plain YAML with a CRD, an instance of it that holds the image
// of a service, and a controller that runs it.
func TestFleet(t *testing.T) {
	dir := project(t, "fleet")
	t.Cleanup(func() { code(t, dir, "down", "--volumes") })
	if code, out := code(t, dir, "up", "--until", "ready"); code != 0 {
		t.Fatalf("up: %d\n%s", code, out)
	}
	ships := func() string {
		d, err := api.AppsV1().Deployments("fleet").Get(t.Context(), "fleet-north", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if d.Status.ReadyReplicas != 2 || d.Status.UpdatedReplicas != 2 {
			return "not ready"
		}
		return d.Spec.Template.Spec.Containers[0].Image
	}
	eventually(t, "the fleet sails", func() (bool, string) { image := ships(); return strings.Contains(image, "/fleet/ship:"), image })
	first := ships()
	// The pods are the service's although a controller has made them, with a session and without.
	aboard := func() {
		t.Helper()
		if code, out := code(t, dir, "exec", "ship", "--", "echo", "aboard"); code != 0 || !strings.Contains(out, "aboard") {
			t.Errorf("exec: %d\n%s", code, out)
		}
		if code, out := code(t, dir, "status", "-o", "json"); code != 0 || !strings.Contains(out, `"Fleet/north"`) {
			t.Errorf("status: %d\n%s", code, out)
		}
	}
	aboard()
	if code, out := code(t, dir, "up", "--detach", "--until", "ready"); code != 0 {
		t.Fatalf("up --detach: %d\n%s", code, out)
	}
	aboard()
	if code, out := code(t, dir, "stop"); code != 0 {
		t.Fatalf("stop: %d\n%s", code, out)
	}
	if code, out := code(t, dir, "diff", "--declared"); code != 1 || !strings.Contains(out, "Fleet/north") || !strings.Contains(out, "spec.image") {
		t.Errorf("declared: %d\n%s", code, out)
	}
	edit(t, filepath.Join(dir, "ship", "ship.sh"), "sails", "sails again")
	if code, out := code(t, dir, "up", "--until", "ready"); code != 0 {
		t.Fatalf("up: %d\n%s", code, out)
	}
	eventually(t, "the fleet has the new image", func() (bool, string) {
		image := ships()
		return strings.Contains(image, "/fleet/ship:") && image != first, image
	})
}
