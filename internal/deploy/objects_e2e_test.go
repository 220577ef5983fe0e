//go:build e2e

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

const withoutPods = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.objects.kdev.test}
spec:
  group: objects.kdev.test
  scope: Namespaced
  names: {kind: Database, plural: databases}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: objects.kdev.test/v1
kind: Database
metadata: {name: main}
spec: {size: 1}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: later}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: lonely}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: LoadBalancer, selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: absent, port: {number: 80}}}}]}}]}
`

// Objects without pods on a real cluster: a CRD and its instance in one go, whose
// controller speaks by conditions; a claim that nobody uses yet; Services and a rule that
// lead nowhere.
func TestObjectsWithoutPods(t *testing.T) {
	d := deployer(t)
	t.Cleanup(func() {
		gvr := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
		if err := client.Dynamic.Resource(gvr).Delete(context.Background(), "databases.objects.kdev.test", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	all := objects(t, withoutPods)
	apply(t, d, all)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watching, stop := context.WithCancel(ctx)
	live, err := kube.Watch(watching, client, d.options.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer stop()
	if err := d.Follow(ctx, live, all); err != nil {
		t.Fatal(err)
	}
	say := func() string {
		var lines []string
		for _, s := range d.Objects(live, all) {
			line := fmt.Sprintf("%s %v", s.Ref, s.Ready)
			if s.Waiting != "" {
				line += " waits for " + s.Waiting
			}
			if s.Note != "" {
				line += " (" + s.Note + ")"
			}
			if s.Problem != nil {
				line += " [" + s.Problem.Code + "]"
			}
			lines = append(lines, line)
		}
		return strings.Join(lines, "\n")
	}
	until := func(database string) {
		t.Helper()
		want := "CustomResourceDefinition/databases.objects.kdev.test true\n" + database + `
PersistentVolumeClaim/later true (its volume is made when the first pod uses it)
Service/lonely true [service-no-pods]
Service/outside true (no load balancer has given it an address) [service-no-pods]
Ingress/web true [backend-missing]`
		changed, end := live.Subscribe()
		defer end()
		for got := say(); got != want; got = say() {
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("got\n%s\nwant\n%s", got, want)
			}
		}
	}
	until("Database/main true") // nobody says anything of it
	databases := client.Dynamic.Resource(schema.GroupVersionResource{Group: "objects.kdev.test", Version: "v1", Resource: "databases"}).Namespace(d.options.Namespace)
	speak := func(conditions string) {
		t.Helper()
		if _, err := databases.Patch(ctx, "main", types.MergePatchType, []byte(`{"status":{"conditions":[`+conditions+`]}}`), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	speak(`{"type":"Ready","status":"False","reason":"Booting","message":"formats its disk"}`)
	until("Database/main false waits for its controller: formats its disk")
	short, end := context.WithTimeout(ctx, 200*time.Millisecond)
	err = d.Await(short, live, all, AwaitOptions{Patience: patience})
	end()
	if p := problem.As(err); p == nil || p.Code != "not-ready" || !strings.Contains(p.Output, "formats its disk") {
		t.Errorf("not in time: %v", err)
	}
	speak(`{"type":"Stalled","status":"True","reason":"Quota","message":"no quota for a disk"}`)
	until("Database/main false [object-failed]")
	if p := problem.As(d.Await(ctx, live, all, AwaitOptions{})); p == nil || p.Code != "object-failed" || p.Class != problem.Rollout || !strings.Contains(p.Output, "no quota") {
		t.Errorf("given up: %v", p)
	}
	speak(`{"type":"Ready","status":"True"}`)
	until("Database/main true")
	if err := d.Await(ctx, live, all, AwaitOptions{}); err != nil {
		t.Error(err)
	}

	// Who has applied nothing here sees what others deployed, and what the cluster lacks.
	other := New(client, Options{Project: "other", Namespace: d.options.Namespace, Root: "/src/other"})
	defer other.Close()
	looking, stopLooking := context.WithCancel(ctx)
	seen, err := kube.Watch(looking, client, d.options.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Wait()
	defer stopLooking()
	wanted := append(objects(t, "apiVersion: nosuch.kdev.test/v1\nkind: Nothing\nmetadata: {name: x}\n"), all...)
	if err := other.Follow(ctx, seen, wanted); err != nil {
		t.Fatal(err)
	}
	for i, s := range other.Objects(seen, wanted) {
		if s.Ready != (i > 0) || i == 0 && s.Waiting != "its kind, which the cluster does not know" {
			t.Errorf("of what others deployed: %+v", s)
		}
	}
}

// A claim whose class is not there is a problem at once, and its pod's is explained by it.
func TestClaimWithoutClass(t *testing.T) {
	d := deployer(t)
	all := objects(t, "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {storageClassName: nosuch, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n")
	apply(t, d, all)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	live, err := kube.Watch(ctx, client, d.options.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	if err := d.Follow(ctx, live, all); err != nil {
		t.Fatal(err)
	}
	if p := problem.As(d.Await(ctx, live, all, AwaitOptions{})); p == nil || p.Code != "volume-unbound" || !strings.Contains(p.Summary, "nosuch") {
		t.Errorf("%v", p)
	}
}

// Two first applies at the same moment make up one password.
func TestGeneratedOnce(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	m, err := Render(t.Context(), t.TempDir(), []Source{{Apps: &config.Apps{Project: "shop", Secrets: []config.Secret{{Name: "db", Generate: []string{"password"}, Where: "kdev.yaml:3"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.makeNamespace(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		var all sync.WaitGroup
		var mu sync.Mutex
		var failed error
		created := 0
		for range 4 {
			all.Go(func() {
				one := newDeployer(ns)
				defer one.Close()
				a, err := one.Apply(t.Context(), Copy(m.Objects))
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
				if a != nil {
					created += len(a.Created)
				}
			})
		}
		all.Wait()
		if failed != nil {
			t.Fatal(failed)
		}
		if created != 1 {
			t.Errorf("round %d: %d say that they created it", round, created)
		}
		secret := func() *corev1.Secret {
			t.Helper()
			s, err := client.Core.CoreV1().Secrets(ns).Get(t.Context(), "db", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		was := secret()
		spy.reset(nil)
		apply(t, newDeployer(ns), m.Objects)
		if w := spy.writes(); len(w) > 0 {
			t.Errorf("round %d: unchanged, and wrote %v", round, w)
		}
		now := secret()
		if string(now.Data["password"]) != string(was.Data["password"]) || len(now.Data["password"]) != 32 {
			t.Errorf("round %d: another password", round)
		}
		for _, f := range now.ManagedFields {
			if f.Manager != fieldManager {
				t.Errorf("round %d: fields belong to %s", round, f.Manager)
			}
		}
		if err := client.Core.CoreV1().Secrets(ns).Delete(t.Context(), "db", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// Pods that have read what changed are replaced; those that read another key of it, and
// those that have it mounted, are not.
func TestChangedDataReachesPods(t *testing.T) {
	d := deployer(t)
	const text = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: LEVEL, other: same}
---
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {a: "TOKEN"}
`
	workload := func(name, container, volumes string) string {
		return fmt.Sprintf("---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %[1]s}\nspec: {replicas: 0, selector: {matchLabels: {app: %[1]s}}, template: {metadata: {labels: {app: %[1]s}}, spec: {containers: [{name: a, image: a%[2]s}]%[3]s}}}\n", name, container, volumes)
	}
	all := text +
		workload("whole", ", envFrom: [{configMapRef: {name: settings}}]", "") +
		workload("key", ", env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: level}}}]", "") +
		workload("another", ", env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: other}}}]", "") +
		workload("part", ", volumeMounts: [{name: v, mountPath: /etc/level, subPath: level}]", ", volumes: [{name: v, configMap: {name: settings}}]") +
		workload("volume", ", volumeMounts: [{name: v, mountPath: /etc/settings}]", ", volumes: [{name: v, configMap: {name: settings}}]") +
		workload("secret", ", env: [{name: A, valueFrom: {secretKeyRef: {name: token, key: a}}}]", "") +
		workload("changes", ", env: [{name: B, value: LEVEL}], envFrom: [{configMapRef: {name: settings}}]", "")
	state := func(level, token string) []*Object {
		return objects(t, strings.NewReplacer("LEVEL", level, "TOKEN", token).Replace(all))
	}
	if a := apply(t, d, state("info", "x")); len(a.Rolled) > 0 {
		t.Errorf("the first apply: %v", a.Rolled)
	}
	generations := func() map[string]int64 {
		t.Helper()
		list, err := client.Core.AppsV1().Deployments(d.options.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]int64{}
		for _, o := range list.Items {
			out[o.Name] = o.Generation
		}
		return out
	}
	changed := func(a *Applied, before map[string]int64, want ...string) {
		t.Helper()
		var got []string
		for name, g := range generations() {
			if g != before[name] {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("changed: %v, want %v (%+v)", got, want, a)
		}
	}
	before := generations()
	a := apply(t, d, state("debug", "x"))
	changed(a, before, "changes", "key", "part", "whole")
	if len(a.Rolled) != 4 || !strings.Contains(strings.Join(a.Rolled, "\n"), "Deployment/volume mounts ConfigMap/settings") {
		t.Errorf("told %q", a.Rolled)
	}
	before = generations()
	changed(apply(t, newDeployer(d.options.Namespace), state("debug", "y")), before, "secret")
	before = generations()
	spy.reset(nil)
	a = apply(t, newDeployer(d.options.Namespace), state("debug", "y"))
	changed(a, before)
	if w := spy.writes(); len(w) > 0 {
		t.Errorf("unchanged, and wrote %v", w)
	}
	if diffs, err := d.Diff(t.Context(), state("debug", "y")); err != nil || len(diffs) > 0 {
		t.Errorf("a diff afterwards: %+v, %v", diffs, err)
	}

	// A kdev that ends when the data is written owes the pods that read it; the next one
	// finds the data as it should be, and replaces them.
	before = generations()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	spy.reset(func(r *http.Request) error {
		if r.Method == http.MethodPatch && r.URL.Query().Get("fieldManager") == restarter {
			cancel()
			return context.Canceled
		}
		return nil
	})
	_, err := newDeployer(d.options.Namespace).Apply(ctx, state("debug", "z"))
	spy.reset(nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the apply that was to be interrupted: %v", err)
	}
	changed(nil, before)
	a = apply(t, newDeployer(d.options.Namespace), state("debug", "z"))
	changed(a, before, "secret")
	if len(a.Changed) > 0 || len(a.Rolled) != 1 {
		t.Errorf("the next apply: %+v", a)
	}
	before = generations()
	changed(apply(t, newDeployer(d.options.Namespace), state("debug", "z")), before)
	if _, err := d.Prune(t.Context(), state("debug", "z")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.parent(t.Context()); err != nil || d.data.text() != "" {
		t.Errorf("everybody has new pods, and the parent still says %q, %v", d.data.text(), err)
	}
}

// One object that is refused keeps from new pods those that read it, and nobody else. The
// pods of a chart's hook that stays are replaced as others are.
func TestRefusedObjectHoldsBackItsReaders(t *testing.T) {
	d := deployer(t)
	const data = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: LEVEL}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: rules}
data: {"KEY": x}
`
	workload := func(name, annotations, from string) string {
		return fmt.Sprintf("---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %[1]s, annotations: {%[2]s}}\nspec: {replicas: 0, selector: {matchLabels: {app: %[1]s}}, template: {metadata: {labels: {app: %[1]s}}, spec: {containers: [{name: a, image: a, envFrom: [%[3]s]}]}}}\n", name, annotations, from)
	}
	all := data + workload("one", "", "{configMapRef: {name: settings}}") +
		workload("both", "", "{configMapRef: {name: settings}}, {configMapRef: {name: rules}}") +
		workload("hooked", `helm.sh/hook: "post-install,post-upgrade"`, "{configMapRef: {name: settings}}")
	state := func(level, key string) []*Object {
		return chartOf(t, strings.NewReplacer("LEVEL", level, "KEY", key).Replace(all))
	}
	restarted := func() string {
		t.Helper()
		list, err := client.Core.AppsV1().Deployments(d.options.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, o := range list.Items {
			if o.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] != "" {
				names = append(names, o.Name)
			}
		}
		return strings.Join(names, " ")
	}
	apply(t, d, state("info", "key"))
	if _, err := d.Prune(t.Context(), state("info", "key")); err != nil {
		t.Fatal(err)
	}
	a, err := d.Apply(t.Context(), state("debug", "no key"))
	if p := problem.As(err); p == nil || p.Code != "object-refused" {
		t.Fatalf("a key with a blank: %v", err)
	}
	if got := restarted(); got != "one" || len(a.Rolled) != 1 {
		t.Errorf("beside what was refused these got new pods: %q, told %q", got, a.Rolled)
	}
	a = apply(t, newDeployer(d.options.Namespace), state("debug", "key"))
	if got := restarted(); got != "both hooked one" || len(a.Rolled) != 2 {
		t.Errorf("in the end these got new pods: %q, told %q", got, a.Rolled)
	}
	if _, err := d.Prune(t.Context(), state("debug", "key")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.parent(t.Context()); err != nil || d.data.text() != "" {
		t.Errorf("everybody has new pods, and the parent still says %q, %v", d.data.text(), err)
	}
}
