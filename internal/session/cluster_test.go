package session

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
)

// Pods that a controller has made of a custom object are those of the service whose image
// it holds, and a project is not well while they crash.
func TestPodsOfACustomObject(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "north-1", Namespace: "fleet", OwnerReferences: []metav1.OwnerReference{{Kind: "Fleet", Name: "north", UID: "f", Controller: new(true)}}},
		Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "ship", Image: "Bad"}}},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "ship", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "InvalidImageName"}}}}},
	}
	client := &kube.Client{Core: fake.NewSimpleClientset(pod)}
	ctx, cancel := context.WithCancel(t.Context())
	live, err := kube.Watch(ctx, client, "fleet")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Wait()
	defer cancel()
	d := deploy.New(client, deploy.Options{Project: "fleet", Namespace: "fleet"})
	defer d.Close()
	p := &config.Project{Name: "fleet", Namespace: "fleet", Services: []config.Service{{Name: "ship", Image: "example/ship", Build: &config.Build{}}}}
	north := &deploy.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Fleet",
		"metadata": map[string]any{"name": "north"}, "spec": map[string]any{"image": "example/ship"}}}}
	st := grouped(p, "kind-kdev", live, []*deploy.Object{north}, nil, d.OwnedStatus, time.Now())
	if len(st.Services) != 1 || st.Ready {
		t.Fatalf("%+v", st)
	}
	ship := st.Services[0]
	if ship.Phase != FailedPhase || ship.Problem == nil || ship.Problem.Code != "image-name" || len(ship.Pods) != 1 || ship.Pods[0].Owner != "Fleet/north" || ship.Desired != 1 {
		t.Errorf("%+v", ship)
	}
	s := &Session{}
	s.publish(st)
	if !s.Owns(pod) {
		t.Error("its lines would not be read")
	}
}
