package router

import "testing"

// TestPathsOfTheSpecification is the table "Examples" of
// https://kubernetes.io/docs/concepts/services-networking/ingress/#examples.
func TestPathsOfTheSpecification(t *testing.T) {
	const no = "-"
	for _, c := range []struct {
		kind  PathType
		paths []string
		asked string
		want  string // the path that wins
	}{
		{Prefix, []string{"/"}, "/foo", "/"},
		{Exact, []string{"/foo"}, "/foo", "/foo"},
		{Exact, []string{"/foo"}, "/bar", no},
		{Exact, []string{"/foo"}, "/foo/", no},
		{Exact, []string{"/foo/"}, "/foo", no},
		{Prefix, []string{"/foo"}, "/foo", "/foo"},
		{Prefix, []string{"/foo"}, "/foo/", "/foo"},
		{Prefix, []string{"/foo/"}, "/foo", "/foo/"},
		{Prefix, []string{"/foo/"}, "/foo/", "/foo/"},
		{Prefix, []string{"/aaa/bb"}, "/aaa/bbb", no},
		{Prefix, []string{"/aaa/bbb"}, "/aaa/bbb", "/aaa/bbb"},
		{Prefix, []string{"/aaa/bbb/"}, "/aaa/bbb", "/aaa/bbb/"},
		{Prefix, []string{"/aaa/bbb"}, "/aaa/bbb/", "/aaa/bbb"},
		{Prefix, []string{"/aaa/bbb"}, "/aaa/bbb/ccc", "/aaa/bbb"},
		{Prefix, []string{"/aaa/bbb"}, "/aaa/bbbxyz", no},
		{Prefix, []string{"/", "/aaa"}, "/aaa/ccc", "/aaa"},
		{Prefix, []string{"/", "/aaa", "/aaa/bbb"}, "/aaa/bbb", "/aaa/bbb"},
		{Prefix, []string{"/", "/aaa", "/aaa/bbb"}, "/ccc", "/"},
		{Prefix, []string{"/aaa"}, "/ccc", no},
	} {
		var rules []Rule
		for _, p := range c.paths {
			rules = append(rules, Rule{Type: c.kind, Path: p, Backends: []Backend{{Service: p, Weight: 1}}})
		}
		got := no
		if m := NewTable("shop", rules, nil).match(request("GET", "http://shop.localhost"+c.asked), first); m.rule != nil {
			got = m.rule.Path
		}
		if got != c.want {
			t.Errorf("%v of type %d, asked for %s: %s, not %s", c.paths, c.kind, c.asked, got, c.want)
		}
	}
}

// TestHostsOfTheSpecification is the table "Hostname wildcards" of the same page,
// and what the Gateway API says of its own.
func TestHostsOfTheSpecification(t *testing.T) {
	for _, c := range []struct {
		pattern string
		deep    bool
		host    string
		want    bool
	}{
		{"*.foo.com", false, "bar.foo.com", true},
		{"*.foo.com", false, "baz.bar.foo.com", false},
		{"*.foo.com", false, "foo.com", false},
		{"foo.com", false, "foo.com", true},
		{"foo.com", false, "bar.foo.com", false},
		{"*.example.com", true, "test.example.com", true},
		{"*.example.com", true, "foo.test.example.com", true},
		{"*.example.com", true, "example.com", false},
	} {
		if got := hostMatches(c.pattern, c.deep, c.host); got != c.want {
			t.Errorf("%s (deep: %v) and %s: %v", c.pattern, c.deep, c.host, got)
		}
	}
}
