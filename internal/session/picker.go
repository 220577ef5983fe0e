package session

import (
	"context"
	"io"
	"math/rand/v2"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// openPorts opens a listener for each port that the configuration names.
func (l *loop) openPorts() error {
	if l.s.opts.NoPorts {
		return nil
	}
	for _, svc := range l.services {
		for _, port := range svc.Ports {
			f := &forwarder{
				service: svc.Name,
				port:    port,
				changed: l.s.Subscribe, // not the informers': pick reads the State, which is published later
				pick:    l.picker(svc.Name, port.Remote),
				dial: func(ctx context.Context, to podPort) (io.ReadWriteCloser, error) {
					return l.s.parts.Kube.DialPod(ctx, l.s.opts.Project.Namespace, to.pod, to.port)
				},
			}
			told, err := l.s.listeners.open(f, l.forwarders)
			if err != nil {
				return err
			}
			l.forwarders = append(l.forwarders, f)
			if told != "" {
				l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "port-busy", Text: told})
			}
			l.work.Go(func() { f.run(l.ctx) })
		}
	}
	l.s.listeners.close(l.forwarders)
	return nil
}

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
			pod := ready[rand.IntN(len(ready))]
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
			if p.TargetPort.Type == intstr.Int {
				if p.TargetPort.IntVal != 0 {
					return int(p.TargetPort.IntVal)
				}
				return remote
			}
			for _, pod := range l.s.parts.Live.Pods() {
				if pod.Name != podName {
					continue
				}
				for _, c := range pod.Spec.Containers {
					for _, cp := range c.Ports {
						if cp.Name == p.TargetPort.StrVal {
							return int(cp.ContainerPort)
						}
					}
				}
			}
		}
	}
	return remote
}
