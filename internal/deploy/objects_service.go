package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// service judges a Service. That its pods are ready is for their workloads to say; here
// it is whether any pod can ever be behind it.
func (w *world) service(o *Object, s *ObjectStatus) {
	found, ok := w.found(o, s)
	if !ok {
		return
	}
	svc := found.(*corev1.Service)
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer && len(svc.Status.LoadBalancer.Ingress) == 0 {
		s.Note = "no load balancer has given it an address"
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName || len(svc.Spec.Selector) == 0 {
		return // what is behind it, somebody else says
	}
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	workloads := w.selected(selector)
	for _, wl := range workloads {
		s.Selects = append(s.Selects, RefOf(wl))
	}
	if len(workloads) == 0 {
		if !w.anyPod(selector) && !w.mayBeMade(svc.Spec.Selector) {
			w.suspect(o, s, "service-no-pods", anyValue(svc.Spec.Selector), "selector", "its selector "+labelsText(svc.Spec.Selector)+" matches no pod, so that nothing answers behind it", w.nearest(svc.Spec.Selector))
		}
		return
	}
	for _, port := range svc.Spec.Ports {
		if port.TargetPort.Type == intstr.String && !slices.ContainsFunc(workloads, func(wl *Object) bool { return hasPort(wl, port.TargetPort.StrVal) }) && !w.podHasPort(selector, port.TargetPort.StrVal) {
			w.suspect(o, s, "service-no-port", port.TargetPort.StrVal, "targetport", fmt.Sprintf("its port %d goes to the port %s, and no container of %s has one of this name", port.Port, port.TargetPort.StrVal, RefOf(workloads[0])),
				"give a container port this name, or name the number: targetPort: 8080")
		}
	}
}

// anyValue is the value of a selector's first key.
func anyValue(selector map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		return selector[key]
	}
	return ""
}

// mayBeMade says whether an object of a custom kind names what a selector wants: its
// controller may make such pods.
func (w *world) mayBeMade(selector map[string]string) bool {
	for _, value := range selector {
		if w.others().custom(value) {
			return true
		}
	}
	return false
}

// others are the objects that may make some which no manifest holds.
func (w *world) others() *makers {
	if w.makers == nil {
		w.makers = makersOf(w.objects)
	}
	return w.makers
}

// podHasPort says whether a pod that is there names a port: an admission webhook may have
// given it a container.
func (w *world) podHasPort(selector labels.Selector, name string) bool {
	return w.anyPod(labels.Everything()) && slices.ContainsFunc(w.pods, func(p *corev1.Pod) bool {
		return p.Namespace == w.d.options.Namespace && selector.Matches(labels.Set(p.Labels)) && slices.ContainsFunc(p.Spec.Containers, func(c corev1.Container) bool {
			return slices.ContainsFunc(c.Ports, func(port corev1.ContainerPort) bool { return port.Name == name })
		})
	})
}

// nearest is a hint: the labels of the pods that share most of a selector.
func (w *world) nearest(selector map[string]string) string {
	var best *Object
	most := 0
	for _, o := range w.objects {
		if !IsWorkload(o) || w.d.namespaceOf(o) != w.d.options.Namespace {
			continue
		}
		shared := 0
		have := podLabels(o)
		for key, value := range selector {
			if have[key] == value {
				shared += 2
			} else if _, ok := have[key]; ok {
				shared++
			}
		}
		if shared > most {
			best, most = o, shared
		}
	}
	if best == nil {
		return "correct the selector: it has to be among the labels of a pod template"
	}
	return "correct the selector: the pods of " + RefOf(best).String() + " have " + labelsText(podLabels(best))
}

// hasPort says whether a container of a workload names a port.
func hasPort(o *Object, name string) bool {
	found := false
	eachContainer(o, func(c map[string]any, _ string) {
		ports, _ := c["ports"].([]any)
		for _, p := range ports {
			m, _ := p.(map[string]any)
			found = found || m["name"] == name
		}
	})
	return found
}

// A backend is a Service that a rule sends to.
type backend struct {
	rule    string // for people: "web.localhost/api"
	near    string // a word that stands with it in the manifest
	service string
	port    intstr.IntOrString // zero: none is named
}

// ingress judges an Ingress by its backends. That no controller serves it here is no
// fault: during `kdev up` kdev's router does.
func (w *world) ingress(o *Object, s *ObjectStatus) {
	for _, b := range ingressBackends(o) {
		w.backend(o, s, b)
	}
}

func ingressBackends(o *Object) []backend {
	var all []backend
	add := func(rule string, fields map[string]any) {
		name, ok, _ := unstructured.NestedString(fields, "service", "name")
		if !ok {
			return // a resource of somebody else's
		}
		b := backend{rule: rule, near: "service", service: name}
		if n, ok := portNumber(fields, "service", "port", "number"); ok {
			b.port = n
		} else if text, ok, _ := unstructured.NestedString(fields, "service", "port", "name"); ok {
			b.port = intstr.FromString(text)
		}
		all = append(all, b)
	}
	if fields, ok, _ := unstructured.NestedMap(o.Object, "spec", "defaultBackend"); ok {
		add("everything else", fields)
	}
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	for _, r := range rules {
		rule, _ := r.(map[string]any)
		host, _ := rule["host"].(string)
		paths, _, _ := unstructured.NestedSlice(rule, "http", "paths")
		for _, p := range paths {
			fields, _ := p.(map[string]any)
			path, _ := fields["path"].(string)
			if b, ok := fields["backend"].(map[string]any); ok {
				add(host+path, b)
			}
		}
	}
	return all
}

// portNumber reads a number of a manifest, which may be of more than one type.
func portNumber(fields map[string]any, path ...string) (intstr.IntOrString, bool) {
	v, _, _ := unstructured.NestedFieldNoCopy(fields, path...)
	n, ok := number(v)
	return intstr.FromInt32(int32(n)), ok
}

// route judges an HTTPRoute by its backends, and by what its gateways say of it.
func (w *world) route(o *Object, s *ObjectStatus) {
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	hosts, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "hostnames")
	for i, r := range rules {
		rule, _ := r.(map[string]any)
		refs, _, _ := unstructured.NestedSlice(rule, "backendRefs")
		for _, ref := range refs {
			fields, _ := ref.(map[string]any)
			kind, _ := fields["kind"].(string)
			group, _ := fields["group"].(string)
			name, _ := fields["name"].(string)
			namespace, _ := fields["namespace"].(string)
			if kind != "" && kind != "Service" || group != "" || namespace != "" && namespace != w.d.options.Namespace {
				continue
			}
			b := backend{rule: strings.TrimSpace(fmt.Sprintf("%s rule %d", strings.Join(hosts, " "), i+1)), near: "backendref", service: name}
			if n, ok := portNumber(fields, "port"); ok {
				b.port = n
			}
			w.backend(o, s, b)
		}
	}
}

// actionPort marks a backend that is no Service but names an annotation of the Ingress, by
// https://kubernetes-sigs.github.io/aws-load-balancer-controller ("actions").
var actionPort = intstr.FromString("use-annotation")

// backend looks for a Service, and its port, among the objects and in the cluster.
func (w *world) backend(o *Object, s *ObjectStatus, b backend) {
	if b.port == actionPort {
		return
	}
	ports, ok := w.servicePorts(b.service)
	switch {
	case !ok && w.others().owns(b.service): // an operator's
	case !ok:
		w.suspect(o, s, "backend-missing", b.service, b.near, "its rule for "+orElse(b.rule, "everything")+" sends to Service "+b.service+", which is not there",
			"correct the name, or add the Service to the manifests")
	case b.port == intstr.IntOrString{} || ports == nil:
	case !slices.ContainsFunc(ports, func(p corev1.ServicePort) bool {
		return b.port.Type == intstr.Int && p.Port == b.port.IntVal || b.port.Type == intstr.String && p.Name == b.port.StrVal
	}):
		w.suspect(o, s, "backend-missing", b.service, b.near, fmt.Sprintf("its rule for %s sends to port %s of Service %s, which has none of this kind", orElse(b.rule, "everything"), b.port.String(), b.service),
			"Service "+b.service+" has "+portsText(ports))
	}
}

// servicePorts are those of a Service of the objects, else of the cluster; nil where they
// cannot be read.
func (w *world) servicePorts(name string) (ports []corev1.ServicePort, ok bool) {
	for _, o := range w.objects {
		if o.GetKind() != "Service" || o.GetName() != name || w.d.namespaceOf(o) != w.d.options.Namespace || o.GroupVersionKind().Group != "" {
			continue
		}
		var svc corev1.Service
		if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &svc) != nil {
			return nil, true
		}
		return svc.Spec.Ports, true
	}
	if got, ok := w.live.Get("Service", w.d.options.Namespace+"/"+name); ok {
		return got.(*corev1.Service).Spec.Ports, true
	}
	return nil, slices.Contains(w.live.Denied(), "services")
}

func portsText(ports []corev1.ServicePort) string {
	var all []string
	for _, p := range ports {
		text := fmt.Sprint(p.Port)
		if p.Name != "" {
			text += " (" + p.Name + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}
