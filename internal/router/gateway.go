package router

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The parts of gateway.networking.k8s.io/v1 that the router reads. Its own types
// would bring a module along for these.
type (
	httpRoute struct {
		Spec struct {
			ParentRefs []parentRef     `json:"parentRefs"`
			Hostnames  []string        `json:"hostnames"`
			Rules      []httpRouteRule `json:"rules"`
		} `json:"spec"`
	}
	parentRef struct {
		Kind        *string `json:"kind"`
		Name        string  `json:"name"`
		SectionName string  `json:"sectionName"`
	}
	httpRouteRule struct {
		Matches     []httpMatch  `json:"matches"`
		Filters     []httpFilter `json:"filters"`
		BackendRefs []backendRef `json:"backendRefs"`
	}
	httpMatch struct {
		Path        *valueMatch  `json:"path"`
		Headers     []valueMatch `json:"headers"`
		QueryParams []valueMatch `json:"queryParams"`
		Method      string       `json:"method"`
	}
	valueMatch struct {
		Type  string `json:"type"`
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	backendRef struct {
		Group     string       `json:"group"`
		Kind      string       `json:"kind"`
		Namespace string       `json:"namespace"`
		Name      string       `json:"name"`
		Port      int32        `json:"port"`
		Weight    *int32       `json:"weight"`
		Filters   []httpFilter `json:"filters"`
	}
	httpFilter struct {
		Type                  string        `json:"type"`
		RequestHeaderModifier *headerChange `json:"requestHeaderModifier"`
		URLRewrite            *urlChange    `json:"urlRewrite"`
		RequestRedirect       *urlChange    `json:"requestRedirect"`
	}
	headerChange struct {
		Set    []valueMatch `json:"set"`
		Add    []valueMatch `json:"add"`
		Remove []string     `json:"remove"`
	}
	urlChange struct {
		Scheme     string      `json:"scheme"`
		Hostname   string      `json:"hostname"`
		Port       int         `json:"port"`
		StatusCode int         `json:"statusCode"`
		Path       *pathChange `json:"path"`
	}
	pathChange struct {
		Type               string `json:"type"`
		ReplaceFullPath    string `json:"replaceFullPath"`
		ReplacePrefixMatch string `json:"replacePrefixMatch"`
	}
	gateway struct {
		Spec struct {
			Listeners []struct {
				Name     string `json:"name"`
				Hostname string `json:"hostname"`
			} `json:"listeners"`
		} `json:"spec"`
	}
)

// listenerHosts are the hostnames of each listener, "gateway/listener", and of all
// of a Gateway, "gateway/".
type listenerHosts map[string][]string

// gatewayHosts reads the hostnames of Gateways: they are those of routes that
// name none.
func gatewayHosts(objects []*unstructured.Unstructured) listenerHosts {
	hosts := listenerHosts{}
	for _, o := range objects {
		if o.GroupVersionKind().GroupKind().String() != "Gateway.gateway.networking.k8s.io" {
			continue
		}
		var g gateway
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &g); err != nil {
			continue // the API server's to refuse
		}
		for _, l := range g.Spec.Listeners {
			for _, key := range []string{o.GetName() + "/", o.GetName() + "/" + l.Name} {
				if !slices.Contains(hosts[key], l.Hostname) {
					hosts[key] = append(hosts[key], l.Hostname)
				}
			}
		}
	}
	return hosts
}

func gatewayRules(from string, o *unstructured.Unstructured, namespace string, listeners listenerHosts) ([]Rule, error) {
	var in httpRoute
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &in); err != nil {
		return nil, err
	}
	hosts := in.Spec.Hostnames
	for _, p := range in.Spec.ParentRefs {
		if len(in.Spec.Hostnames) == 0 && (p.Kind == nil || *p.Kind == "Gateway") {
			hosts = append(hosts, listeners[p.Name+"/"+p.SectionName]...)
		}
	}
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	var rules []Rule
	for _, rule := range in.Spec.Rules {
		if onlyToTLS(rule.Filters) {
			continue
		}
		matches := rule.Matches
		if len(matches) == 0 {
			matches = []httpMatch{{}}
		}
		for _, m := range matches {
			r, err := m.rule()
			if err != nil {
				return nil, err
			}
			r.From, r.Deep, r.Backends = from, true, backends(rule.BackendRefs, namespace)
			r.filter(rule.Filters)
			for _, host := range hosts {
				r.Host = strings.ToLower(host)
				rules = append(rules, r)
			}
		}
	}
	return rules, nil
}

// onlyToTLS says whether all that a rule does is to send a browser from http to
// https. The router has no https, so such a rule would lead away from it.
func onlyToTLS(filters []httpFilter) bool {
	return slices.ContainsFunc(filters, func(f httpFilter) bool {
		to := f.RequestRedirect
		return to != nil && to.Scheme == "https" && to.Hostname == "" && to.Path == nil
	})
}

// rule is a match as the router has it, for any host.
func (m httpMatch) rule() (Rule, error) {
	r := Rule{Type: Prefix, Path: "/", Method: m.Method}
	if m.Path != nil {
		if m.Path.Value != "" {
			r.Path = m.Path.Value
		}
		switch m.Path.Type {
		case "Exact":
			r.Type = Exact
		case "RegularExpression":
			var err error
			if r.expr, err = regexp.Compile("^(?:" + m.Path.Value + ")$"); err != nil {
				return r, fmt.Errorf("path %s: %w", m.Path.Value, err)
			}
			r.Type = Expression
		}
	}
	var err error
	if r.Headers, err = values(m.Headers); err == nil {
		r.Query, err = values(m.QueryParams)
	}
	return r, err
}

func values(matches []valueMatch) ([]Value, error) {
	var all []Value
	for _, m := range matches {
		v := Value{Name: m.Name, Value: m.Value}
		if m.Type == "RegularExpression" {
			var err error
			if v.expr, err = regexp.Compile("^(?:" + m.Value + ")$"); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Name, err)
			}
		}
		all = append(all, v)
	}
	return all, nil
}

func backends(refs []backendRef, namespace string) []Backend {
	var all []Backend
	for _, ref := range refs {
		b := Backend{Service: ref.Name, Port: intstr.FromInt32(ref.Port), Weight: 1}
		if ref.Weight != nil {
			b.Weight = int(*ref.Weight)
		}
		switch {
		case ref.Kind != "" && ref.Kind != "Service" || ref.Group != "":
			b.Refused = fmt.Sprintf("%s %s is no Service and cannot be reached", ref.Kind, ref.Name)
		case ref.Namespace != "" && ref.Namespace != namespace:
			b.Refused = fmt.Sprintf("Service %s is in namespace %s, and the router reaches %s only", ref.Name, ref.Namespace, namespace)
		case len(ref.Filters) > 0:
			b.Refused = "filters of one backend are not known to the router"
		}
		all = append(all, b)
	}
	return all
}

// filter takes over what a rule does with requests.
func (r *Rule) filter(filters []httpFilter) {
	for _, f := range filters {
		switch {
		case f.RequestHeaderModifier != nil:
			r.Edit.Set, r.Edit.Add = pairs(f.RequestHeaderModifier.Set), pairs(f.RequestHeaderModifier.Add)
			r.Edit.Remove = f.RequestHeaderModifier.Remove
		case f.URLRewrite != nil:
			r.Edit.Host = f.URLRewrite.Hostname
			r.rewrite(f.URLRewrite.Path)
		case f.RequestRedirect != nil:
			r.Edit.Redirect = &Redirect{Host: f.RequestRedirect.Hostname, Port: f.RequestRedirect.Port, Code: f.RequestRedirect.StatusCode}
			switch r.Edit.Redirect.Port {
			case 80, 443:
				r.Edit.Redirect.Port = 0 // the Gateway's own, in whose place the router is
			}
			if r.Edit.Redirect.Code == 0 {
				r.Edit.Redirect.Code = http.StatusFound
			}
			r.rewrite(f.RequestRedirect.Path)
		default:
			r.Refused = fmt.Sprintf("the filter %s is not known to the router", f.Type)
		}
	}
}

func (r *Rule) rewrite(to *pathChange) {
	switch {
	case to == nil:
	case to.Type == "ReplacePrefixMatch":
		r.Edit.Prefix = &to.ReplacePrefixMatch
	default:
		r.Edit.Full = to.ReplaceFullPath
		if r.Edit.Full == "" {
			r.Edit.Full = "/"
		}
	}
}

func pairs(list []valueMatch) map[string]string {
	m := map[string]string{}
	for _, v := range list {
		m[v.Name] = v.Value
	}
	return m
}
