//go:build e2e

package deploy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/problem"
)

// Whatever is in a namespace beside ours, with our names in other kinds, our
// labels, other sets' labels: prune and down touch nothing of it, and leave
// nothing of ours.
func TestPruneAndDownTouchNothingElse(t *testing.T) {
	const rounds = 12
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	d := deployer(t)
	ns := d.options.Namespace
	if err := d.makeNamespace(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	kinds := []struct{ kind, resource, body string }{
		{"ConfigMap", "configmaps", "data: {a: b}"},
		{"Secret", "secrets", "stringData: {a: b}"},
		{"Service", "services", "spec: {ports: [{port: 80}]}"},
		{"ServiceAccount", "serviceaccounts", "automountServiceAccountToken: false"},
	}
	manifest := func(kind int, name string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: %s}\n%s\n", kinds[kind].kind, name, kinds[kind].body)
	}
	foreignLabels := []map[string]string{
		nil,
		{"app": "web", managedByLabel: "kdev"},
		{projectLabel: d.options.Project},
		{partOfLabel: "applyset-another-v1"},
		{partOfLabel: d.id + "x"},
	}
	for round := range rounds {
		// A slot is a kind and a name; it is ours, somebody's, or empty.
		var ours, later []string
		wanted := map[string]bool{}
		foreign := map[string]string{} // "Secret/name": UID and version
		for kind := range kinds {
			for i := range 6 {
				name := fmt.Sprintf("x%d", i)
				switch random.IntN(3) {
				case 0:
					ours = append(ours, manifest(kind, name))
					if random.IntN(2) == 0 {
						later = append(later, manifest(kind, name))
						wanted[kinds[kind].kind+"/"+name] = true
					}
				case 1:
					o := parse(t, manifest(kind, name))[0]
					o.SetLabels(maps.Clone(foreignLabels[random.IntN(len(foreignLabels))]))
					if random.IntN(4) == 0 {
						o.SetAnnotations(map[string]string{createdAnnotation: d.options.Project})
					}
					gvr := schema.GroupVersionResource{Version: "v1", Resource: kinds[kind].resource}
					made, err := client.Dynamic.Resource(gvr).Namespace(ns).Create(t.Context(), o.Unstructured, metav1.CreateOptions{})
					if err != nil {
						t.Fatal(err)
					}
					foreign[kinds[kind].kind+"/"+name] = string(made.GetUID()) + " " + made.GetResourceVersion()
				}
			}
		}
		check := func(step string, mine func(label string) bool) {
			t.Helper()
			left := maps.Clone(foreign)
			for _, kind := range kinds {
				list, err := client.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: kind.resource}).Namespace(ns).List(t.Context(), metav1.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for i := range list.Items {
					o := &list.Items[i]
					label := kind.kind + "/" + o.GetName()
					if version := string(o.GetUID()) + " " + o.GetResourceVersion(); left[label] == version {
						delete(left, label)
						continue
					}
					if clusters(o) || o.GetName() == d.parentName() || mine(label) {
						continue
					}
					t.Errorf("round %d, %s: %s is there or was touched: %v", round, step, label, o.GetLabels())
				}
			}
			if len(left) > 0 {
				t.Errorf("round %d, %s: gone: %v", round, step, slices.Sorted(maps.Keys(left)))
			}
		}
		if len(ours) > 0 {
			apply(t, d, parse(t, strings.Join(ours, "---\n")))
		}
		var rest []*Object
		if len(later) > 0 {
			rest = parse(t, strings.Join(later, "---\n"))
		}
		if _, err := d.PruneReport(t.Context(), rest); err != nil {
			t.Fatal(err)
		}
		check("prune", func(label string) bool { return wanted[label] })
		report := down(t, d, DownOptions{Volumes: true})
		check("down", func(string) bool { return false })
		if len(foreign) > 0 && report.Namespace {
			t.Fatalf("round %d: the namespace went with %d objects of others", round, len(foreign))
		}
		// A clean slate for the next round.
		for _, kind := range kinds {
			gvr := schema.GroupVersionResource{Version: "v1", Resource: kind.resource}
			for i := range 6 {
				_ = client.Dynamic.Resource(gvr).Namespace(ns).Delete(t.Context(), fmt.Sprintf("x%d", i), metav1.DeleteOptions{})
			}
		}
	}
}

func clusters(o *unstructured.Unstructured) bool {
	return o.GetName() == "kube-root-ca.crt" || o.GetKind() == "ServiceAccount" && o.GetName() == "default"
}

func TestDiff(t *testing.T) {
	d := deployer(t)
	first := parse(t, strings.ReplaceAll(smallService, "NAME", "web")+"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: gone}\n")
	diffs, err := d.Diff(t.Context(), first)
	if err != nil || len(diffs) != 5 || diffs[0].Change != Create {
		t.Fatalf("%+v, %v", diffs, err)
	}
	if _, err := client.Core.CoreV1().Namespaces().Get(t.Context(), d.options.Namespace, metav1.GetOptions{}); err == nil {
		t.Fatal("a diff made the namespace")
	}
	apply(t, d, first)
	if diffs, err := d.Diff(t.Context(), first); err != nil || len(diffs) > 0 {
		t.Errorf("after the apply: %+v, %v", diffs, err)
	}
	changed := parse(t, strings.NewReplacer("NAME", "web", "cpu: 0.5", "cpu: 0.6", "port: 80", "port: 81", "{a: b}", "{a: c}").Replace(smallService)+
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n---\napiVersion: example.com/v1\nkind: Unknown\nmetadata: {name: x}\n")
	if _, err := d.Diff(t.Context(), changed); !isUnknownKind(err) {
		t.Errorf("a kind that nothing defines: %v", err)
	}
	changed = changed[:len(changed)-1]
	wrong := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: newer}\ndata: {a: 1}\n")
	if _, err := d.Diff(t.Context(), append(Copy(changed), wrong...)); problem.As(err) == nil || problem.As(err).Code != "object-refused" {
		t.Errorf("a new object with a field that is refused: %v", err)
	}
	before := stateOf(t, d)
	diffs, err = d.Diff(t.Context(), changed)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := WriteDiff(&b, diffs, false); err != nil {
		t.Fatal(err)
	}
	const want = `- ConfigMap/gone
+ ConfigMap/new  all.yaml:27
~ ConfigMap/web  all.yaml:17
    data.a
      - b
      + c
~ Deployment/web  all.yaml:2
    spec.template.spec.containers[a].resources.limits.cpu
      - 500m
      + 600m
~ Secret/web  all.yaml:22
    data.a
      - ***
      + *** (another)
~ Service/web  all.yaml:12
    spec.ports[0].port
      - 80
      + 81
    spec.ports[0].targetPort
      - 80
      + 81
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if after := stateOf(t, d); after != before {
		t.Error("a diff wrote")
	}
	immutable := parse(t, strings.NewReplacer("NAME", "web", "{matchLabels: {app: NAME}}", "{matchLabels: {app: web, v: two}}", "{labels: {app: NAME}}", "{labels: {app: web, v: two}}").Replace(smallService))[:1]
	diffs, err = d.Diff(t.Context(), immutable)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(diffs, func(d ObjectDiff) bool { return d.Kind == "Deployment" })
	if i < 0 || diffs[i].Change != Recreate || diffs[i].Why != "spec.selector cannot be changed" {
		t.Errorf("%+v", diffs)
	}
}

// stateOf changes with every write to the namespace's objects.
func stateOf(t *testing.T, d *Deployer) string {
	t.Helper()
	var out []string
	for _, o := range []string{"configmaps", "secrets", "services"} {
		list, err := client.Dynamic.Resource(corev1.SchemeGroupVersion.WithResource(o)).Namespace(d.options.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range list.Items {
			out = append(out, item.GetName()+item.GetResourceVersion())
		}
	}
	return strings.Join(out, " ")
}
