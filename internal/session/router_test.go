package session

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

type fields = map[string]any

func object(kind, apiVersion, name string, spec fields) *deploy.Object {
	return &deploy.Object{Unstructured: &unstructured.Unstructured{Object: fields{
		"apiVersion": apiVersion, "kind": kind, "metadata": fields{"name": name}, "spec": spec,
	}}}
}

func deployment(name string, labels fields) *deploy.Object {
	return object("Deployment", "apps/v1", name, fields{"template": fields{"metadata": fields{"labels": labels}}})
}

// routed is a loop whose manifests have been rendered: Service shop selects the
// pods of service web, and nobody those of worker.
func routed(t *testing.T, port int) *loop {
	t.Helper()
	s := New(Options{Project: &config.Project{Name: "shop", Namespace: "shop", Router: config.Router{Port: port}}}, Parts{Cluster: &cluster.Cluster{}})
	t.Cleanup(s.front.close)
	l := &loop{s: s, byName: map[string]*service{}}
	for _, name := range []string{"web", "worker"} {
		svc := l.newService(config.Service{Name: name})
		svc.workloads = []deploy.Ref{{Kind: "Deployment", Name: name}}
	}
	l.objects = []*deploy.Object{
		object("Service", "v1", "shop", fields{"selector": fields{"app": "web"}, "ports": []any{fields{"port": int64(80)}}}),
		object("Service", "v1", "none", fields{"selector": fields{"app": "nobody"}, "ports": []any{fields{"port": int64(80)}}}),
		deployment("worker", fields{"app": "worker"}),
		deployment("web", fields{"app": "web", "tier": "front"}),
	}
	l.unapplied = []*deploy.Object{object("HTTPRoute", gatewayAPI+"/v1", "all", fields{
		"hostnames": []any{"www.example.com"},
		"rules":     []any{fields{"backendRefs": []any{fields{"name": "shop", "port": int64(80)}}}},
	})}
	return l
}

func TestRouteGivesAddresses(t *testing.T) {
	l := routed(t, 20080)
	l.route()
	ruled, named := l.s.front.ruled["web"], l.s.front.named["web"]
	if len(ruled) != 1 || !strings.HasPrefix(ruled[0], "http://shop.shop.localhost:") || len(named) != 0 {
		t.Errorf("web is found at %v and %v", ruled, named)
	}
	if got := l.home(&State{}); len(ruled) == 1 && got != ruled[0] {
		t.Errorf("the project is found at %s", got)
	}
	if found := slices.Concat(l.s.front.ruled["worker"], l.s.front.named["worker"]); len(found) > 0 {
		t.Errorf("worker is found at %v", found)
	}
	if got := *l.s.front.owners.Load(); !maps.Equal(got, map[string]string{"shop": "web"}) {
		t.Errorf("owners: %v", got)
	}
	at := l.s.front.at
	l.route()
	if l.s.front.at != at {
		t.Error("the same manifests moved the port")
	}
	l.s.opts.Project.Router.Off = true
	l.route()
	if ruled := l.s.front.ruled["web"]; l.s.front.wanted != 0 || len(ruled) > 0 {
		t.Errorf("off, and at port %d: %v", l.s.front.at, ruled)
	}
}

func TestRouterTellsOnceWhatItDoesNot(t *testing.T) {
	l := routed(t, 20180)
	var told []string
	l.s.OnNotice(func(n Notice) { told = append(told, n.Code) })
	l.objects = append(l.objects, object("GRPCRoute", gatewayAPI+"/v1", "calls", fields{}))
	for range 2 {
		l.tellUnapplied()
		l.route()
	}
	if want := []string{"route-local", "route-unsupported"}; !slices.Equal(slices.DeleteFunc(told, func(c string) bool { return c == "port-busy" }), want) {
		t.Errorf("told %v", told)
	}
}

func TestCauseOfNoPod(t *testing.T) {
	failed := &problem.Problem{Code: "x", Summary: "the image does not exist", Hint: "push it"}
	for _, c := range []struct {
		web      Service
		problems []*problem.Problem
		want     string
		final    bool
	}{
		{Service{Phase: Stopped}, nil, "web is not started; `kdev trigger web` starts it", true},
		{Service{Phase: Sleeping}, nil, "web is scaled to nothing", true},
		{Service{Phase: FailedPhase, Problem: failed}, nil, "the image does not exist (push it)", true},
		{Service{Phase: Building, Problem: failed}, nil, "the image does not exist (push it)", false},
		{Service{Phase: Building, Waiting: &Waiting{Text: "its image"}}, nil, "web is building: it waits for its image", false},
		{Service{Phase: Pending}, []*problem.Problem{{Summary: "no such kind", Where: "a.yaml:1"}}, "a.yaml:1: no such kind", true},
		{Service{Phase: Ready}, nil, "none of its pods is Ready", false},
		{Service{Phase: Progressing, Waiting: &Waiting{Reason: ForAgent, Text: "the agent"}}, []*problem.Problem{{Summary: "a mistake in the saved kdev.yaml"}}, "web is progressing: it waits for the agent", false},
	} {
		s := New(Options{Project: &config.Project{}}, Parts{Cluster: &cluster.Cluster{}})
		s.front.owners.Store(&map[string]string{"shop": "web"})
		c.web.Name = "web"
		s.publish(&State{Services: []Service{c.web}, Problems: c.problems})
		if got, final := s.front.cause("shop"); got != c.want || final != c.final {
			t.Errorf("%s: %q (final: %v), not %q", c.web.Phase, got, final, c.want)
		}
	}
}

// TestOnlyTCPIsForwarded: what the manifests have as another protocol is refused, and
// told where kdev.yaml names it.
func TestOnlyTCPIsForwarded(t *testing.T) {
	container := func(ports ...any) fields {
		return fields{"template": fields{"spec": fields{"containers": []any{fields{"name": "c", "ports": ports}}}}}
	}
	l := routed(t, 0)
	l.objects = []*deploy.Object{
		object("Service", "v1", "web", fields{"ports": []any{fields{"port": int64(53), "protocol": "UDP"}, fields{"port": int64(54), "protocol": "UDP"}, fields{"port": int64(54), "protocol": "TCP"}, fields{"port": int64(80)}}}),
		object("Deployment", "apps/v1", "web", container(fields{"containerPort": int64(5353), "protocol": "UDP"}, fields{"containerPort": int64(80), "protocol": "UDP"})),
		object("Deployment", "apps/v1", "worker", container(fields{"containerPort": int64(53)})),
	}
	for _, c := range []struct {
		service string
		port    int
		refused bool
	}{
		{"web", 53, true}, {"web", 54, false}, {"web", 80, false}, {"web", 5353, true}, {"web", 9000, false}, {"worker", 53, false},
	} {
		if got := l.notTCP(l.byName[c.service], c.port); got != c.refused {
			t.Errorf("port %d of %s: %v", c.port, c.service, got)
		}
	}
	if _, err := l.forward(Command{Service: "web", Port: "5300:53"}, []*service{l.byName["web"]}); err == nil || !strings.Contains(err.Error(), "port 53 of web is not TCP") {
		t.Errorf("%v", err)
	}
	// What nothing declares is forwarded all the same, and said.
	ctx, cancel := context.WithCancel(t.Context())
	l.ctx, l.work = ctx, &sync.WaitGroup{}
	defer l.work.Wait()
	defer cancel()
	for port, undeclared := range map[string]bool{"28080:80": false, "28081:81": true} {
		said, err := l.forward(Command{Service: "web", Port: port}, []*service{l.byName["web"]})
		if err != nil || strings.Contains(said, "neither the Service nor a container declares this port") != undeclared {
			t.Errorf("%s: %q, %v", port, said, err)
		}
	}
	l.s.listeners.close(nil)
	var told []string
	l.s.OnNotice(func(n Notice) { told = append(told, n.Service+" "+n.Code) })
	l.forwarders = []*forwarder{{service: "web", port: config.Port{Local: 5300, Remote: 53}}, {service: "web", port: config.Port{Local: 8080, Remote: 80}}}
	l.tellNotTCP()
	l.tellNotTCP()
	if !slices.Equal(told, []string{"web port-protocol"}) {
		t.Errorf("told %v", told)
	}
}

func TestPortsOfAService(t *testing.T) {
	svc := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
		{Name: "http", Port: 80, TargetPort: intstr.FromString("web")},
		{Name: "admin", Port: 81},
		{Name: "raw", Port: 82, TargetPort: intstr.FromInt32(9000)},
	}}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}}}}}
	for _, c := range []struct {
		want intstr.IntOrString
		port int
	}{
		{intstr.FromInt32(80), 8080}, {intstr.FromString("http"), 8080}, {intstr.FromInt32(0), 8080},
		{intstr.FromInt32(81), 81}, {intstr.FromString("raw"), 9000},
		{intstr.FromInt32(90), 0}, {intstr.FromString("web"), 0},
	} {
		port, ok := servicePort(svc, c.want)
		if ok != (c.port != 0) || ok && targetPort(port, pod) != c.port {
			t.Errorf("%s: %v %d", c.want.String(), ok, targetPort(port, pod))
		}
	}
}
