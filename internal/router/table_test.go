package router

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func first(int) int { return 0 }

func request(method, url string) *http.Request { return httptest.NewRequest(method, url, nil) }

// objects reads manifests that are separated by lines of three dashes.
func objects(t testing.TB, manifests string) (all []*unstructured.Unstructured) {
	t.Helper()
	for _, text := range strings.Split(manifests, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

func tableOf(t testing.TB, manifests string) (*Table, []string) {
	t.Helper()
	all := objects(t, manifests)
	rules, told := Rules(all, "shop")
	return NewTable("shop", rules, Services(all, "shop")), told
}

// shop has an Ingress as most projects have one, and Services beside it.
const shop = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
    - host: shop.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
          - {path: /api, pathType: Prefix, backend: {service: {name: api, port: {name: http}}}}
          - {path: /api/health, pathType: Exact, backend: {service: {name: health, port: {number: 8080}}}}
          - {path: /static/*, pathType: ImplementationSpecific, backend: {service: {name: files, port: {number: 80}}}}
    - host: "*.cdn.example.com"
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: files, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {ports: [{name: metrics, port: 9090}, {name: http, port: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: mail}
spec: {ports: [{port: 1025}, {port: 8025, appProtocol: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {ports: [{port: 6379}]}
`

func TestMatch(t *testing.T) {
	table, told := tableOf(t, shop)
	if len(told) > 0 {
		t.Errorf("told %q", told)
	}
	for _, c := range []struct{ url, want string }{
		{"http://shop.example.com/", "web:80"},
		{"http://SHOP.example.com.:7080/", "web:80"},
		{"http://shop.example.com.shop.localhost:7080/", "web:80"},
		{"http://web.shop.localhost/", "web:80"},
		{"http://web.shop.localhost/api", "api:http"},
		{"http://web.shop.localhost/api/v1/x", "api:http"},
		{"http://web.shop.localhost/api/health", "health:8080"},
		{"http://web.shop.localhost/api/health/", "api:http"},
		{"http://web.shop.localhost/apis", "web:80"},
		{"http://web.shop.localhost/static/a.css", "files:80"},
		{"http://shop.shop.localhost/api", "api:http"}, // the first label
		{"http://api.shop.localhost/", "api:7000"},
		{"http://api.shop.localhost/api", "api:7000"},
		{"http://mail.shop.localhost/", "mail:8025"},
		{"http://files.shop.localhost/x", "files:80"}, // the root of the wildcard
		{"http://eu.cdn.example.com/x", "files:80"},
		{"http://eu.cdn.example.com.shop.localhost/x", "files:80"},
		{"http://a.eu.cdn.example.com/x", "unknown"},
		{"http://redis.shop.localhost/", "unknown"},
		{"http://health.shop.localhost/", "unknown"},
		{"http://shop.localhost/", "unknown"}, // two hosts: which one is not said
		{"http://example.com/", "unknown"},
	} {
		m := table.match(request("GET", c.url), first)
		got := "unknown"
		if m.rule != nil {
			got = m.backend.Service + ":" + m.backend.Port.String()
		} else if m.known {
			got = "no rule"
		}
		if got != c.want {
			t.Errorf("%s: %s, not %s", c.url, got, c.want)
		}
	}
}

func TestPlaces(t *testing.T) {
	table, _ := tableOf(t, shop)
	var got []string
	for _, p := range table.Places() {
		got = append(got, p.Service+" "+p.URL(7080)+" "+p.Rule)
	}
	want := []string{
		"web http://web.shop.localhost:7080 Ingress/shop",
		"api http://web.shop.localhost:7080/api Ingress/shop",
		"files http://web.shop.localhost:7080/static/ Ingress/shop",
		"health http://web.shop.localhost:7080/api/health Ingress/shop",
		"files http://files.shop.localhost:7080 Ingress/shop",
		"api http://api.shop.localhost:7080 ",
		"mail http://mail.shop.localhost:7080 ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAnyHost: rules without a host are the project's own, and nobody else's.
func TestAnyHost(t *testing.T) {
	table, _ := tableOf(t, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: all}
spec:
  defaultBackend: {service: {name: other, port: {number: 80}}}
  rules:
    - http: {paths: [{path: /api, pathType: Prefix, backend: {service: {name: api, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: admin}
spec:
  rules:
    - host: admin.example.com
      http: {paths: [{path: /admin, pathType: Prefix, backend: {service: {name: admin, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: admin}
spec: {ports: [{port: 80}]}
`)
	for _, c := range []struct{ url, want string }{
		{"http://shop.localhost/api", "api"},
		{"http://localhost:7080/api", "api"},
		{"http://127.0.0.1:7080/api", "api"},
		{"http://[::1]:7080/api", "api"},
		{"http://shop.localhost/", "other"},
		{"http://admin.example.com/admin", "admin"},
		{"http://admin.example.com/api", "api"}, // a rule for any host is one for this
		{"http://admin.example.com/", "other"},
		{"http://admin.shop.localhost/", "admin"}, // its name reaches it whole
		{"http://rebound.example.org/api", ""},
	} {
		if m := table.match(request("GET", c.url), first); m.backend.Service != c.want {
			t.Errorf("%s: %q, not %q", c.url, m.backend.Service, c.want)
		}
	}
}

const routes = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  listeners: [{name: http, hostname: "*.example.com", port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: tls}
spec:
  hostnames: [shop.example.com]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  hostnames: [shop.example.com]
  rules:
    - backendRefs: [{name: old, port: 80, weight: 9}, {name: new, port: 80, weight: 1}, {name: none, port: 80, weight: 0}]
    - matches: [{path: {type: PathPrefix, value: /api}}]
      filters:
        - {type: URLRewrite, urlRewrite: {hostname: api.internal, path: {type: ReplacePrefixMatch, replacePrefixMatch: /v2}}}
        - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-From, value: gateway}], remove: [X-Debug]}}
      backendRefs: [{name: api, port: 8080}]
    - matches: [{path: {type: PathPrefix, value: /api}, headers: [{name: X-Canary, value: "yes"}]}]
      backendRefs: [{name: canary, port: 8080}]
    - matches: [{path: {type: Exact, value: /buy}, method: POST}, {path: {type: RegularExpression, value: "/item/[0-9]+"}}]
      backendRefs: [{name: cart, port: 8080}]
    - matches: [{path: {value: /old}}]
      filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /buy}}}]
    - matches: [{path: {value: /mirror}}]
      filters: [{type: RequestMirror}]
      backendRefs: [{name: old, port: 80}]
    - matches: [{path: {value: /away}}]
      backendRefs: [{name: far, namespace: other, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: rest}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: rest, port: 80}]}]
`

func TestGateway(t *testing.T) {
	table, told := tableOf(t, routes)
	if want := []string{
		"HTTPRoute/shop: the filter RequestMirror is not known to the router",
		"HTTPRoute/shop: Service far is in namespace other, and the router reaches shop only",
	}; !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
	header := func(method, url, name, value string) *http.Request {
		req := request(method, url)
		req.Header.Set(name, value)
		return req
	}
	for _, c := range []struct {
		req  *http.Request
		want string
	}{
		{request("GET", "http://shop.example.com/"), "old"},
		{request("GET", "http://shop.example.com/api/x"), "api"},
		{header("GET", "http://shop.example.com/api/x", "X-Canary", "yes"), "canary"},
		{header("GET", "http://shop.example.com/api/x", "X-Canary", "no"), "api"},
		{request("POST", "http://shop.example.com/buy"), "cart"},
		{request("GET", "http://shop.example.com/buy"), "old"},
		{request("GET", "http://shop.example.com/item/7"), "cart"},
		{request("GET", "http://shop.example.com/item/7/more"), "old"},
		{request("GET", "http://a.b.example.com/"), "rest"},
	} {
		if m := table.match(c.req, first); m.backend.Service != c.want {
			t.Errorf("%s %s: %q, not %q", c.req.Method, c.req.URL, m.backend.Service, c.want)
		}
	}
	share := map[string]int{}
	for i := range 10 {
		m := table.match(request("GET", "http://shop.example.com/"), func(n int) int { return i % n })
		share[m.backend.Service]++
	}
	if share["old"] != 9 || share["new"] != 1 {
		t.Errorf("weights 9, 1 and 0: %v", share)
	}
}

func TestEdit(t *testing.T) {
	table, _ := tableOf(t, routes)
	req := request("GET", "http://shop.example.com/api/x?q=1")
	req.Header.Set("X-Debug", "1")
	table.match(req, first).rule.edit(req)
	if got := req.URL.String() + " " + req.Host + " " + req.Header.Get("X-From") + req.Header.Get("X-Debug"); got != "http://shop.example.com/v2/x?q=1 api.internal gateway" {
		t.Error(got)
	}
	req = request("GET", "http://shop.example.com/old?q=1")
	if got := table.match(req, first).rule.redirect(req, table.serves); got != "http://shop.example.com/buy?q=1" {
		t.Error(got)
	}
	for _, c := range []struct {
		asked string
		to    Redirect
		want  string
	}{
		{"http://shop.localhost:7080/a%2Fb", Redirect{}, "http://shop.localhost:7080/a%2Fb"},
		{"http://shop.localhost:7080/a", Redirect{Host: "shop.example.com"}, "http://shop.example.com:7080/a"},
		{"http://shop.localhost:7080/a", Redirect{Host: "elsewhere.example.org"}, "http://elsewhere.example.org/a"},
		{"http://shop.localhost:7080/a", Redirect{Host: "elsewhere.example.org", Port: 81}, "http://elsewhere.example.org:81/a"},
		{"http://shop.localhost:7080/a", Redirect{Port: 8443}, "http://shop.localhost:8443/a"},
		{"http://[::1]:7080/a", Redirect{}, "http://[::1]:7080/a"},
		{"http://[::1]/a", Redirect{Port: 81}, "http://[::1]:81/a"},
		{"http://[::1]/a", Redirect{}, "http://[::1]/a"},
	} {
		r := Rule{Type: Prefix, Path: "/", Edit: Edit{Redirect: &c.to}}
		if got := r.redirect(request("GET", c.asked), table.serves); got != c.want {
			t.Errorf("%s is sent to %s, not %s", c.asked, got, c.want)
		}
	}
	v2 := "/v2"
	for asked, want := range map[string]string{
		"/api/a%2Fb":   "/v2/a%2Fb", // one segment, which the client has escaped
		"/api/a%20b":   "/v2/a%20b",
		"/%61pi/a%2Fb": "/v2/a/b", // the rule's own part is escaped: the two forms differ
	} {
		req := request("GET", "http://shop.example.com"+asked)
		r := Rule{Type: Prefix, Path: "/api", Edit: Edit{Prefix: &v2}}
		r.edit(req)
		if got := req.URL.EscapedPath(); got != want {
			t.Errorf("%s becomes %s, not %s", asked, got, want)
		}
	}
	for _, c := range []struct{ prefix, to, asked, want string }{ // the Gateway API's table for ReplacePrefixMatch
		{"/foo", "/xyz", "/foo/bar", "/xyz/bar"},
		{"/foo", "/xyz/", "/foo/bar", "/xyz/bar"},
		{"/foo/", "/xyz", "/foo/bar", "/xyz/bar"},
		{"/foo", "/xyz", "/foo", "/xyz"},
		{"/foo", "", "/foo/bar", "/bar"},
		{"/foo", "", "/foo", "/"},
		{"/foo", "/", "/foo/", "/"},
		{"/foo", "/", "/foo", "/"},
	} {
		r := Rule{Type: Prefix, Path: c.prefix, Edit: Edit{Prefix: &c.to}}
		if got := r.path(c.asked); got != c.want {
			t.Errorf("%s becomes %q, asked for %s: %s, not %s", c.prefix, c.to, c.asked, got, c.want)
		}
	}
}

// TestNginxRewrite: the annotation turns paths into expressions.
func TestNginxRewrite(t *testing.T) {
	table, _ := tableOf(t, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: api, annotations: {nginx.ingress.kubernetes.io/rewrite-target: /$2}}
spec:
  rules:
    - http: {paths: [{path: "/api(/|$)(.*)", pathType: ImplementationSpecific, backend: {service: {name: api, port: {number: 80}}}}]}
`)
	for asked, want := range map[string]string{"/api/v1/x": "/v1/x", "/api": "/", "/other": ""} {
		got := ""
		if m := table.match(request("GET", "http://localhost"+asked), first); m.rule != nil {
			got = m.rule.path(asked)
		}
		if got != want {
			t.Errorf("%s: %q, not %q", asked, got, want)
		}
	}
}
