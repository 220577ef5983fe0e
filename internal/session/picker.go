package session

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kdev-io/kdev/internal/config"
)

// openPorts opens a listener for each port that the configuration names, and for
// those that a person asked for.
func (l *loop) openPorts() error {
	for _, svc := range l.services {
		if l.s.opts.NoPorts {
			break
		}
		for _, port := range svc.Ports {
			if _, err := l.openPort(svc.Name, port); err != nil {
				return err
			}
		}
	}
	for _, e := range l.s.extra {
		if _, err := l.openPort(e.service, e.port); err != nil {
			l.s.tell(Notice{Level: Fail, Service: e.service, Code: "port-unavailable", Text: "a forwarded port is closed", Problem: asProblem(err, "port-unavailable", e.service)})
		}
	}
	l.s.listeners.close(l.forwarders)
	return nil
}

func (l *loop) openPort(service string, port config.Port) (*forwarder, error) {
	f := &forwarder{
		service: service,
		port:    port,
		changed: l.s.Subscribe, // not the informers': pick reads the State, which is published later
		pick:    l.picker(service, port.Remote),
		dial:    l.s.dialPod,
	}
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

// An extraPort is one that a person asked for while the session runs.
type extraPort struct {
	service string
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
	}
	for _, f := range l.forwarders {
		if f.service == c.Service && f.port.Remote == port.Remote && (f.local == port.Local || port.Local == port.Remote) {
			return fmt.Sprintf("port %d of %s is at %s already", port.Remote, c.Service, f.url()), nil
		}
	}
	f, err := l.openPort(c.Service, port)
	if err != nil {
		return "", err
	}
	l.s.extra = append(l.s.extra, extraPort{c.Service, port})
	return fmt.Sprintf("port %d of %s is at %s until the session ends", port.Remote, c.Service, f.url()), nil
}

// dialPod opens a stream to a pod of the project's namespace.
func (s *Session) dialPod(ctx context.Context, to podPort) (io.ReadWriteCloser, error) {
	return s.parts.Kube.DialPod(ctx, s.opts.Project.Namespace, to.pod, to.port)
}

// anyOf spreads connections.
func anyOf[T any](ready []T) T { return ready[rand.IntN(len(ready))] }

// picker returns a function that names a Ready pod of a service and the port in
// it. It reads the published State, never the loop's fields, because it runs in
// a connection's goroutine. Connections spread over the Ready pods.
func (l *loop) picker(service string, remote int) func() (podPort, bool) {
	return func() (podPort, bool) {
		for _, v := range l.s.State().Services {
			if v.Name != service {
				continue
			}
			var ready []string
			for _, p := range v.Pods {
				if p.Ready && p.Status != "Terminating" {
					ready = append(ready, p.Name)
				}
			}
			if len(ready) == 0 {
				return podPort{}, false
			}
			pod := anyOf(ready)
			return podPort{pod, l.containerPort(service, pod, remote)}, true
		}
		return podPort{}, false
	}
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
