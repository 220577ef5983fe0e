package session

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
)

// openPorts opens a listener for each port that the configuration names, and for
// those that a person asked for.
func (l *loop) openPorts() error {
	for _, svc := range l.services {
		if l.s.opts.NoPorts {
			break
		}
		for _, port := range svc.Ports {
			if _, err := l.openPort(svc.Name, "", port); err != nil {
				return err
			}
		}
	}
	for _, e := range l.s.extra {
		if _, err := l.openPort(e.service, e.pod, e.port); err != nil {
			l.s.tell(Notice{Level: Fail, Service: e.service, Code: "port-unavailable", Text: "a forwarded port is closed", Problem: asProblem(err, "port-unavailable", e.service)})
		}
	}
	l.s.listeners.close(l.forwarders)
	return nil
}

// openPort opens one port: of the ready pods of a service, or of the one that is named.
func (l *loop) openPort(service, pod string, port config.Port) (*forwarder, error) {
	f := &forwarder{
		service: service,
		pod:     pod,
		port:    port,
		changed: l.s.Subscribe, // not the informers': pick reads the State, which is published later
		pick:    l.picker(service, pod, port.Remote),
		dial:    l.s.dialPod,
	}
	f.tell = func(why string) { l.s.post(l.ctx, portFailed{f, why}) }
	told, err := l.s.listeners.open(f, l.forwarders)
	if err != nil {
		return nil, err
	}
	l.forwarders = append(l.forwarders, f)
	if told != "" {
		l.s.tell(Notice{Level: Warn, Service: service, Code: "port-busy", Text: told})
	}
	l.work.Go(func() { f.run(l.ctx) })
	return f, nil
}

// portFailed is what a forwarded port met last. The same is told once, until a
// connection has got through.
type portFailed struct {
	forwarder *forwarder
	why       string
}

func (e portFailed) apply(l *loop) {
	f := e.forwarder
	if f.failed == e.why || !slices.Contains(l.forwarders, f) {
		return
	}
	if f.failed = e.why; e.why != "" {
		l.s.tell(Notice{Level: Warn, Service: f.service, Code: "port-failed", Text: fmt.Sprintf("%s (port %d) reached no program: %s", f.url(), f.port.Remote, e.why)})
	}
}

// An extraPort is one that a person asked for while the session runs.
type extraPort struct {
	service string
	pod     string // "" is any that is ready
	port    config.Port
}

// forward opens a port for as long as the session lasts.
func (l *loop) forward(c Command, services []*service) (string, error) {
	port, ok := config.ParsePort(c.Port)
	switch {
	case c.Service == "" || !ok:
		return "", refused("forward wants a service and a port of its pods or of its Service: 80 or 8080:80")
	case services[0].local != nil:
		return "", refused("%s runs on this machine: there is nothing to forward", c.Service)
	case c.Pod != "" && !l.hasPod(services[0], c.Pod):
		return "", refused("%s has no pod %s", c.Service, c.Pod)
	}
	whose := cmp.Or(c.Pod, c.Service)
	for _, f := range l.forwarders {
		if f.service == c.Service && f.pod == c.Pod && f.port.Remote == port.Remote && (f.local == port.Local || port.Local == port.Remote) {
			return fmt.Sprintf("port %d of %s is at %s already", port.Remote, whose, f.url()), nil
		}
	}
	declared, tcp := l.declares(services[0], port.Remote)
	if declared && !tcp {
		return "", refused("port %d of %s is not TCP, and only TCP ports are forwarded", port.Remote, c.Service)
	}
	f, err := l.openPort(c.Service, c.Pod, port)
	if err != nil {
		return "", err
	}
	l.s.extra = append(l.s.extra, extraPort{c.Service, c.Pod, port})
	said := fmt.Sprintf("port %d of %s is at %s until the session ends", port.Remote, whose, f.url())
	if !declared && len(l.objects) > 0 { // a container may listen without saying so
		said += "; neither the Service nor a container declares this port, so perhaps nothing answers"
	}
	return said, nil
}

// tellNotTCP tells of ports of the configuration behind which nothing would answer.
func (l *loop) tellNotTCP() {
	for _, f := range l.forwarders {
		if svc := l.byName[f.service]; svc != nil && l.notTCP(svc, f.port.Remote) {
			l.s.front.tell(Notice{Level: Warn, Service: f.service, Code: "port-protocol",
				Text: fmt.Sprintf("port %d is not TCP in the manifests, and only TCP ports are forwarded: nothing answers at %s", f.port.Remote, f.url())})
		}
	}
}

// notTCP says whether the manifests have a port of a service, and not as TCP.
func (l *loop) notTCP(svc *service, port int) bool {
	declared, tcp := l.declares(svc, port)
	return declared && !tcp
}

// declares says whether the manifests have a port of a service, and whether as TCP: as one
// of the Service of that name, else of its containers.
func (l *loop) declares(svc *service, port int) (declared, tcp bool) {
	count := func(list []any, key string) {
		for _, item := range list {
			p, _ := item.(map[string]any)
			if p == nil || fmt.Sprint(p[key]) != strconv.Itoa(port) {
				continue
			}
			protocol, _ := p["protocol"].(string)
			tcp = tcp || protocol == "" || protocol == string(corev1.ProtocolTCP)
			declared = true
		}
	}
	for _, o := range l.objects {
		if o.GetKind() == "Service" && o.GetName() == svc.Name {
			ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
			count(ports, "port")
		}
	}
	if declared {
		return declared, tcp
	}
	for _, o := range l.objects {
		if !slices.Contains(svc.workloads, deploy.RefOf(o)) {
			continue
		}
		at := []string{"spec", "template", "spec", "containers"}
		if o.GetKind() == "Pod" {
			at = []string{"spec", "containers"}
		}
		containers, _, _ := unstructured.NestedSlice(o.Object, at...)
		for _, item := range containers {
			if c, _ := item.(map[string]any); c != nil {
				ports, _, _ := unstructured.NestedSlice(c, "ports")
				count(ports, "containerPort")
			}
		}
	}
	return declared, tcp
}

// dialPod opens a stream to a pod of the project's namespace.
func (s *Session) dialPod(ctx context.Context, to podPort) (io.ReadWriteCloser, error) {
	return s.parts.Kube.DialPod(ctx, s.opts.Project.Namespace, to.pod, to.port)
}

// anyOf spreads connections.
func anyOf[T any](ready []T) T { return ready[rand.IntN(len(ready))] }

// hasPod says whether a pod is one of svc's.
func (l *loop) hasPod(svc *service, name string) bool {
	return slices.ContainsFunc(l.pods(svc), func(pod *corev1.Pod) bool { return pod.Name == name })
}

// picker returns a function that names a Ready pod of a service, or the pod that is asked
// for by name, which need not be Ready, and the port in it. It reads the published State,
// never the loop's fields, because it runs in a connection's goroutine. Connections spread
// over the Ready pods.
func (l *loop) picker(service, only string, remote int) func() (podPort, bool) {
	return func() (podPort, bool) {
		pods := servedBy(l.s.State(), service, only)
		if len(pods) == 0 {
			return podPort{}, false
		}
		pod := anyOf(pods)
		return podPort{pod, l.containerPort(service, pod, remote)}, true
	}
}

// servedBy names the pods of a service that a connection may go to.
func servedBy(st *State, service, only string) (names []string) {
	v, ok := st.Service(service)
	if !ok {
		return nil
	}
	for _, p := range v.Pods {
		if (p.Ready && only == "" || p.Name == only) && p.Status != "Terminating" {
			names = append(names, p.Name)
		}
	}
	return names
}

// containerPort turns a port of the Service of the same name into the port
// that its pods listen on. A port that no such Service has is the pod's own.
func (l *loop) containerPort(service, podName string, remote int) int {
	for _, s := range l.s.parts.Live.Services() {
		if s.Name != service {
			continue
		}
		for _, p := range s.Spec.Ports {
			if int(p.Port) != remote {
				continue
			}
			for _, pod := range l.s.parts.Live.Pods() {
				if pod.Name == podName {
					return targetPort(p, pod)
				}
			}
			return targetPort(p, &corev1.Pod{})
		}
	}
	return remote
}

// targetPort is the port of a pod that a Service's port leads to.
func targetPort(p corev1.ServicePort, pod *corev1.Pod) int {
	if p.TargetPort.Type == intstr.Int && p.TargetPort.IntVal != 0 {
		return int(p.TargetPort.IntVal)
	}
	for _, c := range pod.Spec.Containers {
		for _, cp := range c.Ports {
			if p.TargetPort.Type == intstr.String && cp.Name == p.TargetPort.StrVal {
				return int(cp.ContainerPort)
			}
		}
	}
	return int(p.Port)
}
