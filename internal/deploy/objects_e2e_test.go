//go:build e2e

package deploy

import (
	"context"
	"errors"
	"fmt"
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

// chartOf renders a chart of one template.
func chartOf(t *testing.T, template string) []*Object {
	t.Helper()
	root := project(t, map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n", "chart/templates/all.yaml": template})
	m, err := Render(t.Context(), root, []Source{{Helm: &Chart{Chart: "chart", Release: "dev", Namespace: "shop"}}})
	if err != nil {
		t.Fatal(err)
	}
	return m.Objects
}

const hookedChart = `apiVersion: v1
kind: ConfigMap
metadata: {name: script, annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-weight: "-5", helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded"}}
data: {run.sh: "echo no such table; exit CODE"}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: "hook-succeeded,hook-failed"}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      volumes: [{name: v, configMap: {name: script}}]
      containers: [{name: a, image: "debian:bookworm-slim", command: [sh, /v/run.sh], env: [{name: EXIT, value: "CODE"}], volumeMounts: [{name: v, mountPath: /v}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
`

// Hooks go when their policy says so, do not run again for that, and leave their last
// words when they fail.
func TestHookDeletePolicy(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	left := func() string {
		t.Helper()
		var names []string
		jobs, err := client.Core.BatchV1().Jobs(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs.Items {
			if j.DeletionTimestamp == nil {
				names = append(names, "Job/"+j.Name)
			}
		}
		maps, err := client.Core.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{LabelSelector: partOfLabel})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range maps.Items {
			names = append(names, "ConfigMap/"+m.Name)
		}
		return strings.Join(names, " ")
	}
	well := chartOf(t, strings.ReplaceAll(hookedChart, "CODE", "0"))
	if a := apply(t, d, well); !slices.Contains(a.Created, "Job/migrate") {
		t.Errorf("%+v", a)
	}
	if got := left(); got != "ConfigMap/web" {
		t.Errorf("left: %s", got)
	}
	later := newDeployer(ns)
	spy.reset(nil)
	apply(t, later, well)
	if w := spy.writes(); len(w) > 0 {
		t.Errorf("unchanged, and wrote %v", w)
	}
	if diffs, err := newDeployer(ns).Diff(t.Context(), well); err != nil || len(diffs) > 0 {
		t.Errorf("diff: %+v, %v", diffs, err)
	}
	watched(t, later, func(live *watching) bool {
		s := later.Status(live.Namespace, well)
		return len(s) == 1 && s[0].Ready
	})
	ill := chartOf(t, strings.ReplaceAll(hookedChart, "CODE", "3"))
	_, err := newDeployer(ns).Apply(t.Context(), Copy(ill))
	if p := problem.As(err); p == nil || p.Code != "hook-job" || !strings.Contains(p.Output, "no such table") {
		t.Errorf("%v", err)
	}
	if got := left(); got != "ConfigMap/script ConfigMap/web" {
		t.Errorf("left of what failed: %s", got)
	}
	if a := apply(t, newDeployer(ns), well); !slices.Contains(append(a.Created, a.Recreated...), "Job/migrate") {
		t.Errorf("a hook that changed did not run: %+v", a)
	}
	if got := left(); got != "ConfigMap/web" {
		t.Errorf("left in the end: %s", got)
	}
}

// A hook that does not end is given up, with what it is.
func TestHookTimeout(t *testing.T) {
	d := deployer(t)
	d.options.HookTimeout = 2 * time.Second
	slow := chartOf(t, strings.NewReplacer("CODE", "0", "[sh, /v/run.sh]", "[sleep, infinity]").Replace(hookedChart))
	_, err := d.Apply(t.Context(), Copy(slow))
	if p := problem.As(err); p == nil || p.Code != "hook-job" || p.Class != problem.Timeout || !strings.Contains(p.Summary, "2s") {
		t.Errorf("%v", err)
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
			t.Errorf("changed: %v, want %v (%q)", got, want, a.Rolled)
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
}
