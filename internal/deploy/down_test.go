package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// downKinds are the kinds of the cluster that a fakeSet lives in.
var downKinds = map[schema.GroupVersionResource]string{
	claimResource: "PersistentVolumeClaim",
	corev1.SchemeGroupVersion.WithResource("secrets"): "Secret",
	configMaps: "ConfigMap",
	{Group: "apps", Version: "v1", Resource: "statefulsets"}: "StatefulSet",
}

// fakeSet is a Deployer of a set in namespace shop with the cluster that live describes.
// SET is the set's id there; parent says whether the set has one, with StatefulSets and
// ConfigMaps in namespaces shop and data.
func fakeSet(t *testing.T, parent bool, live string) (*Deployer, *dynamicfake.FakeDynamicClient) {
	t.Helper()
	client := &kube.Client{}
	d := New(client, Options{Project: "shop", Namespace: "shop"})
	t.Cleanup(d.Close)
	mapper, lists := staticMapper{meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}, {Group: "apps", Version: "v1"}})}, map[schema.GroupVersionResource]string{}
	for gvr, kind := range downKinds {
		mapper.AddSpecific(gvr.GroupVersion().WithKind(kind), gvr, gvr, meta.RESTScopeNamespace)
		lists[gvr] = kind + "List"
	}
	var all []runtime.Object
	for _, o := range parse(t, strings.ReplaceAll(live, "SET", d.id)) {
		u := &unstructured.Unstructured{Object: o.Object}
		u.SetUID(types.UID(u.GetKind() + u.GetNamespace() + u.GetName()))
		all = append(all, u)
	}
	core := fake.NewSimpleClientset()
	if parent {
		m := members{map[schema.GroupKind]bool{{Group: "apps", Kind: "StatefulSet"}: true, {Kind: "ConfigMap"}: true}, map[string]bool{"data": true}}
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: d.parentName(), Namespace: "shop", Annotations: m.annotations()}}
		cm.Annotations[toolingAnnotation] = tooling
		if _, err := core.CoreV1().ConfigMaps("shop").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	dynamic := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, all...)
	client.Core, client.Mapper, client.Dynamic = core, mapper, dynamic
	return d, dynamic
}

const twoDatabases = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop, labels: {applyset.kubernetes.io/part-of: SET}}
spec: {volumeClaimTemplates: [{metadata: {name: data}}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: data, labels: {applyset.kubernetes.io/part-of: SET}}
spec: {volumeClaimTemplates: [{metadata: {name: data}}]}
---
`

func aVolume(namespace, name, labels string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: " + name + ", namespace: " + namespace + ", labels: {" + labels + "}}\n---\n"
}

func volumesLeft(t *testing.T, d *Deployer) string {
	t.Helper()
	list, err := d.client.Dynamic.Resource(claimResource).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, c := range list.Items {
		left = append(left, c.GetNamespace()+"/"+c.GetName())
	}
	return strings.Join(left, " ")
}

// The project's name is the same for every checkout, environment and run of `kdev ci`: only
// what tells the set says whose a volume is.
func TestDownTakesTheVolumesOfItsOwnSet(t *testing.T) {
	d, _ := fakeSet(t, true, twoDatabases+
		aVolume("shop", "data-db-0", "")+
		aVolume("shop", "before", "kdev.dev/project: shop")+ // of a kdev that knew no sets
		aVolume("shop", "theirs", "kdev.dev/project: shop, kdev.dev/set: another")+
		aVolume("data", "data-db-0", "kdev.dev/project: shop, kdev.dev/set: another")+
		aVolume("data", "data-db-1", "")+
		aVolume("data", "data-db-2", "kdev.dev/project: shop")+
		aVolume("data", "theirs", "kdev.dev/project: shop")+
		aVolume("away", "ours", "kdev.dev/project: shop, kdev.dev/set: SET"))
	report, err := d.Down(t.Context(), DownOptions{Volumes: true})
	if err != nil {
		t.Fatal(err)
	}
	if left, want := volumesLeft(t, d), "data/data-db-0 data/data-db-2 data/theirs shop/theirs"; left != want {
		t.Errorf("left %s, want %s", left, want)
	}
	if len(report.Kept) != 2 || report.Kept[0].Object != "PersistentVolumeClaim/data-db-0" || !strings.Contains(report.Kept[1].Why, "kubectl delete pvc data-db-2 -n data") {
		t.Errorf("kept %+v", report.Kept)
	}
}

// What a down keeps in another namespace is found when nothing else is left of the set.
func TestDownFindsVolumesOfOtherNamespacesLater(t *testing.T) {
	d, _ := fakeSet(t, true, twoDatabases+aVolume("shop", "data-db-0", "")+aVolume("data", "data-db-0", "")+aVolume("data", "theirs", ""))
	report, err := d.Down(t.Context(), DownOptions{})
	if err != nil || strings.Join(report.KeptVolumes, " ") != "data/data-db-0 data-db-0" {
		t.Fatalf("%+v, %v", report, err)
	}
	if _, err := d.Down(t.Context(), DownOptions{Volumes: true}); err != nil {
		t.Fatal(err)
	}
	if left := volumesLeft(t, d); left != "data/theirs" {
		t.Errorf("left %s", left)
	}
}

// A StatefulSet that left the manifests leaves its volumes: they are named, and `down
// --volumes` finds them although nothing else tells of them any more.
func TestPruneClaimsTheVolumesOfAStatefulSet(t *testing.T) {
	d, _ := fakeSet(t, true, twoDatabases+aVolume("shop", "data-db-0", "")+aVolume("data", "data-db-0", "")+aVolume("shop", "theirs", ""))
	one, err := d.client.Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}).Namespace("shop").Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pruned, _ := d.PruneReport(t.Context(), []*Object{{Unstructured: one}}) // a fake applies no parent
	if pruned == nil || strings.Join(pruned.Volumes, " ") != "data/data-db-0" || len(pruned.Removed) != 1 {
		t.Fatalf("%+v", pruned)
	}
	if _, err := d.Down(t.Context(), DownOptions{Volumes: true}); err != nil {
		t.Fatal(err)
	}
	if left := volumesLeft(t, d); left != "shop/theirs" {
		t.Errorf("left %s", left)
	}
}

// A down that is cut short, or whose time is up, says what went and what is left.
func TestDownSaysWhatIsLeft(t *testing.T) {
	const live = `
apiVersion: v1
kind: ConfigMap
metadata: {name: goes, namespace: shop, labels: {applyset.kubernetes.io/part-of: SET}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: held, namespace: shop, labels: {applyset.kubernetes.io/part-of: SET}, finalizers: [example.com/hold]}
`
	start := func(t *testing.T) (*Deployer, *dynamicfake.FakeDynamicClient) {
		d, dynamic := fakeSet(t, true, live)
		dynamic.PrependReactor("delete", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
			if a.(clienttesting.DeleteAction).GetName() != "held" {
				return false, nil, nil
			}
			return true, nil, nil // as of an object with a finalizer: it is accepted, and nothing goes
		})
		return d, dynamic
	}
	check := func(t *testing.T, r *DownReport) {
		t.Helper()
		if strings.Join(r.Removed, " ") != "ConfigMap/goes" || len(r.Left) != 1 ||
			r.Left[0] != (Kept{"ConfigMap/held", "it is being deleted and waits for finalizer example.com/hold"}) {
			t.Errorf("%+v", r)
		}
	}
	t.Run("the time is up", func(t *testing.T) {
		d, _ := start(t)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		r, err := d.Down(ctx, DownOptions{})
		check(t, r)
		if p := problem.As(err); p == nil || p.ExitCode() != 4 || p.Code != "removal-stuck" || p.Where != "ConfigMap/held" || !strings.Contains(p.Summary, "example.com/hold") {
			t.Errorf("%v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		d, dynamic := start(t)
		ctx, cancel := context.WithCancel(t.Context())
		dynamic.PrependWatchReactor("configmaps", func(clienttesting.Action) (bool, watch.Interface, error) {
			cancel() // the list before it had the one that is left
			return false, nil, nil
		})
		r, err := d.Down(ctx, DownOptions{})
		check(t, r)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		d, dynamic := fakeSet(t, true, live)
		dynamic.PrependReactor("delete", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "goes", nil)
		})
		r, err := d.Down(t.Context(), DownOptions{})
		if err == nil || len(r.Removed) > 0 || len(r.Left) != 2 || r.Left[0].Why != "it was not asked to go yet" {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// What says itself that it stays does, as it is, and is no longer the set's.
func TestDownKeeps(t *testing.T) {
	const live = `
apiVersion: v1
kind: ConfigMap
metadata: {name: goes, namespace: shop, labels: {applyset.kubernetes.io/part-of: SET}, annotations: {kdev.dev/keep: "false"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ours, namespace: shop, labels: {applyset.kubernetes.io/part-of: SET, a: b}, annotations: {kdev.dev/keep: "true"}}
data: {a: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: charts, namespace: data, labels: {applyset.kubernetes.io/part-of: SET}, annotations: {helm.sh/resource-policy: keep}}
`
	for _, all := range []bool{false, true} {
		d, dynamic := fakeSet(t, true, live)
		report, err := d.Down(t.Context(), DownOptions{All: all})
		if err != nil {
			t.Fatal(err)
		}
		removed, kept := "ConfigMap/goes", "[{ConfigMap/charts it carries helm.sh/resource-policy: keep} {ConfigMap/ours it carries kdev.dev/keep}]"
		if all { // of the project's own namespace
			removed, kept = "ConfigMap/goes ConfigMap/ours", "[{ConfigMap/charts it carries helm.sh/resource-policy: keep}]"
		}
		if strings.Join(report.Removed, " ") != removed || fmt.Sprint(report.Kept) != kept {
			t.Errorf("all %t: %+v", all, report)
		}
		u, err := dynamic.Resource(configMaps).Namespace("shop").Get(t.Context(), "ours", metav1.GetOptions{})
		if !all && (err != nil || u.GetLabels()[partOfLabel] != "" || u.GetLabels()["a"] != "b" || u.Object["data"] == nil) {
			t.Errorf("kept %v, %v", u, err)
		}
	}
}
