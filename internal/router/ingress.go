package router

import (
	"fmt"
	"regexp"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Rules reads what the Ingress and HTTPRoute objects of a namespace say, in
// their order. told names, a line each, what of it the router does not do.
func Rules(objects []*unstructured.Unstructured, namespace string) (rules []Rule, told []string) {
	tell := func(from, format string, args ...any) {
		told = append(told, from+": "+fmt.Sprintf(format, args...))
	}
	listeners := gatewayHosts(objects)
	for _, o := range objects {
		from := o.GetKind() + "/" + o.GetName()
		var of []Rule
		var err error
		switch o.GroupVersionKind().GroupKind().String() {
		case "Ingress.networking.k8s.io":
			of, err = ingressRules(from, o)
		case "HTTPRoute.gateway.networking.k8s.io":
			of, err = gatewayRules(from, o, namespace, listeners)
		case "GRPCRoute.gateway.networking.k8s.io", "TLSRoute.gateway.networking.k8s.io", "TCPRoute.gateway.networking.k8s.io", "UDPRoute.gateway.networking.k8s.io":
			tell(from, "the router serves HTTP only")
			continue
		default:
			continue
		}
		if err != nil {
			tell(from, "%v", err)
			continue
		}
		if ns := o.GetNamespace(); ns != "" && ns != namespace {
			tell(from, "it is in namespace %s, and the router reaches %s only", ns, namespace)
			continue
		}
		seen := map[string]bool{}
		for i := range of {
			for _, why := range append([]string{of[i].Refused}, refusals(of[i].Backends)...) {
				if why != "" && !seen[why] {
					seen[why] = true
					tell(from, "%s", why)
				}
			}
		}
		rules = append(rules, of...)
	}
	return rules, told
}

func refusals(backends []Backend) (why []string) {
	for _, b := range backends {
		why = append(why, b.Refused)
	}
	return why
}

// Annotations of ingress-nginx that change what a path means. Without them its
// rules would look as if they worked, and reach other pages.
const (
	nginxRewrite = "nginx.ingress.kubernetes.io/rewrite-target"
	nginxRegexp  = "nginx.ingress.kubernetes.io/use-regex"
)

func ingressRules(from string, o *unstructured.Unstructured) ([]Rule, error) {
	var in networkingv1.Ingress
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &in); err != nil {
		return nil, err
	}
	rewrite := in.Annotations[nginxRewrite]
	regexps := in.Annotations[nginxRegexp] == "true" || strings.Contains(rewrite, "$")
	var rules []Rule
	for _, host := range in.Spec.Rules {
		if host.HTTP == nil {
			continue // "all traffic to the default backend", which is what happens without a rule
		}
		for _, p := range host.HTTP.Paths {
			r := Rule{From: from, Host: strings.ToLower(host.Host), Type: Prefix, Path: p.Path, Backends: []Backend{ingressBackend(p.Backend)}}
			r.Edit.Template = rewrite
			switch {
			case p.PathType != nil && *p.PathType == networkingv1.PathTypeExact:
				r.Type = Exact
			case regexps:
				var err error
				// nginx's locations: from the start, in any case.
				if r.expr, err = regexp.Compile("(?i)^" + p.Path); err != nil {
					return nil, fmt.Errorf("path %s: %w", p.Path, err)
				}
				r.Type = Expression
			default:
				// What ImplementationSpecific means is ours to say: a prefix. Some
				// controllers write it with a star at the end.
				r.Path = strings.TrimSuffix(r.Path, "*")
			}
			if r.Path == "" {
				r.Path = "/"
			}
			rules = append(rules, r)
		}
	}
	if b := in.Spec.DefaultBackend; b != nil {
		rules = append(rules, Rule{From: from, Last: true, Type: Prefix, Path: "/", Backends: []Backend{ingressBackend(*b)}})
	}
	return rules, nil
}

func ingressBackend(b networkingv1.IngressBackend) Backend {
	if b.Service == nil {
		return Backend{Weight: 1, Refused: "a backend that is no Service cannot be reached"}
	}
	port := intstr.FromInt32(b.Service.Port.Number)
	if b.Service.Port.Name != "" {
		port = intstr.FromString(b.Service.Port.Name)
	}
	return Backend{Service: b.Service.Name, Port: port, Weight: 1}
}
