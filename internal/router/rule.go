package router

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// A PathType says how a rule's path is compared. Where several rules of a host
// match, the type that stands first here wins.
type PathType int

const (
	Exact      PathType = iota // the path as it is
	Expression                 // a regular expression of the whole path or its beginning
	Prefix                     // of whole path elements
)

// A Rule sends the requests that it matches to one of its backends.
type Rule struct {
	From string // what says so: "Ingress/shop"
	Host string // "" is any; "*.example.com" stands for one label before the rest
	Deep bool   // the wildcard stands for any number of labels, as Gateways want it
	Last bool   // a default backend: for what no other rule takes

	Type    PathType
	Path    string
	Method  string // "" is any
	Headers []Value
	Query   []Value

	Backends []Backend
	Edit     Edit
	Refused  string // why the router cannot do what the rule asks for; "" when it can

	expr *regexp.Regexp // of an Expression
}

// A Value is a header or a parameter that a request must have.
type Value struct {
	Name, Value string
	expr        *regexp.Regexp // instead of Value
}

// A Backend is a port of a Service.
type Backend struct {
	Service string
	Port    intstr.IntOrString // of the Service: number or name; 0 is its only one
	Weight  int                // its share of the requests
	Refused string             // why it cannot be reached, "" when it may be
}

func (v Value) holds(got string, there bool) bool {
	if v.expr != nil {
		return there && v.expr.MatchString(got)
	}
	return there && got == v.Value
}

// matches says whether a request is the rule's, its host left aside.
func (r *Rule) matches(req *http.Request, query url.Values) bool {
	if !r.covers(req.URL.Path) || r.Method != "" && r.Method != req.Method {
		return false
	}
	for _, h := range r.Headers {
		got := req.Header.Values(h.Name)
		if !h.holds(strings.Join(got, ","), len(got) > 0) {
			return false
		}
	}
	for _, q := range r.Query {
		if got, there := query[q.Name]; !q.holds(query.Get(q.Name), there && len(got) > 0) {
			return false
		}
	}
	return true
}

// covers compares the path as the Ingress specification's table of examples does.
func (r *Rule) covers(path string) bool {
	switch r.Type {
	case Exact:
		return path == r.Path
	case Expression:
		return r.expr.MatchString(path)
	}
	prefix := strings.TrimSuffix(r.Path, "/")
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// plain says whether host and path alone decide.
func (r *Rule) plain() bool { return r.Method == "" && len(r.Headers) == 0 && len(r.Query) == 0 }

// address is a path that the rule is known to cover; "" when there is none that
// every browser would ask for.
func (r *Rule) address() string {
	switch {
	case !r.plain() || r.Refused != "" || r.Edit.Redirect != nil:
		return ""
	case r.Type != Expression:
		return r.Path
	case r.covers("/"):
		return "/"
	}
	return ""
}

// wins orders the rules of one host: the one that a request gets comes first.
// Rules that are alike keep the order of the manifests.
func wins(a, b *Rule) int {
	last := func(r *Rule) int { return number(r.Last) }
	for _, pair := range [][2]int{
		{last(a), last(b)},
		{int(a.Type), int(b.Type)},
		{len(strings.TrimSuffix(b.Path, "/")), len(strings.TrimSuffix(a.Path, "/"))},
		{number(b.Method != ""), number(a.Method != "")},
		{len(b.Headers), len(a.Headers)},
		{len(b.Query), len(a.Query)},
	} {
		if d := pair[0] - pair[1]; d != 0 {
			return d
		}
	}
	return 0
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// hostMatches compares a host with a rule's, which may begin with a wildcard.
func hostMatches(pattern string, deep bool, host string) bool {
	rest, wild := strings.CutPrefix(pattern, "*.")
	if !wild {
		return pattern == host
	}
	label, ok := strings.CutSuffix(host, "."+rest)
	return ok && label != "" && (deep || !strings.Contains(label, "."))
}
