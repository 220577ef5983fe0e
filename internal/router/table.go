package router

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A Table says where each request goes. It is never changed after [NewTable].
//
// A host of a rule, shop.example.com, is served under itself and under
// shop.example.com.PROJECT.localhost, which browsers lead to this machine by
// themselves. Short names lead to the same rules: SERVICE.PROJECT.localhost for
// the Service that the host's root is sent to, and the first label of the host
// where no Service has that name. A Service that no root is sent to, and that
// speaks HTTP, has its name for itself. PROJECT.localhost and localhost are the
// rules without a host, or those of the only host.
type Table struct {
	project  string
	groups   []*group // in the order of the manifests
	any      *group   // rules without a host; nil when there are none
	short    map[string]*group
	services map[string]Backend
	places   []Place
}

// A group is the rules of one host.
type group struct {
	host  string
	deep  bool
	rules []*Rule // the winner comes first
	front string  // Service that the root is sent to
}

// A Place is an address at which a Service is found.
type Place struct {
	Host    string // without the port
	Path    string
	Service string
	Rule    string // what says so: "Ingress/shop"; "" when it is the Service's name alone
}

// NewTable makes the table of a project.
func NewTable(project string, rules []Rule, services []Backend) *Table {
	t := &Table{project: strings.ToLower(project), short: map[string]*group{}, services: map[string]Backend{}}
	for _, s := range services {
		t.services[s.Service] = s
	}
	for i := range rules {
		r := &rules[i]
		at := slices.IndexFunc(t.groups, func(g *group) bool { return g.host == r.Host && g.deep == (r.Deep && wild(r.Host)) })
		if at < 0 {
			at = len(t.groups)
			t.groups = append(t.groups, &group{host: r.Host, deep: r.Deep && wild(r.Host)})
		}
		t.groups[at].rules = append(t.groups[at].rules, r)
	}
	for _, g := range t.groups {
		slices.SortStableFunc(g.rules, wins)
		g.front = g.root()
		if g.host == "" {
			t.any = g
		}
	}
	t.shorten()
	t.place()
	return t
}

func wild(host string) bool { return strings.HasPrefix(host, "*.") }

// root is the Service that answers for the host as a whole.
func (g *group) root() string {
	front := ""
	for _, r := range g.rules {
		if len(r.Backends) == 0 || r.Backends[0].Refused != "" {
			continue
		}
		if front == "" {
			front = r.Backends[0].Service
		}
		if r.plain() && r.covers("/") {
			return r.Backends[0].Service
		}
	}
	return front
}

// shorten gives the short names. The first host that wants one has it.
func (t *Table) shorten() {
	for _, g := range t.groups {
		if _, taken := t.short[g.front]; g.front != "" && !taken {
			t.short[g.front] = g
		}
	}
	for _, g := range t.groups {
		label, _, _ := strings.Cut(g.host, ".")
		_, taken := t.short[label]
		if _, service := t.services[label]; label != "" && label != "*" && !taken && !service {
			t.short[label] = g
		}
	}
}

// name is the best name under which a group is served; "" when none is sure to be.
func (t *Table) name(g *group) string {
	label, _, _ := strings.Cut(g.host, ".")
	for _, short := range []string{g.front, label} {
		if short != "" && t.short[short] == g {
			return t.under(short)
		}
	}
	switch {
	case g == t.home():
		return t.project + ".localhost"
	case g.host == "" || wild(g.host):
		return ""
	}
	return t.under(g.host)
}

func (t *Table) under(name string) string { return name + "." + t.project + ".localhost" }

// home is the group that the project as a whole is; nil when several may be meant.
func (t *Table) home() *group {
	if t.any != nil || len(t.groups) != 1 {
		return t.any
	}
	return t.groups[0]
}

func (t *Table) place() {
	for _, g := range t.groups {
		host := t.name(g)
		if host == "" {
			continue
		}
		rules := slices.Clone(g.rules)
		slices.SortStableFunc(rules, func(a, b *Rule) int { return cmp.Compare(len(a.Path), len(b.Path)) })
		for _, r := range rules {
			for _, b := range r.Backends {
				known := slices.ContainsFunc(t.places, func(p Place) bool { return p.Host == host && p.Service == b.Service })
				if path := r.address(); path != "" && b.Refused == "" && b.Weight > 0 && !known {
					t.places = append(t.places, Place{Host: host, Path: path, Service: b.Service, Rule: r.From})
				}
			}
		}
	}
	names := make([]string, 0, len(t.services))
	for name := range t.services {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if t.short[name] == nil {
			t.places = append(t.places, Place{Host: t.under(name), Path: "/", Service: name})
		}
	}
}

// Places lists where the project's Services are found: what rules say first.
func (t *Table) Places() []Place { return slices.Clone(t.places) }

// A match is where one request goes.
type match struct {
	known   bool // the host is one of the project's
	rule    *Rule
	backend Backend
}

// match finds where a request goes. pick chooses among weights: it returns a
// number from 0 to n-1.
func (t *Table) match(req *http.Request, pick func(n int) int) match {
	groups, service := t.resolve(hostOf(req))
	m := match{known: len(groups) > 0 || service != nil}
	query := req.URL.Query()
	for _, last := range []bool{false, true} {
		for _, g := range groups {
			for _, r := range g.rules {
				if r.Last == last && r.matches(req, query) {
					m.rule, m.backend = r, choose(r, pick)
					return m
				}
			}
		}
		if service != nil {
			m.rule, m.backend = &Rule{Type: Prefix, Path: "/"}, *service
			return m
		}
	}
	return m
}

// choose takes one of a rule's backends by weight.
func choose(r *Rule, pick func(n int) int) Backend {
	sum := 0
	for _, b := range r.Backends {
		sum += b.Weight
	}
	if sum == 0 {
		return Backend{Refused: r.From + " has no backend for this path"}
	}
	n := pick(sum)
	for _, b := range r.Backends {
		if n -= b.Weight; n < 0 {
			return b
		}
	}
	return Backend{}
}

// resolve lists the groups that a host's request is looked up in, in this order,
// and the Service that it reaches when none of them has a rule for it.
func (t *Table) resolve(host string) (groups []*group, service *Backend) {
	name, local := strings.CutSuffix(host, "."+t.project+".localhost")
	switch {
	case local:
		groups = t.hosts(name)
		if g := t.short[name]; len(groups) == 0 && g != nil {
			groups = []*group{g}
		}
		if s, ok := t.services[name]; ok {
			service = &s
		}
	case host == t.project+".localhost" || isLoopback(host):
		if g := t.home(); g != nil {
			groups = []*group{g}
		}
	default:
		groups = t.hosts(host)
	}
	if len(groups) > 0 && t.any != nil && !slices.Contains(groups, t.any) {
		groups = append(groups, t.any)
	}
	return groups, service
}

// serves says whether requests to a host are the router's.
func (t *Table) serves(host string) bool {
	groups, service := t.resolve(strings.ToLower(host))
	return len(groups) > 0 || service != nil
}

// hosts lists the groups of a host as the manifests have it: the most specific
// one first.
func (t *Table) hosts(name string) []*group {
	var found []*group
	for _, g := range t.groups {
		if g.host != "" && hostMatches(g.host, g.deep, name) {
			found = append(found, g)
		}
	}
	slices.SortStableFunc(found, func(a, b *group) int {
		return cmp.Or(cmp.Compare(number(wild(a.host)), number(wild(b.host))), cmp.Compare(len(b.host), len(a.host)))
	})
	return found
}

// hostOf is the host that a request asks, without port, in lower case.
func hostOf(req *http.Request) string {
	host := req.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
