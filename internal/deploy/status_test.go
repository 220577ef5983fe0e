package deploy

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

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
}

// A workload in another namespace than the project's is waited for as the others are; where
// nobody may look, that is said, and proves nothing.
func TestStatusInAnotherNamespace(t *testing.T) {
	one := int32(1)
	db := func(namespace, uid string, ready int32) *appsv1.Deployment {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: namespace, UID: types.UID(uid), Generation: 1},
			Spec:   appsv1.DeploymentSpec{Replicas: &one},
			Status: appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: ready, AvailableReplicas: ready}}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db-1", Namespace: "data", UID: "p", OwnerReferences: []metav1.OwnerReference{{UID: "theirs", Controller: new(true)}}},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "db", Image: "Bad"}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "db", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "InvalidImageName", Message: "bad"}}}}}}
	const manifests = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: db}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: db, namespace: data}\n"
	for _, tc := range []struct {
		name      string
		ready     int32
		made      string // the UID that was applied
		forbidden string
		want      string
		unwatched string
	}{
		{name: "ready", ready: 1, want: "Deployment/db in namespace data: 1/1 ready\n"},
		{name: "not ready, and one of its name is", want: "Deployment/db in namespace data: 0/1 ready, failing\n  Deployment/db container db in namespace data: the image reference Bad is not valid"},
		{name: "the informer has not seen the apply", ready: 1, made: "newer", want: "Deployment/db in namespace data: 0/1 ready, progressing\n  waits for its creation\n"},
		{name: "its kind is forbidden", forbidden: "deployments", want: "Deployment/db in namespace data: not watched: this user may not read deployments of namespace data\n",
			unwatched: "Deployment/db in namespace data is not watched: this user may not read deployments of namespace data"},
		{name: "pods are forbidden", forbidden: "pods", want: "Deployment/db in namespace data: not watched: this user may not read pods of namespace data\n",
			unwatched: "Deployment/db in namespace data is not watched: this user may not read pods of namespace data"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			core := fake.NewSimpleClientset(db("shop", "ours", 1), db("data", "theirs", tc.ready), pod)
			looked := make(chan struct{}) // the other namespace answers after that
			core.PrependReactor("list", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
				if a.GetNamespace() != "data" {
					return false, nil, nil
				}
				<-looked
				if a.GetResource().Resource != tc.forbidden {
					return false, nil, nil
				}
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: tc.forbidden}, "", nil)
			})
			client := &kube.Client{Core: core}
			ctx, cancel := context.WithCancel(t.Context())
			live, err := kube.Watch(ctx, client, "shop")
			if err != nil {
				t.Fatal(err)
			}
			defer live.Wait()
			defer cancel()
			d := New(client, Options{Namespace: "shop"})
			defer d.Close()
			if tc.made != "" {
				key := workloadKey(Ref{"Deployment", "db"})
				key.namespace = "data"
				d.applied.made = map[madeKey]version{key: {types.UID(tc.made), 1}}
			}
			objects := parse(t, manifests)
			if s := d.Status(live, objects); s[1].Ready {
				t.Error("ready before anybody has looked")
			}
			close(looked)
			if err := live.AwaitBeside(ctx, client, "data"); err != nil {
				t.Fatal(err)
			}
			all := d.Status(live, objects)
			if !all[0].Ready || all[0].Namespace != "" {
				t.Errorf("of the project's namespace: %+v", all[0])
			}
			if got := all[1].Explanation(time.Time{}); !strings.HasPrefix(got, tc.want) || all[1].Ready != (tc.ready == 1 && tc.made == "" || tc.unwatched != "") {
				t.Errorf("got\n%swant\n%s", got, tc.want)
			}
			if got := strings.Join(Unwatched(all), "; "); got != tc.unwatched {
				t.Errorf("unwatched: %q", got)
			}
		})
	}
}

// While a rollout goes on, the figures are of the newest template, and an old pod counts
// as one that still serves only while it is ready. The Deployment's own status counts all.
func TestFiguresOfARollout(t *testing.T) {
	one := int32(1)
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u-x", Generation: 2, Annotations: map[string]string{"deployment.kubernetes.io/revision": "2"}},
		Spec:   appsv1.DeploymentSpec{Replicas: &one},
		Status: appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}}
	set := func(hash, revision string) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "web-" + hash, Namespace: "shop", UID: types.UID(hash), Annotations: map[string]string{"deployment.kubernetes.io/revision": revision},
			Labels: map[string]string{"pod-template-hash": hash}, OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: "web", UID: "u-x", Controller: new(true)}}}}
	}
	pod := func(hash string, ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-" + hash + "-1", Namespace: "shop", UID: types.UID(hash + "-1"), Labels: map[string]string{"pod-template-hash": hash},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-" + hash, UID: types.UID(hash), Controller: new(true)}}},
			Spec:   corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "web"}}},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}}}
	}
	for _, c := range []struct {
		old  corev1.ConditionStatus
		want int
	}{{corev1.ConditionTrue, 1}, {corev1.ConditionFalse, 0}} {
		ctx, cancel := context.WithCancel(t.Context())
		live, err := kube.Watch(ctx, &kube.Client{Core: fake.NewSimpleClientset(web, set("old", "1"), set("new", "2"), pod("old", c.old), pod("new", corev1.ConditionFalse))}, "shop")
		if err != nil {
			t.Fatal(err)
		}
		d := New(nil, Options{Namespace: "shop"})
		s := d.Status(live, parse(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"))[0]
		if s.Ready || s.ReadyReplicas != 0 || s.Desired != 1 || s.Old != c.want {
			t.Errorf("old pod ready %s: %d/%d +%d old, want 0/1 +%d old", c.old, s.ReadyReplicas, s.Desired, s.Old, c.want)
		}
		if says := strings.Contains(s.Explanation(time.Now()), "still serving"); says != (c.want > 0) {
			t.Errorf("old pod ready %s: %s", c.old, s.Explanation(time.Now()))
		}
		d.Close()
		cancel()
		live.Wait()
	}
}

// What is not there yet wants as many pods as its manifest says.
func TestFiguresOfWhatIsNotThere(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	live, err := kube.Watch(ctx, &kube.Client{Core: fake.NewSimpleClientset()}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	d := New(nil, Options{Namespace: "shop"})
	defer d.Close()
	for manifest, want := range map[string]int{
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n":                       1,
		"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\nspec: {replicas: 3}\n": 3,
		"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: web}\n":                        0,
	} {
		if s := d.Status(live, parse(t, manifest))[0]; s.Desired != want || s.Ready {
			t.Errorf("%s: %d pods are wanted, want %d", manifest, s.Desired, want)
		}
	}
}
