package cli

import (
	"strings"
	"testing"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// An environment that is where another one is, is not written to. The set of applied objects
// is told by project and namespace alone.
func TestEnvironmentsApart(t *testing.T) {
	p := &config.Project{Name: "shop", Namespace: "shop", Environments: []config.Environment{
		{Name: "staging", Namespace: "shop"},
		{Name: "qa", Namespace: "shop-qa"},
		{Name: "test", Namespace: "shop-qa"},
		{Name: "prod", Namespace: "shop", Context: "prod-eu"},
		{Name: "us", Namespace: "shop", Context: "prod-us"},
		{Name: "eu", Namespace: "shop-eu", Context: "prod-eu"},
	}}
	for _, tc := range []struct {
		env   string
		flags projectFlags
		in    string // the context that its cluster has, where that is asked
		want  string // the other one
	}{
		{env: "dev"},
		{env: "staging", want: "dev"},
		{env: "staging", flags: projectFlags{namespace: "mine"}},
		{env: "staging", flags: projectFlags{namespace: "shop-qa"}, want: "qa"},
		{env: "staging", flags: projectFlags{context: "prod-us"}, want: "us"},
		{env: "qa", want: "test"},
		{env: "test", want: "qa"},
		{env: "prod"},
		{env: "us"},
		{env: "eu"},
		{env: "eu", flags: projectFlags{namespace: "shop"}, want: "prod"},
		{env: "staging", flags: projectFlags{namespace: "shop-eu"}, in: "kind-kdev"},
		{env: "staging", flags: projectFlags{namespace: "shop-eu"}, in: "prod-eu", want: "eu"},
	} {
		e, err := p.Environment(tc.env)
		if err != nil {
			t.Fatal(err)
		}
		f := &environmentFlags{projectFlags: tc.flags}
		if tc.flags.namespace != "" {
			e.Namespace = tc.flags.namespace
		}
		if tc.in == "" {
			err = f.apart(p, e)
		} else {
			err = f.apartIn(t.Context(), p, e, &cluster.Cluster{Context: tc.in})
		}
		got := problem.As(err)
		switch {
		case (got != nil) != (tc.want != ""):
			t.Errorf("%s %+v: %v, want %q", tc.env, tc.flags, err, tc.want)
		case got != nil && (got.ExitCode() != 2 || !strings.Contains(got.Summary, tc.env+" and "+tc.want+" are") || !strings.Contains(got.Hint, "environments: {"+tc.env+": {namespace: ")):
			t.Errorf("%s: %v, hint %s", tc.env, got, got.Hint)
		}
	}
}
