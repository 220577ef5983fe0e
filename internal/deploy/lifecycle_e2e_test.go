//go:build e2e

package deploy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

func down(t *testing.T, d *Deployer, o DownOptions) *DownReport {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report, err := d.Down(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// What others made in the namespace stays, and so does the namespace then.
func TestDownLeavesForeignObjects(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	apply(t, d, objects(t, strings.ReplaceAll(smallService, "NAME", "web")))
	labels := map[string]string{"app": "web", managedByLabel: "kdev", projectLabel: "other"}
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "web-settings", Labels: labels}}
	if _, err := client.Core.CoreV1().ConfigMaps(ns).Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	report := down(t, d, DownOptions{})
	if report.Namespace || !strings.Contains(report.KeptNamespace, "ConfigMap/web-settings") || len(report.Removed) != 4 {
		t.Errorf("%+v", report)
	}
	if _, err := client.Core.CoreV1().ConfigMaps(ns).Get(t.Context(), "web-settings", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if err := client.Core.CoreV1().ConfigMaps(ns).Delete(t.Context(), "web-settings", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if report := down(t, d, DownOptions{}); !report.Namespace || len(report.Removed) > 0 {
		t.Errorf("a second down: %+v", report)
	}
}

func TestDownKeepsVolumes(t *testing.T) {
	d := deployer(t)
	apply(t, d, objects(t, `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: db, image: "debian:bookworm-slim", command: [sleep, infinity], volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: uploads}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`))
	watched(t, d, func(live *watching) bool { return len(live.PVCs()) == 2 })
	report := down(t, d, DownOptions{})
	slices.Sort(report.KeptVolumes)
	if strings.Join(report.KeptVolumes, " ") != "data-db-0 uploads" || report.KeptNamespace == "" {
		t.Errorf("%+v", report)
	}
	report = down(t, d, DownOptions{Volumes: true})
	if strings.Join(report.Removed, " ") != "PersistentVolumeClaim/data-db-0 PersistentVolumeClaim/uploads" || !report.Namespace {
		t.Errorf("%+v", report)
	}
}

// A kdev that dies in the middle of an apply has told the parent before.
func TestDownAfterAnInterruptedApply(t *testing.T) {
	d := deployer(t)
	var all []*Object
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		all = append(all, objects(t, strings.ReplaceAll(smallService, "NAME", name))...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var writes atomic.Int32
	spy.reset(func(r *http.Request) error {
		if r.Method == http.MethodPatch && writes.Add(1) == 14 {
			cancel()
		}
		return nil
	})
	_, err := d.Apply(ctx, Copy(all))
	spy.reset(nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	report := down(t, newDeployer(d.options.Namespace), DownOptions{})
	if !report.Namespace || len(report.Removed) == 0 || len(report.Removed) == len(all) {
		t.Errorf("%+v", report)
	}
	t.Logf("%d of %d objects had been made", len(report.Removed), len(all))

	// The next up converges.
	if applied := apply(t, d, all); len(applied.Created) != len(all) {
		t.Errorf("%+v", applied)
	}
}

// The API server goes away in the middle of an apply and of a down, and comes back.
func TestOutage(t *testing.T) {
	d := deployer(t)
	var told []string
	d.options.Progress = func(text string) { told = append(told, text) }
	var all []*Object
	for _, name := range []string{"a", "b", "c"} {
		all = append(all, objects(t, strings.ReplaceAll(smallService, "NAME", name))...)
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	outage := func(method string, after, pings int32) {
		var requests, seen atomic.Int32
		spy.reset(func(r *http.Request) error {
			switch {
			case r.Method == method && requests.Add(1) < after, requests.Load() < after, seen.Load() >= pings:
				return nil
			case r.URL.Path == "/version":
				seen.Add(1)
			}
			return refused
		})
	}
	outage(http.MethodPatch, 6, 3)
	defer spy.reset(nil)
	if applied := apply(t, d, all); len(applied.Created) != len(all) || len(applied.Unchanged) > 0 {
		t.Errorf("%+v", applied)
	}
	outage(http.MethodDelete, 1, 2)
	if report := down(t, d, DownOptions{}); !report.Namespace || len(report.Removed) != len(all) {
		t.Errorf("%+v", report)
	}
	if len(told) != 4 {
		t.Errorf("told %q", told)
	}
}

func TestPrune(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	all := objects(t, strings.ReplaceAll(smallService, "NAME", "web")+"---"+strings.ReplaceAll(smallService, "NAME", "old")+`---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, annotations: {kdev.dev/keep: "true"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: read}
data: {a: b}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: uploads}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`)
	apply(t, d, all)
	// Somebody else's object, member of another set, and one that was ours by
	// name only.
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs", Labels: map[string]string{partOfLabel: "applyset-x-v1"}}}
	if _, err := client.Core.CoreV1().ConfigMaps(ns).Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	reader := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Spec: corev1.PodSpec{
		NodeSelector: map[string]string{"no": "such"},
		Containers: []corev1.Container{{Name: "a", Image: "debian:bookworm-slim", EnvFrom: []corev1.EnvFromSource{{
			ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "read"}}}}}},
	}}
	if _, err := client.Core.CoreV1().Pods(ns).Create(t.Context(), reader, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pruned, err := d.PruneReport(t.Context(), all[:4])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(pruned.Removed, " ") != "ConfigMap/old Deployment/old Secret/old Service/old" {
		t.Errorf("removed %v", pruned.Removed)
	}
	var kept []string
	for _, k := range pruned.Kept {
		kept = append(kept, k.Object+": "+k.Why)
	}
	want := "ConfigMap/kept: it carries kdev.dev/keep\nConfigMap/read: pod reader still reads it\nPersistentVolumeClaim/uploads: it holds data"
	if strings.Join(kept, "\n") != want {
		t.Errorf("kept\n%s\nwant\n%s", strings.Join(kept, "\n"), want)
	}
	if err := client.Core.CoreV1().Pods(ns).Delete(t.Context(), "reader", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	watched(t, d, func(live *watching) bool { return len(live.Pods()) == 0 })
	if pruned, err := d.PruneReport(t.Context(), all[:4]); err != nil || strings.Join(pruned.Removed, " ") != "ConfigMap/read" {
		t.Errorf("a second prune: %+v, %v", pruned, err)
	}
	if _, err := client.Core.CoreV1().ConfigMaps(ns).Get(t.Context(), "theirs", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	report, err := d.Down(t.Context(), DownOptions{Volumes: true})
	if err != nil || len(report.Kept) != 1 || report.Kept[0] != (Kept{"ConfigMap/kept", "it carries kdev.dev/keep"}) {
		t.Errorf("down: %+v, %v", report, err)
	}
	if left, err := client.Core.CoreV1().ConfigMaps(ns).Get(t.Context(), "kept", metav1.GetOptions{}); err != nil || left.Labels[partOfLabel] != "" {
		t.Errorf("what is kept: %v, %v", left, err)
	}
}

// The endpointslice controller gives its slices all labels of their Service, the set's among
// them: a set that had a slice of its own leaves those of the controller alone.
func TestPruneLeavesCopiedLabels(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	all := objects(t, strings.ReplaceAll(smallService, "NAME", "web")+`---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-hand}
addressType: IPv4
endpoints: []
ports: []
`)
	apply(t, d, all)
	slicesOf := func() (names []string) {
		list, err := client.Core.DiscoveryV1().EndpointSlices(ns).List(t.Context(), metav1.ListOptions{LabelSelector: partOfLabel + "=" + d.id})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
		return names
	}
	for start := time.Now(); len(slicesOf()) < 2 && time.Since(start) < patience; {
		time.Sleep(50 * time.Millisecond)
	}
	pruned, err := d.PruneReport(t.Context(), all[:4])
	if err != nil || strings.Join(pruned.Removed, " ") != "EndpointSlice/by-hand" {
		t.Errorf("%+v, %v", pruned, err)
	}
	if left := slicesOf(); len(left) != 1 {
		t.Errorf("slices left: %v", left)
	}
}

// A CRD with instances of others stays, and loses the set's label.
func TestDownKeepsACRDInUse(t *testing.T) {
	d := deployer(t)
	all := objects(t, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.e2e.kdev.dev}
spec:
  group: e2e.kdev.dev
  names: {kind: Widget, plural: widgets}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: e2e.kdev.dev/v1
kind: Widget
metadata: {name: ours}
`)
	apply(t, d, all)
	crd := client.Dynamic.Resource(crds)
	t.Cleanup(func() { _ = crd.Delete(context.Background(), "widgets.e2e.kdev.dev", metav1.DeleteOptions{}) })
	theirs := objects(t, "apiVersion: e2e.kdev.dev/v1\nkind: Widget\nmetadata: {name: theirs, namespace: default}\n")[0]
	mapping, err := d.target(theirs)
	if err != nil {
		t.Fatal(err)
	}
	theirs.SetLabels(nil)
	if _, err := mapping.resource.Create(t.Context(), theirs.Unstructured, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if pruned, err := d.PruneReport(t.Context(), nil); err != nil || len(pruned.Kept) != 1 || strings.Join(pruned.Removed, " ") != "Widget/ours" {
		t.Errorf("prune: %+v, %v", pruned, err)
	}
	report := down(t, d, DownOptions{})
	if len(report.Kept) != 1 || report.Kept[0].Object != "CustomResourceDefinition/widgets.e2e.kdev.dev" || !report.Namespace {
		t.Errorf("%+v", report)
	}
	live, err := crd.Get(t.Context(), "widgets.e2e.kdev.dev", metav1.GetOptions{})
	if err != nil || live.GetLabels()[partOfLabel] != "" {
		t.Errorf("labels %v, %v", live.GetLabels(), err)
	}
	if err := mapping.resource.Delete(t.Context(), "theirs", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// What kubectl apply made becomes kdev's: a field that leaves the manifest goes.
func TestAdoption(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	if err := d.makeNamespace(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	applied := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"data":{"stays":"1","goes":"2"}}`
	created := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Data: map[string]string{"stays": "1", "goes": "2"}}
	created.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": applied}
	if _, err := client.Core.CoreV1().ConfigMaps(ns).Create(t.Context(), created, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"}); err != nil {
		t.Fatal(err)
	}
	want := objects(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {stays: '1'}\n")
	diffs, err := d.Diff(t.Context(), want)
	if err != nil || len(diffs) != 1 || len(diffs[0].Fields) != 1 || diffs[0].Fields[0] != (FieldDiff{"data.goes", "2", nil}) {
		t.Errorf("the diff before: %+v, %v", diffs, err)
	}
	apply(t, d, want)
	live, err := client.Core.CoreV1().ConfigMaps(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || len(live.Data) != 1 {
		t.Errorf("data %v, %v", live.Data, err)
	}
	spy.reset(nil)
	apply(t, d, want)
	if w := spy.writes(); len(w) > 0 {
		t.Errorf("the second time wrote %v", w)
	}
}

// A manifest that names no number of replicas wants one: what somebody made of it stays,
// and is told unless it is an autoscaler's.
func TestScaledByHand(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	plain := objects(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: plain}\nspec:\n  selector: {matchLabels: {app: plain}}\n  template: {metadata: {labels: {app: plain}}, spec: {containers: [{name: a, image: \"busybox:1\", command: [sleep, \"1000\"]}]}}\n")
	apply(t, d, plain)
	if _, err := client.Core.AppsV1().Deployments(ns).Patch(t.Context(), "plain", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{FieldManager: "kdev-scale"}, "scale"); err != nil {
		t.Fatal(err)
	}
	noted := func() bool {
		return slices.ContainsFunc(apply(t, d, plain).Notes, func(n string) bool { return strings.Contains(n, "plain") && strings.Contains(n, "scaled by hand") })
	}
	if !noted() {
		t.Error("that somebody scaled it is not told")
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "plain"}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "plain"}, MaxReplicas: 4,
	}}
	if _, err := client.Core.AutoscalingV2().HorizontalPodAutoscalers(ns).Create(t.Context(), hpa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if noted() {
		t.Error("an autoscaler's number is called a person's")
	}
}

func TestConflicts(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	web := objects(t, strings.ReplaceAll(smallService, "NAME", "web"))
	apply(t, d, web)
	patch := func(manager, body string, subresource ...string) {
		t.Helper()
		if _, err := client.Core.AppsV1().Deployments(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: manager}, subresource...); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("replicas are left alone and told", func(t *testing.T) {
		patch("kubectl", `{"spec":{"replicas":2}}`, "scale")
		applied := apply(t, d, web)
		if len(applied.Notes) != 1 || !strings.Contains(applied.Notes[0], "keeps its number of replicas") {
			t.Errorf("%+v", applied)
		}
		live, err := client.Core.AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || *live.Spec.Replicas != 2 {
			t.Errorf("replicas %d, %v", *live.Spec.Replicas, err)
		}
		spy.reset(nil)
		apply(t, d, web)
		if w := spy.writes(); len(w) > 0 {
			t.Errorf("again: wrote %v", w)
		}
	})
	t.Run("also beside what a person edited", func(t *testing.T) {
		patch("hpa", `{"spec":{"replicas":3}}`, "scale")
		patch("kubectl-edit", `{"spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"a","image":"busybox:1"}]}}}}`)
		diffs, err := d.Diff(t.Context(), Copy(web))
		if err != nil || len(diffs) != 1 {
			t.Fatalf("diff %+v, %v", diffs, err)
		}
		var paths []string // a merge patch replaces the list, and takes the limits with it
		for _, f := range diffs[0].Fields {
			paths = append(paths, f.Path)
		}
		if got := strings.Join(paths, " "); got != "spec.template.spec.containers[a].image spec.template.spec.containers[a].resources.limits" {
			t.Errorf("differs in %s", got)
		}
		applied := apply(t, d, web)
		live, err := client.Core.AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || *live.Spec.Replicas != 3 || strings.Join(applied.Changed, " ") != "Deployment/web" || len(applied.Notes) != 1 {
			t.Errorf("replicas %d, %+v, %v", *live.Spec.Replicas, applied, err)
		}
	})
	t.Run("what a person edited is taken back", func(t *testing.T) {
		patch("kubectl-edit", `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"busybox:1"}]}}}}`)
		if applied := apply(t, d, web); strings.Join(applied.Changed, " ") != "Deployment/web" {
			t.Errorf("%+v", applied)
		}
	})
	t.Run("what a controller wrote is a conflict", func(t *testing.T) {
		patch("argocd-controller", `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"busybox:1"}]}}}}`)
		_, err := d.Apply(t.Context(), Copy(web))
		p := problem.As(err)
		if p == nil || p.Code != "object-conflict" || !strings.Contains(p.Summary, "argocd-controller") || !strings.Contains(p.Error(), "image") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a member of another set", func(t *testing.T) {
		other := New(client, Options{Project: "other", Namespace: ns})
		_, err := other.Apply(t.Context(), Copy(web[2:3]))
		if p := problem.As(err); p == nil || p.Code != "object-taken" {
			t.Errorf("error %v", err)
		}
	})
}

func TestImmutableFields(t *testing.T) {
	d := deployer(t)
	web := objects(t, strings.ReplaceAll(smallService, "NAME", "web"))
	apply(t, d, web)
	t.Run("a Deployment is made anew", func(t *testing.T) {
		changed := objects(t, strings.ReplaceAll(smallService, "{app: NAME}", "{app: other}"))[:1]
		changed[0].SetName("web")
		applied := apply(t, d, changed)
		if strings.Join(applied.Recreated, " ") != "Deployment/web" || strings.Join(applied.Anew, " ") != "Deployment/web is made anew: spec.selector cannot be changed" {
			t.Errorf("%+v", applied)
		}
		one := int64(1)
		if err := unstructured.SetNestedField(changed[0].Object, one, "spec", "replicas"); err != nil {
			t.Fatal(err)
		}
		apply(t, d, changed)
		d.options.NoRecreate = true
		defer func() { d.options.NoRecreate = false }()
		if _, err := d.Apply(t.Context(), Copy(web[:1])); !hasCode(err, "object-immutable") {
			t.Errorf("outside dev: %v", err)
		}
	})
	t.Run("a volume claim is not", func(t *testing.T) {
		const claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [MODE], resources: {requests: {storage: 1Mi}}}\n"
		apply(t, d, objects(t, strings.ReplaceAll(claim, "MODE", "ReadWriteOnce")))
		_, err := d.Apply(t.Context(), objects(t, strings.ReplaceAll(claim, "MODE", "ReadWriteMany")))
		if p := problem.As(err); p == nil || p.Code != "object-immutable" || !strings.Contains(p.Where, "all.yaml:1") {
			t.Errorf("error %v", err)
		}
	})
}

func TestJobs(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  ttlSecondsAfterFinished: 3600
  template: {spec: {restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{name: a, image: "debian:bookworm-slim", command: [COMMAND]}]}}
`
	first := objects(t, strings.ReplaceAll(job, "COMMAND", "'true'"))
	apply(t, d, first)
	uid := func() types.UID {
		j, err := client.Core.BatchV1().Jobs(ns).Get(t.Context(), "migrate", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		return j.UID
	}
	ran := uid()
	watched(t, d, func(live *watching) bool {
		for _, j := range live.Jobs() {
			for _, c := range j.Status.Conditions {
				if c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue {
					return true
				}
			}
		}
		return false
	})
	if apply(t, d, first); uid() != ran {
		t.Error("a finished job ran again")
	}
	// Its time to live is over; a new kdev looks at it.
	now := metav1.DeletePropagationForeground
	if err := client.Core.BatchV1().Jobs(ns).Delete(t.Context(), "migrate", metav1.DeleteOptions{PropagationPolicy: &now}); err != nil {
		t.Fatal(err)
	}
	watched(t, d, func(live *watching) bool { return len(live.Jobs()) == 0 })
	later := newDeployer(ns)
	spy.reset(nil)
	apply(t, later, first)
	if uid() != "" || len(spy.writes()) > 0 {
		t.Errorf("an expired job ran again: %v", spy.writes())
	}
	watched(t, later, func(live *watching) bool {
		s := later.Status(live.Namespace, first)
		return len(s) == 1 && s[0].Ready
	})
	asks := newDeployer(ns) // kdev status, which applies nothing
	watched(t, asks, func(live *watching) bool {
		if err := asks.Follow(t.Context(), live.Namespace, first); err != nil {
			t.Fatal(err)
		}
		s := asks.Status(live.Namespace, first)
		return len(s) == 1 && s[0].Ready
	})
	if applied := apply(t, later, objects(t, strings.ReplaceAll(job, "COMMAND", "'false'"))); len(applied.Created) != 1 {
		t.Errorf("a changed job did not run: %+v", applied)
	}
	if applied := apply(t, later, first); len(applied.Recreated) != 1 {
		t.Errorf("a job that changed back did not run: %+v", applied)
	}
}

// What is being deleted is waited for and made anew.
func TestApplyOverTerminating(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	web := objects(t, strings.ReplaceAll(smallService, "NAME", "web"))[2:3]
	apply(t, d, web)
	maps := client.Core.CoreV1().ConfigMaps(ns)
	if _, err := maps.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"metadata":{"finalizers":["e2e.kdev.dev/hold"]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	watching := make(chan struct{})
	var once atomic.Bool
	spy.reset(func(r *http.Request) error {
		if r.URL.Query().Get("watch") != "" && strings.HasSuffix(r.URL.Path, "/configmaps") && once.CompareAndSwap(false, true) {
			close(watching)
		}
		return nil
	})
	defer spy.reset(nil)
	released := make(chan error, 1)
	go func() {
		<-watching
		_, err := maps.Patch(context.Background(), "web", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		released <- err
	}()
	applied := apply(t, d, web)
	if err := <-released; err != nil || len(applied.Created) != 1 {
		t.Errorf("%+v, %v", applied, err)
	}
	if live, err := maps.Get(t.Context(), "web", metav1.GetOptions{}); err != nil || live.DeletionTimestamp != nil {
		t.Errorf("%v", err)
	}
}

// A Namespace of the manifests that is being deleted is waited for, as long as there is time.
func TestApplyIntoATerminatingNamespace(t *testing.T) {
	d := deployer(t)
	other := d.options.Namespace + "-other"
	all := parse(t, strings.ReplaceAll("apiVersion: v1\nkind: Namespace\nmetadata: {name: OTHER}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: OTHER}\n", "OTHER", other))
	apply(t, d, all)
	maps := client.Core.CoreV1().ConfigMaps(other)
	hold := func(finalizers string) {
		t.Helper()
		if _, err := maps.Patch(context.Background(), "settings", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{}); err != nil {
			t.Error(err)
		}
	}
	hold(`["e2e.kdev.dev/hold"]`)
	if err := client.Core.CoreV1().Namespaces().Delete(t.Context(), other, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := d.Apply(short, Copy(all))
	if p := problem.As(err); p == nil || p.Code != "removal-stuck" || p.Class != problem.Timeout || !strings.Contains(p.Where, "Namespace/"+other) {
		t.Errorf("error %v", err)
	}
	hold("null")
	if applied := apply(t, d, all); len(applied.Created) != 2 {
		t.Errorf("%+v", applied)
	}
}

// A workload that the manifests put into another namespace is waited for, and explained,
// like one of the project's own; its volume is found when all else of the set is gone.
func TestAnotherNamespace(t *testing.T) {
	d := deployer(t)
	away := d.options.Namespace + "-data"
	all := objects(t, strings.ReplaceAll(smallService, "NAME", "db")+strings.ReplaceAll(`---
apiVersion: v1
kind: Namespace
metadata: {name: AWAY}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: AWAY}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: db, image: "debian:bookworm-slim", command: [nosuch], volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}]
`, "AWAY", away))
	t.Cleanup(func() {
		_ = client.Core.CoreV1().Namespaces().Delete(context.Background(), away, metav1.DeleteOptions{})
	})
	apply(t, d, all)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	live, err := kube.Watch(ctx, client, d.options.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Follow(ctx, live, all); err != nil {
		t.Fatal(err)
	}
	err = d.Await(ctx, live, all, AwaitOptions{})
	cancel()
	live.Wait()
	if p := problem.As(err); p == nil || p.Code != "command-not-found" || !strings.HasSuffix(p.Where, "in namespace "+away) {
		t.Fatalf("%v", err)
	}
	if report := down(t, d, DownOptions{}); strings.Join(report.KeptVolumes, " ") != away+"/data-db-0" {
		t.Errorf("%+v", report)
	}
	if report := down(t, d, DownOptions{Volumes: true}); strings.Join(report.Removed, " ") != "PersistentVolumeClaim/data-db-0" {
		t.Errorf("%+v", report)
	}
}

// What holds an object is named when the time is up, and the next down goes on.
func TestDownNamesWhatHoldsAnObject(t *testing.T) {
	d := deployer(t)
	ns := d.options.Namespace
	apply(t, d, objects(t, strings.ReplaceAll(smallService, "NAME", "web")+"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [e2e.kdev.dev/hold]}\n"))
	free := func() {
		_, err := client.Core.CoreV1().ConfigMaps(ns).Patch(context.Background(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
	t.Cleanup(free)
	// Somebody's object keeps the namespace, so that objects go one by one.
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}
	if _, err := client.Core.CoreV1().ConfigMaps(ns).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	report, err := d.Down(ctx, DownOptions{})
	if p := problem.As(err); p == nil || p.Code != "removal-stuck" || p.ExitCode() != 4 {
		t.Errorf("%v", err)
	}
	if len(report.Removed) != 4 || len(report.Left) != 1 || report.Left[0] != (Kept{"ConfigMap/held", "it is being deleted and waits for finalizer e2e.kdev.dev/hold"}) {
		t.Errorf("%+v", report)
	}
	free()
	if report := down(t, d, DownOptions{}); len(report.Left) > 0 {
		t.Errorf("%+v", report)
	}
}
