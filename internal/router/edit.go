package router

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// An Edit is what a rule does with a request before it goes on, or instead.
type Edit struct {
	Host     string  // the backend sees this one
	Full     string  // the backend sees this path
	Prefix   *string // the backend sees this instead of the path that matched
	Template string  // the same for an Expression: $1 is its first group

	Set, Add map[string]string
	Remove   []string

	Redirect *Redirect
}

// A Redirect answers instead of a backend. The scheme is not changed: the router
// has only one.
type Redirect struct {
	Host string // "" keeps the host
	Port int    // 0 keeps the port: the router's own, where it serves the host
	Code int
}

// groupName is a group in nginx's form, which Go would read as far as it can.
var groupName = regexp.MustCompile(`\$(\d)`)

// path is what the backend is asked for.
func (r *Rule) path(asked string) string {
	e := r.Edit
	switch {
	case e.Full != "":
		return e.Full
	case e.Template != "" && r.expr != nil:
		at := r.expr.FindStringSubmatchIndex(asked)
		if at == nil {
			return asked
		}
		out := string(r.expr.ExpandString(nil, groupName.ReplaceAllString(e.Template, "$${$1}"), asked, at))
		return "/" + strings.TrimLeft(out, "/")
	case e.Template != "":
		return e.Template
	case e.Prefix != nil:
		rest := strings.TrimPrefix(asked, strings.TrimSuffix(r.Path, "/"))
		return "/" + strings.TrimLeft(strings.TrimSuffix(*e.Prefix, "/")+rest, "/")
	}
	return asked
}

// rewritten is the path that the backend is asked for, and its form with escapes:
// what a client has escaped, %2F say, stays so.
func (r *Rule) rewritten(asked *url.URL) (path, raw string) {
	path, raw = r.path(asked.Path), r.path(asked.EscapedPath())
	if plain, err := url.PathUnescape(raw); err != nil || plain != path {
		raw = "" // the rule changed what one of the two does not have
	}
	return path, raw
}

// edit changes a request that is on its way to a backend.
func (r *Rule) edit(out *http.Request) {
	out.URL.Path, out.URL.RawPath = r.rewritten(out.URL)
	if r.Edit.Host != "" {
		out.Host = r.Edit.Host
	}
	for name, value := range r.Edit.Set {
		out.Header.Set(name, value)
	}
	for name, value := range r.Edit.Add {
		out.Header.Add(name, value)
	}
	for _, name := range r.Edit.Remove {
		out.Header.Del(name)
	}
}

// redirect is where a request is sent instead. A host that the router does not serve
// has the port of its scheme, not the router's own.
func (r *Rule) redirect(req *http.Request, served func(host string) bool) string {
	to := url.URL{Scheme: "http", Host: req.Host, RawQuery: req.URL.RawQuery}
	to.Path, to.RawPath = r.rewritten(req.URL)
	host, port, err := net.SplitHostPort(req.Host)
	if err != nil {
		host, port = strings.Trim(req.Host, "[]"), ""
	}
	if r.Edit.Redirect.Host != "" {
		if host = r.Edit.Redirect.Host; !served(host) {
			port = ""
		}
	}
	if r.Edit.Redirect.Port != 0 {
		port = strconv.Itoa(r.Edit.Redirect.Port)
	}
	to.Host = host
	switch {
	case port != "":
		to.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		to.Host = "[" + host + "]"
	}
	return to.String()
}
