//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

// restricted makes a namespace that takes only what the strictest Pod Security level allows.
func restricted(t *testing.T, name string) {
	t.Helper()
	_, err := api.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = api.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
}

func secretValue(t *testing.T, namespace, name, key string) string {
	t.Helper()
	s, err := api.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(s.Data[key])
}

// TestVisits brings up a project that has no manifests: its service and the redis that it
// needs are rendered, a namespace of the level "restricted" takes them, nothing restarts
// for nothing, and the password that kdev made up lives as long as the volume.
func TestVisits(t *testing.T) {
	const ns, page = "visits", "http://127.0.0.1:18993/"
	restricted(t, ns)
	dir := project(t, "visits")
	file := filepath.Join(dir, "kdev.yaml")
	edit(t, file, "8100:8000", "18993:8000")
	t.Cleanup(func() { code(t, dir, "down", "--volumes") })
	run := func(want int, args ...string) string {
		t.Helper()
		got, out := code(t, dir, args...)
		if got != want {
			t.Fatalf("kdev %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, want, out)
		}
		return out
	}
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
	up.expect("everything is ready")
	says("visits of dev: ")
	before := identities(t, ns)
	edit(t, filepath.Join(dir, "web", "web.py"), "of them yours", "of these yours")
	says("of these yours")
	same(t, before, identities(t, ns))
	if code := up.interrupt(); code != 130 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
	run(0, "up", "--until", "ready")
	same(t, before, identities(t, ns))

	// What lives is what is rendered, but for what is declared.
	run(0, "diff")
	for _, field := range declaredFields(t, run(1, "diff", "--declared", "-o", "json")) {
		switch field {
		case "metadata.labels[applyset.kubernetes.io/part-of]", "spec.template.spec.containers[web].image",
			"spec.template.spec.containers[web].livenessProbe.failureThreshold", // a save restarts in place
			"data[password]", "data[VISITS_KEY]":
		default:
			t.Errorf("kdev changes %s", field)
		}
	}
	password := secretValue(t, ns, "redis", "password")
	if len(password) < 20 {
		t.Fatalf("password of %d letters", len(password))
	}
	edit(t, file, "visits of dev", "other visits")
	for _, args := range [][]string{{"render"}, {"diff"}, {"status", "-o", "json"}, {"status", "-e", "dev"}} {
		if _, out := code(t, dir, args...); strings.Contains(out, password) {
			t.Errorf("kdev %s prints the password", strings.Join(args, " "))
		}
	}

	// What nobody provides is told before anything is applied.
	edit(t, file, "secrets: [visits]", "secrets: [visits, mail]")
	out := run(2, "up", "--until", "ready")
	for _, text := range []string{"Deployment/web (kdev.yaml:", "spec.template.spec.containers[0].envFrom[1].secretRef", "there is no Secret mail in namespace visits", "hint: secrets: {mail:"} {
		if !strings.Contains(out, text) {
			t.Errorf("%q is missing in\n%s", text, out)
		}
	}
	same(t, before, identities(t, ns))
	edit(t, file, "secrets: [visits, mail]", "secrets: [visits]")

	// What is written down is what was rendered: nothing restarts for it.
	run(0, "up", "--until", "ready")
	before = identities(t, ns)
	run(0, "eject")
	run(0, "diff")
	run(0, "up", "--until", "ready")
	same(t, before, identities(t, ns))

	if out := run(0, "down"); !strings.Contains(out, "kept volumes: data-redis-0") || !strings.Contains(out, "kept Secret/redis") {
		t.Errorf("down: %s", out)
	}
	run(0, "up", "--until", "ready")
	if again := secretValue(t, ns, "redis", "password"); again != password {
		t.Error("another password for the same volume")
	}
	run(0, "down")
	run(0, "down", "--volumes")
	if _, err := api.CoreV1().Secrets(ns).Get(t.Context(), "redis", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the password outlives the volume: %v", err)
	}
	if claims, err := api.CoreV1().PersistentVolumeClaims(ns).List(t.Context(), metav1.ListOptions{}); err != nil || len(claims.Items) > 0 {
		t.Errorf("claims: %v %v", claims, err)
	}
}

// TestRendersAreAccepted lets the API server check, in a dry run, what the examples render
// to in each of their environments. An instance of a kind that an example brings along is
// left out: its CustomResourceDefinition is not there in a dry run.
func TestRendersAreAccepted(t *testing.T) {
	const ns = "accepted"
	_, err := api.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.CoreV1().Namespaces().Delete(context.Background(), ns, metav1.DeleteOptions{}) })
	client, err := dynamic.NewForConfig(restConfig)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := restmapper.GetAPIGroupResources(api.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	for _, c := range [][2]string{
		{"visits", "dev"}, {"visits", "staging"}, {"visits", "prod"}, {"dockercoins", "dev"}, {"dockercoins", "staging"}, {"dockercoins", "prod"},
		{"guestbook", "dev"}, {"guestbook", "prod"}, {"fleet", "dev"},
	} {
		t.Run(c[0]+"/"+c[1], func(t *testing.T) {
			cmd := exec.Command(kdevBinary, "render", "-e", c[1], "-n", ns)
			cmd.Dir, cmd.Env = filepath.Join(repo, "examples", c[0]), environ
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			for doc := range strings.SplitSeq(string(out), "\n---\n") {
				var o unstructured.Unstructured
				if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
					t.Fatal(err)
				}
				gvk := o.GroupVersionKind()
				mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
				if meta.IsNoMatchError(err) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				var to dynamic.ResourceInterface = client.Resource(mapping.Resource)
				if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
					o.SetNamespace(ns)
					to = client.Resource(mapping.Resource).Namespace(ns)
				}
				if _, err := to.Apply(t.Context(), o.GetName(), &o, metav1.ApplyOptions{FieldManager: "test", DryRun: []string{metav1.DryRunAll}}); err != nil {
					t.Errorf("%s/%s: %v", o.GetKind(), o.GetName(), err)
				}
			}
		})
	}
}

// TestStores lets a client write into the postgres that kdev makes, with a Secret from a
// file that is not there at first.
func TestStores(t *testing.T) {
	const ns = "stores"
	restricted(t, ns)
	dir := filepath.Join(t.TempDir(), "stores")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(repo, "test", "e2e", "testdata", "stores"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { code(t, dir, "down", "--volumes") })
	if code, out := code(t, dir, "up", "--until", "ready"); code != 2 || !strings.Contains(out, "kdev.yaml:12: there is no .env.visitor, from which Secret visitor is made") {
		t.Fatalf("up: %d\n%s", code, out)
	}
	if err := os.WriteFile(filepath.Join(dir, ".env.visitor"), []byte("VISITOR=ada-of-the-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := code(t, dir, "up", "--until", "ready"); code != 0 || strings.Contains(out, "ada-of-the-file") {
		t.Fatalf("up: %d\n%s", code, out)
	}
	if got := secretValue(t, ns, "visitor", "VISITOR"); got != "ada-of-the-file" {
		t.Errorf("visitor: %q", got)
	}
	eventually(t, "the client writes", func() (bool, string) {
		for _, list := range pods(t, ns) {
			for _, p := range list {
				if !strings.HasPrefix(p.Name, "client-") {
					continue
				}
				out, err := api.CoreV1().Pods(ns).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
				return err == nil && strings.Contains(string(out), "INSERT 0 1"), string(out)
			}
		}
		return false, "no pod"
	})
}
