//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// TestDockerCoins is one day with the example: the steps follow each other on
// the same project and the same cluster, as a person's do.
func TestDockerCoins(t *testing.T) {
	const ns = "dockercoins"
	dir := project(t, "dockercoins")
	// What is built must not be in a store that an earlier run left.
	unique := fmt.Sprint(time.Now().UnixNano())
	file := func(path ...string) string { return filepath.Join(append([]string{dir}, path...)...) }

	up := start(t, dir, "up")
	up.expect("everything is ready")
	url := pageURL(t, up)

	t.Run("up brings five services and a page", func(t *testing.T) {
		by := pods(t, ns)
		for _, app := range []string{"hasher", "redis", "rng", "webui", "worker"} {
			if len(by[app]) != 1 {
				t.Errorf("%d pods of %s, want 1", len(by[app]), app)
			}
		}
		page, err := get(url)
		if err != nil || !strings.Contains(page, "DockerCoins") {
			t.Fatalf("the page: %v\n%s", err, page)
		}
		eventually(t, "hashes are counted", func() (bool, string) {
			body, err := get(url + "json")
			var counted struct{ Hashes int }
			if err == nil {
				err = json.Unmarshal([]byte(body), &counted)
			}
			return err == nil && counted.Hashes > 0, fmt.Sprintf("%s %v", body, err)
		})
	})

	t.Run("pods run digests of the store", func(t *testing.T) {
		for _, app := range []string{"hasher", "rng", "webui", "worker"} {
			ref := pods(t, ns)[app][0].Spec.Containers[0].Image
			if !regexp.MustCompile(`^localhost:\d+/dockercoins/` + app + `:[^@]+@sha256:[0-9a-f]{64}$`).MatchString(ref) {
				t.Errorf("%s runs %s", app, ref)
			}
		}
	})

	t.Run("the context of the kubeconfig is as before", func(t *testing.T) {
		b, err := os.ReadFile(kubeconfig)
		if err != nil || !strings.Contains(string(b), "current-context: kind-"+clusterName) {
			t.Errorf("%v\n%s", err, b)
		}
	})

	t.Run("a saved page is in the container", func(t *testing.T) {
		before := identities(t, ns)
		up.mark()
		edit(t, file("webui", "index.html"), "<h1>DockerCoins</h1>", "<h1>DockerCoins, edited</h1>")
		up.expect("synced index.html to 1 container")
		if page, err := get(url); err != nil || !strings.Contains(page, "DockerCoins, edited") {
			t.Errorf("the page: %v\n%s", err, page)
		}
		if b, err := inContainer(pods(t, ns)["webui"][0], "/app/index.html"); err != nil || !strings.Contains(string(b), "edited") {
			t.Errorf("the file in the container: %v\n%s", err, b)
		}
		same(t, before, identities(t, ns))
	})

	t.Run("a saved Python file restarts the process in place", func(t *testing.T) {
		before := identities(t, ns)
		up.mark()
		edit(t, file("rng", "rng.py"), `print(f"rng listens on {port}"`, `print(f"rng, edited, listens on {port}"`)
		up.expect("synced rng.py to 1 container")
		up.expect("rng, edited, listens on")
		same(t, before, identities(t, ns))
	})

	t.Run("a deleted and a new file", func(t *testing.T) {
		up.mark()
		if err := os.WriteFile(file("webui", "extra.txt"), []byte("extra\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		up.expect("synced extra.txt to 1 container")
		if b, err := inContainer(pods(t, ns)["webui"][0], "/app/extra.txt"); err != nil || string(b) != "extra\n" {
			t.Errorf("the new file: %v %q", err, b)
		}
		if err := os.Remove(file("webui", "extra.txt")); err != nil {
			t.Fatal(err)
		}
		up.expect("removed extra.txt from 1 container")
		if b, err := inContainer(pods(t, ns)["webui"][0], "/app/extra.txt"); err == nil {
			t.Errorf("the deleted file is still there: %q", b)
		}
	})

	t.Run("a file that no instruction reads does nothing", func(t *testing.T) {
		before := identities(t, ns)
		up.mark()
		appendTo(t, file("webui", "README.md"), "\nA line.\n")
		// What comes after it is done after it: when this arrives, the README had its turn.
		edit(t, file("webui", "index.html"), "edited", "edited again")
		up.expect("synced index.html to 1 container")
		if out := up.since(); strings.Contains(out, "README") || strings.Contains(out, "building") {
			t.Errorf("kdev did something about it:\n%s", out)
		}
		same(t, before, identities(t, ns))
	})

	t.Run("a killed pod's replacement has the synced files", func(t *testing.T) {
		old := pods(t, ns)["webui"][0]
		if err := api.CoreV1().Pods(ns).Delete(t.Context(), old.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the replacement has the edit", func() (bool, string) {
			for _, p := range pods(t, ns)["webui"] {
				if p.UID == old.UID {
					continue
				}
				b, err := inContainer(p, "/app/index.html")
				return err == nil && strings.Contains(string(b), "edited again"), fmt.Sprint(err)
			}
			return false, "without a replacement"
		})
	})

	t.Run("package.json builds webui alone", func(t *testing.T) {
		ready(t, ns)
		before := identities(t, ns)
		image := pods(t, ns)["webui"][0].Spec.Containers[0].Image
		up.mark()
		edit(t, file("webui", "package.json"), `"private": true`, `"description": "edited `+unique+`", "private": true`)
		up.expect("webui  · building: webui/package.json changed")
		up.expect("webui  ✓ built")
		up.expect("webui  ✓ ready")
		if now := pods(t, ns)["webui"][0].Spec.Containers[0].Image; now == image {
			t.Errorf("webui still runs %s", now)
		}
		same(t, without(before, "webui"), without(identities(t, ns), "webui"))
		if b, err := inContainer(pods(t, ns)["webui"][0], "/app/index.html"); err != nil || !strings.Contains(string(b), "edited again") {
			t.Errorf("the new image lost the edit: %v", err)
		}
	})

	t.Run("the Dockerfile builds rng alone", func(t *testing.T) {
		ready(t, ns)
		before := identities(t, ns)
		up.mark()
		appendTo(t, file("rng", "Dockerfile"), "ENV EDITED="+unique+"\n")
		up.expect("rng    ✓ built")
		up.expect("rng    ✓ ready")
		same(t, without(before, "rng"), without(identities(t, ns), "rng"))
	})

	t.Run("a Dockerfile that fails is named with its line, and heals", func(t *testing.T) {
		ready(t, ns)
		before := identities(t, ns)
		up.mark()
		appendTo(t, file("worker", "Dockerfile"), "RUN echo "+unique+" && exit 7\n")
		up.expect("worker ✗ build failed")
		up.expect("worker/Dockerfile:5")
		same(t, before, identities(t, ns))
		edit(t, file("worker", "Dockerfile"), " && exit 7", "")
		up.expect("worker ✓ ready")
	})

	t.Run("a Dockerfile that was broken and put back builds nothing", func(t *testing.T) {
		ready(t, ns)
		before := identities(t, ns)
		up.mark()
		edit(t, file("rng", "Dockerfile"), "WORKDIR", "WORKDIRR")
		up.expect("rng    ✗ rng/Dockerfile cannot be used")
		edit(t, file("rng", "Dockerfile"), "WORKDIRR", "WORKDIR")
		up.expect("rng    ✓ image kept")
		same(t, before, identities(t, ns))
	})

	t.Run("a deleted workload comes back", func(t *testing.T) {
		old := pods(t, ns)["hasher"][0].Name
		up.mark()
		if err := api.AppsV1().Deployments(ns).Delete(t.Context(), "hasher", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		up.expect("Deployment/hasher was deleted")
		up.expect("1 created")
		// The garbage collector takes the old pod in its own time.
		eventually(t, "a new pod runs in its place", func() (bool, string) {
			now := pods(t, ns)["hasher"]
			return len(now) == 1 && now[0].Name != old, fmt.Sprintf("%d pods, the old one is %s", len(now), old)
		})
	})

	t.Run("Ctrl-C leaves everything running and says so", func(t *testing.T) {
		ready(t, ns)
		before := identities(t, ns)
		edit(t, file("webui", "index.html"), "edited again", "edited at last")
		up.expect("synced index.html to 1 container")
		if code := up.interrupt(); code != 130 {
			t.Errorf("exit code %d, want 130", code)
		}
		if out := up.since(); !strings.Contains(out, "kdev down") || !strings.Contains(out, "index.html") {
			t.Errorf("it does not say what is left:\n%s", out)
		}
		same(t, before, identities(t, ns))
	})

	t.Run("a second up restarts nothing and builds nothing", func(t *testing.T) {
		before := identities(t, ns)
		code, out := code(t, dir, "up", "--until", "ready")
		if code != 0 {
			t.Fatalf("exit code %d:\n%s", code, out)
		}
		if strings.Contains(out, "building") {
			t.Errorf("it built something:\n%s", out)
		}
		same(t, before, identities(t, ns))
		if b, err := inContainer(pods(t, ns)["webui"][0], "/app/index.html"); err != nil || !strings.Contains(string(b), "edited at last") {
			t.Errorf("the edit is gone: %v", err)
		}
	})

	t.Run("a changed manifest is applied, and what left it is pruned", func(t *testing.T) {
		up := start(t, dir, "up")
		up.expect("everything is ready")
		up.mark()
		added := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
		if err := os.WriteFile(file("deploy", "base", "extra.yaml"), []byte(added), 0o644); err != nil {
			t.Fatal(err)
		}
		edit(t, file("deploy", "base", "kustomization.yaml"), "  - redis.yaml\n", "  - redis.yaml\n  - extra.yaml\n")
		up.expect("1 created")
		if _, err := api.CoreV1().ConfigMaps(ns).Get(t.Context(), "extra", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
		edit(t, file("deploy", "base", "kustomization.yaml"), "  - extra.yaml\n", "")
		up.expect("removed ConfigMap/extra")
		up.interrupt()
	})

	t.Run("down removes what was applied and nothing else", func(t *testing.T) {
		foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "foreign", Labels: map[string]string{"app": "webui"}}}
		if _, err := api.CoreV1().ConfigMaps(ns).Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		code, out := code(t, dir, "down")
		if code != 0 || !strings.Contains(out, "data-redis-0") {
			t.Errorf("exit code %d:\n%s", code, out)
		}
		left := objects(t, ns)
		if want := []string{"ConfigMap/foreign", "PersistentVolumeClaim/data-redis-0"}; !slices.Equal(left, want) {
			t.Errorf("left %q, want %q", left, want)
		}
	})

	t.Run("down --volumes takes the rest", func(t *testing.T) {
		if err := api.CoreV1().ConfigMaps(ns).Delete(t.Context(), "foreign", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if code, out := code(t, dir, "down", "--volumes"); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, out)
		}
		if _, err := api.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the namespace that kdev made is still there: %v", err)
		}
	})
}

// pageURL reads where the page is from what kdev printed.
func pageURL(t *testing.T, up *process) string {
	t.Helper()
	found := regexp.MustCompile(`http://localhost:\d+`).FindString(up.text())
	if found == "" {
		t.Fatalf("no URL was printed:\n%s", up.text())
	}
	return found + "/"
}

// since returns what was printed after the last mark or expect.
func (p *process) since() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.out[p.seen:])
}

// same fails where a pod or a container is another than before.
func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	for pod, containers := range before {
		if after[pod] != containers {
			t.Errorf("%s was %q, is %q", pod, containers, after[pod])
		}
	}
}

func without(ids map[string]string, app string) map[string]string {
	rest := map[string]string{}
	for pod, containers := range ids {
		if !strings.HasPrefix(pod, app+"/") {
			rest[pod] = containers
		}
	}
	return rest
}

// ready waits until one pod of each service is ready and no other is left.
func ready(t *testing.T, ns string) {
	t.Helper()
	eventually(t, "all pods are ready", func() (bool, string) {
		list, err := api.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, p := range list.Items {
			ok := p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
			if !ok {
				return false, p.Name + " is not ready or going"
			}
		}
		return len(list.Items) == 5, fmt.Sprintf("%d pods", len(list.Items))
	})
}

// objects lists everything in a namespace that the cluster itself did not put
// there.
func objects(t *testing.T, ns string) []string {
	t.Helper()
	_, lists, err := api.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(restConfig)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range l.APIResources {
			if !r.Namespaced || !slices.Contains(r.Verbs, "list") || strings.Contains(r.Name, "/") || r.Kind == "Event" {
				continue
			}
			items, err := client.Resource(gv.WithResource(r.Name)).Namespace(ns).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range items.Items {
				switch id := o.GetKind() + "/" + o.GetName(); id {
				case "ConfigMap/kube-root-ca.crt", "ServiceAccount/default":
				default:
					if !slices.Contains(found, id) {
						found = append(found, id)
					}
				}
			}
		}
	}
	slices.Sort(found)
	return found
}
