package deploy

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/internal/kube"
)

// What informers still hold from before an apply is never taken for its result.
func TestStatusOfWhatWasApplied(t *testing.T) {
	one := int32(1)
	ready := func(generation, observed int64) *appsv1.Deployment {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u-x", Generation: generation},
			Spec:   appsv1.DeploymentSpec{Replicas: &one},
			Status: appsv1.DeploymentStatus{ObservedGeneration: observed, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}}
	}
	web := Ref{"Deployment", "web"}
	for _, tc := range []struct {
		name    string
		objects []runtime.Object
		made    *version
		ready   bool
		waiting string
	}{
		{"ready, and not applied by this process", []runtime.Object{ready(1, 1)}, nil, true, ""},
		{"ready in the generation that was applied", []runtime.Object{ready(2, 2)}, &version{"u-x", 2}, true, ""},
		{"the informer has not seen the apply", []runtime.Object{ready(1, 1)}, &version{"u-x", 2}, false, "the deployment controller"},
		{"the controller has not seen the apply", []runtime.Object{ready(2, 1)}, &version{"u-x", 2}, false, "the deployment controller"},
		{"made anew, the informer has the old one", []runtime.Object{ready(2, 2)}, &version{"u-y", 1}, false, "its creation"},
		{"not there yet", nil, &version{"u-x", 1}, false, "its creation"},
		{"never applied", nil, nil, false, "its creation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			live, err := kube.Watch(ctx, &kube.Client{Core: fake.NewSimpleClientset(tc.objects...)}, "shop")
			if err != nil {
				t.Fatal(err)
			}
			defer live.Wait()
			defer cancel()
			d := New(nil, Options{Namespace: "shop"})
			defer d.Close()
			if tc.made != nil {
				d.applied.made = map[madeKey]version{workloadKey(web): *tc.made}
			}
			s := d.Status(live, parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"))[0]
			if s.Ready != tc.ready || s.Waiting != tc.waiting || s.Problem != nil {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("in another namespace", func(t *testing.T) {
		d := New(nil, Options{Namespace: "shop"})
		defer d.Close()
		s := d.Status(nil, parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: other}\n"))
		if len(s) != 1 || !s[0].Ready {
			t.Errorf("%+v", s)
		}
	})
}
