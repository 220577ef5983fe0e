package pods

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestOwnersThatMayNotBeRead: the names in a pod's references say as much as they can.
func TestOwnersThatMayNotBeRead(t *testing.T) {
	client := fake.NewSimpleDynamicClient(runtime.NewScheme())
	client.PrependReactor("get", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "x", nil)
	})
	for _, tt := range []struct {
		version, kind, name, hash, want string
	}{
		{"batch/v1", "Job", "report-29407680", "", "Job/report-29407680 CronJob/report"},
		{"batch/v1", "Job", "night-report-29407680", "", "Job/night-report-29407680 CronJob/night-report"},
		{"batch/v1", "Job", "migrate-2", "", "Job/migrate-2"},
		{"batch/v1", "Job", "-29407680", "", "Job/-29407680"},
		{"batch/v1", "Job", "copy-2940768x", "", "Job/copy-2940768x"},
		{"apps/v1", "ReplicaSet", "web-7d9f6b5c4", "7d9f6b5c4", "ReplicaSet/web-7d9f6b5c4 Deployment/web"},
		{"apps/v1", "ReplicaSet", "web-by-hand", "", "ReplicaSet/web-by-hand"},
		{"apps/v1", "StatefulSet", "db", "", "StatefulSet/db"},
	} {
		yes := true
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: tt.version, Kind: tt.kind, Name: tt.name, UID: "uid", Controller: &yes}}}}
		if tt.hash != "" {
			pod.Labels = map[string]string{"pod-template-hash": tt.hash}
		}
		got := ""
		for i, o := range NewOwners(client, nil).Chain(t.Context(), pod) {
			if i > 0 {
				got += " "
			}
			got += o.Kind + "/" + o.Name
		}
		if got != tt.want {
			t.Errorf("the owners of a pod of %s are %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A kind can be named with its group, as two groups may have one of that name.
func TestDiscover(t *testing.T) {
	versions := []schema.GroupVersion{{Group: "apps", Version: "v1"}, {Group: "example.org", Version: "v1"}}
	mapper := meta.NewDefaultRESTMapper(versions)
	for _, version := range versions {
		mapper.Add(version.WithKind("Deployment"), meta.RESTScopeNamespace)
	}
	mapper.Add(versions[1].WithKind("Rollout"), meta.RESTScopeNamespace)
	owners := NewOwners(nil, mapper)
	for word, want := range map[string]schema.GroupVersionResource{
		"deployment.apps":         versions[0].WithResource("deployments"),
		"deployments.example.org": versions[1].WithResource("deployments"),
		"rollout":                 versions[1].WithResource("rollouts"),
	} {
		if got, err := owners.discover(word); err != nil || got.GroupVersionResource != want {
			t.Errorf("%s is %v: %v", word, got, err)
		}
	}
	if _, err := owners.discover("rollout.apps"); err == nil {
		t.Error("apps has no rollouts")
	}
}
