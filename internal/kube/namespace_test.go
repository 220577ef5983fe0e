package kube

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kdev-io/kdev/internal/problem"
)

func TestNamespace(t *testing.T) {
	core := fake.NewSimpleClientset(
		&appsv1.Deployment{ObjectMeta: object("web", "d1", "", "")},
		&appsv1.ReplicaSet{ObjectMeta: object("web-1", "r1", "Deployment", "web/d1")},
		&corev1.Pod{ObjectMeta: object("web-1-b", "p2", "ReplicaSet", "web-1/r1")},
		&corev1.Pod{ObjectMeta: object("web-1-a", "p1", "ReplicaSet", "web-1/r1")},
		&batchv1.CronJob{ObjectMeta: object("tidy", "c1", "", "")},
		&batchv1.Job{ObjectMeta: object("tidy-7", "j1", "CronJob", "tidy/c1")},
		&corev1.Pod{ObjectMeta: object("tidy-7-x", "p3", "Job", "tidy-7/j1")},
		&corev1.Pod{ObjectMeta: object("alone", "p4", "", "")},
		&corev1.Pod{ObjectMeta: object("rolled", "p5", "Rollout", "shop/o1")},
		&corev1.Pod{ObjectMeta: object("orphan", "p6", "ReplicaSet", "web-1/r0")},
		&corev1.Event{ObjectMeta: object("late", "e2", "", ""), InvolvedObject: corev1.ObjectReference{UID: "p1"}, LastTimestamp: metav1.Unix(20, 0)},
		&corev1.Event{ObjectMeta: object("early", "e1", "", ""), InvolvedObject: corev1.ObjectReference{UID: "p1"}, LastTimestamp: metav1.Unix(10, 0)},
	)
	ctx, cancel := context.WithCancel(t.Context())
	n, err := Watch(ctx, &Client{Core: core}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Wait()
	defer cancel()

	owners := map[string]string{}
	for _, pod := range n.Pods() {
		owners[pod.Name] = n.Owner(pod).String()
	}
	for pod, want := range map[string]string{
		"web-1-a": "Deployment/web", "web-1-b": "Deployment/web", "tidy-7-x": "CronJob/tidy", "alone": "Pod/alone",
		"rolled": "Rollout/shop", // a kind that is not watched ends the chain
		"orphan": "ReplicaSet/web-1",
	} {
		if owners[pod] != want {
			t.Errorf("owner of %s: %s, want %s", pod, owners[pod], want)
		}
	}
	for uid, want := range map[types.UID]int{"d1": 2, "r1": 2, "c1": 1, "p1": 0} {
		if got := n.PodsOf(uid); len(got) != want {
			t.Errorf("PodsOf(%s): %d pods, want %d", uid, len(got), want)
		}
	}
	if events := n.Events("p1"); len(events) != 2 || events[0].Name != "early" {
		t.Errorf("events out of order: %v", events)
	}

	other, stop := n.Subscribe()
	defer stop()
	drain(n.Changed())
	if err := core.CoreV1().Pods("shop").Delete(ctx, "alone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, ch := range []<-chan struct{}{n.Changed(), other} {
		for {
			if _, ok := n.Get("Pod", "alone"); !ok {
				break
			}
			<-ch
		}
	}
}

func TestWatchForbidden(t *testing.T) {
	forbid := func(core *fake.Clientset, resource string) {
		core.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", nil)
		})
	}
	t.Run("of a kind leaves it empty and named", func(t *testing.T) {
		core := fake.NewSimpleClientset(&corev1.Pod{ObjectMeta: object("a", "p1", "", "")})
		forbid(core, "cronjobs")
		ctx, cancel := context.WithCancel(t.Context())
		n, err := Watch(ctx, &Client{Core: core}, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if denied := n.Denied(); len(denied) != 1 || denied[0] != "cronjobs" || len(n.Pods()) != 1 {
			t.Errorf("denied %v, %d pods", denied, len(n.Pods()))
		}
		cancel()
		n.Wait()
	})
	t.Run("of pods is an error", func(t *testing.T) {
		core := fake.NewSimpleClientset()
		forbid(core, "pods")
		_, err := Watch(t.Context(), &Client{Core: core}, "shop")
		if p := problem.As(err); p == nil || p.Code != "rbac-denied" {
			t.Errorf("error %v", err)
		}
	})
}

// What is followed may have the plural of a built-in kind, and there may be very many of
// which only a few matter.
func TestFollow(t *testing.T) {
	knative := schema.GroupVersionResource{Group: "serving.knative.dev", Version: "v1", Resource: "services"}
	widgets := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	widget := func(name string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"namespace": "shop", "name": name}, "spec": map[string]any{"size": "large"},
		}}
	}
	dynamic := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{knative: "ServiceList", widgets: "WidgetList"}, widget("mine"), widget("other"))
	dynamic.PrependReactor("*", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(knative.GroupResource(), "", nil)
	})
	ctx, cancel := context.WithCancel(t.Context())
	n, err := Watch(ctx, &Client{Core: fake.NewSimpleClientset(), Dynamic: dynamic}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Wait()
	defer cancel()
	if err := n.Follow(ctx, knative, true, "", nil); err != nil {
		t.Fatal(err)
	}
	if denied := n.Denied(); len(denied) != 1 || denied[0] != "services.serving.knative.dev" {
		t.Errorf("denied %v", denied)
	}
	if err := n.Follow(ctx, widgets, true, "", func(o metav1.Object) bool { return o.GetName() == "mine" }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"mine": true, "other": false} {
		u, known := n.Followed(widgets, "shop", name)
		if !known || u == nil || (u.Object["spec"] != nil) != want {
			t.Errorf("%s: %v, known: %v", name, u, known)
		}
	}
}

func TestWatchOfADeadServer(t *testing.T) {
	c := clientFor(t, "http://127.0.0.1:1")
	_, err := Watch(t.Context(), c, "shop")
	if p := problem.As(err); p == nil || p.Code != "cluster-unreachable" {
		t.Errorf("error %v", err)
	}
}

func TestEventTime(t *testing.T) {
	at := func(s int64) metav1.MicroTime { return metav1.NewMicroTime(time.Unix(s, 0)) }
	e := &corev1.Event{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Unix(1, 0)}}
	for want, set := range []func(){
		func() {},
		func() { e.EventTime = at(2) },
		func() { e.LastTimestamp = metav1.Unix(3, 0) },
		func() { e.Series = &corev1.EventSeries{LastObservedTime: at(4)} },
	} {
		set()
		if got := EventTime(e).Unix(); got != int64(want+1) {
			t.Errorf("event time %d, want %d", got, want+1)
		}
	}
}

func drain(ch <-chan struct{}) {
	for {
		select {
		case <-ch:
		default:
			return
		}
	}
}

// object is the metadata of an object in shop; owner is "name/uid".
func object(name, uid, ownerKind, owner string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(uid)}
	if ownerKind != "" {
		yes := true
		var n, u string
		for i := range owner {
			if owner[i] == '/' {
				n, u = owner[:i], owner[i+1:]
			}
		}
		m.OwnerReferences = []metav1.OwnerReference{{Kind: ownerKind, Name: n, UID: types.UID(u), Controller: &yes}}
	}
	return m
}
