package buildkit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// starter starts a server in a cluster that makes the pod with the status for each
// Deployment that is created.
func starter(t *testing.T, o Options, status corev1.PodStatus, there ...runtime.Object) (*Server, *kube.Client) {
	t.Helper()
	o.Address = InCluster
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	core := kubefake.NewClientset(there...)
	core.PrependReactor("create", "deployments", func(a clienttesting.Action) (bool, runtime.Object, error) {
		d := a.(clienttesting.CreateAction).GetObject().(*appsv1.Deployment)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: d.Name + "-1", Namespace: d.Namespace, Labels: d.Spec.Template.Labels}, Spec: d.Spec.Template.Spec, Status: status}
		return false, nil, core.Tracker().Add(pod)
	})
	return s, &kube.Client{Core: core, Context: "dev"}
}

func ready() corev1.PodStatus {
	return corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
}

func waiting(reason, message string) corev1.PodStatus {
	return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: daemon, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}}
}

func deployments(t *testing.T, kc *kube.Client) []appsv1.Deployment {
	t.Helper()
	list, err := kc.Core.AppsV1().Deployments("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func TestStart(t *testing.T) {
	s, kc := starter(t, Options{}, ready())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if pod, err := s.start(t.Context(), kc); err != nil || pod != "kdev-buildkit-1" {
				t.Errorf("%q %v", pod, err)
			}
		})
	}
	all.Wait()
	made := deployments(t, kc)
	if len(made) != 1 || made[0].Name != workload || made[0].Namespace != Namespace {
		t.Fatalf("%+v", made)
	}
	c := made[0].Spec.Template.Spec.Containers[0]
	if c.Image != "docker.io/moby/buildkit:"+version || c.SecurityContext.Privileged == nil || !*c.SecurityContext.Privileged {
		t.Errorf("%s %+v", c.Image, c.SecurityContext)
	}
	ns, err := kc.Core.CoreV1().Namespaces().Get(t.Context(), Namespace, metav1.GetOptions{})
	if err != nil || ns.Labels[byLabel] != by {
		t.Errorf("%+v %v", ns, err)
	}

	// One of an older kdev is brought up to date.
	old := made[0]
	old.Annotations[specMark] = "old"
	if _, err := kc.Core.AppsV1().Deployments(Namespace).Update(t.Context(), &old, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.start(t.Context(), kc); err != nil {
		t.Error(err)
	}
	if made = deployments(t, kc); len(made) != 1 || made[0].Annotations[specMark] == "old" {
		t.Errorf("%+v", made)
	}

	if found, err := Remove(t.Context(), kc); !found || err != nil {
		t.Errorf("%v %v", found, err)
	}
	if found, err := Remove(t.Context(), kc); found || err != nil {
		t.Errorf("%v %v", found, err)
	}
}

func TestStartOfOwnSettings(t *testing.T) {
	config := filepath.Join(t.TempDir(), "buildkitd.toml")
	if err := os.WriteFile(config, []byte("debug = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, kc := starter(t, Options{Rootless: true, Config: config}, ready())
	if _, err := s.start(t.Context(), kc); err != nil {
		t.Fatal(err)
	}
	other, err := Open(Options{Address: InCluster})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.start(t.Context(), kc); err != nil {
		t.Fatal(err)
	}
	made := deployments(t, kc)
	if len(made) != 2 {
		t.Fatalf("%d Deployments: two projects end each other's builds", len(made))
	}
	own := made[1]
	c := own.Spec.Template.Spec.Containers[0]
	if !strings.HasPrefix(own.Name, workload+"-") || !strings.HasSuffix(c.Image, "-rootless") || c.SecurityContext.Privileged != nil || *c.SecurityContext.RunAsUser != 1000 {
		t.Errorf("%s %s %+v", own.Name, c.Image, c.SecurityContext)
	}
	file, err := kc.Core.CoreV1().ConfigMaps(Namespace).Get(t.Context(), own.Name, metav1.GetOptions{})
	if err != nil || file.Data[configName] != "debug = true\n" || !strings.Contains(strings.Join(c.Args, " "), "--config "+configMount) {
		t.Errorf("%+v %v", c.Args, err)
	}
	s.o.Config = config + ".none"
	if _, err := s.start(t.Context(), kc); problem.As(err) == nil || problem.As(err).Code != "buildkit-config" {
		t.Error(err)
	}
}

func TestStartFails(t *testing.T) {
	foreign := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	for name, c := range map[string]struct {
		o      Options
		status corev1.PodStatus
		there  []runtime.Object
		deny   error
		code   string
		says   string
		hint   string
	}{
		"no image":          {status: waiting("ImagePullBackOff", "not found"), code: "buildkit-image", says: "not found", hint: "image: REGISTRY/"},
		"a crash":           {status: waiting("CrashLoopBackOff", ""), code: "buildkit-not-ready", says: "fake logs", hint: "kdev buildkit rm"},
		"a crash, rootless": {o: Options{Rootless: true}, status: waiting("CrashLoopBackOff", ""), code: "buildkit-not-ready", hint: "user namespaces"},
		"of another":        {there: []runtime.Object{foreign}, code: "buildkit-foreign", hint: "kube-pod://"},
		"no right":          {deny: apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, Namespace, errors.New("no")), code: "buildkit-forbidden", hint: "tcp://"},
		"no cluster":        {deny: errors.New("connection refused"), code: "cluster-unreachable", says: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			s, kc := starter(t, c.o, c.status, c.there...)
			if c.deny != nil {
				kc.Core.(*kubefake.Clientset).PrependReactor("create", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.deny })
			}
			_, err := s.start(t.Context(), kc)
			p := problem.As(err)
			if p == nil || p.Code != c.code || !strings.Contains(p.Error()+p.Output, c.says) || !strings.Contains(p.Hint, c.hint) {
				t.Errorf("%v %+v", err, p)
			}
		})
	}
}

// What does not admit the pod is found at the Deployment, which has none.
func TestAdmission(t *testing.T) {
	for message, c := range map[string]struct {
		o    Options
		hint string
	}{
		`violates PodSecurity "baseline:latest": privileged`: {Options{}, "kubectl label namespace"},
		"policy: Privileged containers are not allowed":      {Options{}, "rootless: true"},
		"policy: privileged is not allowed at all":           {Options{Rootless: true}, "what refuses it says why"},
		"exceeded quota": {Options{}, "what refuses it says why"},
	} {
		c.o.Address = InCluster
		s, err := Open(c.o)
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := s.objects()
		if err != nil {
			t.Fatal(err)
		}
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: "ReplicaFailure", Status: corev1.ConditionTrue, Message: message}}
		kc := &kube.Client{Core: kubefake.NewClientset(d)}
		_, err = s.start(t.Context(), kc)
		if p := problem.As(err); p == nil || p.Code != "buildkit-forbidden" || !strings.Contains(p.Error(), message) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: %+v", message, p)
		}
	}
}

// Who waits in vain hears what for.
func TestStartIsLate(t *testing.T) {
	for says, c := range map[string]struct {
		status corev1.PodStatus
		deny   error
	}{
		"no room":                              {status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no room"}}}},
		"the API server does not answer: gone": {deny: errors.New("gone")},
	} {
		s, kc := starter(t, Options{}, c.status)
		s.limit = 50 * time.Millisecond
		if c.deny != nil {
			kc.Core.(*kubefake.Clientset).PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.deny })
		}
		_, err := s.start(t.Context(), kc)
		if p := problem.As(err); p == nil || p.Code != "buildkit-not-ready" || p.Class != problem.Timeout || !strings.Contains(p.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestStartIsCancelled(t *testing.T) {
	s, kc := starter(t, Options{}, corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no room"}}})
	ctx, cancel := context.WithCancel(t.Context())
	s.o.Progress = func(text string) {
		if strings.Contains(text, "no room") {
			cancel()
		}
	}
	if _, err := s.start(ctx, kc); err != context.Canceled {
		t.Error(err)
	}
}

func TestVersionIsThatOfTheClient(t *testing.T) {
	for _, file := range []string{"../../go.mod", "../../hack/buildkit/go.mod"} {
		mod, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(mod), "github.com/moby/buildkit "+version) {
			t.Errorf("%s requires another version of BuildKit than %s", file, version)
		}
	}
}
