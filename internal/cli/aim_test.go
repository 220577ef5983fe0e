package cli

import (
	"errors"
	"slices"
	"testing"

	"github.com/kdev-io/kdev/internal/problem"
)

func TestAim(t *testing.T) {
	for _, tc := range []struct {
		at   aim
		text string
		want string
	}{
		{aim{}, "`kdev logs` shows all of them", "`kdev logs` shows all of them"},
		{aim{env: "staging", home: "shop-staging"}, "`kdev logs` shows all of them", "`kdev logs -n shop-staging` shows all of them"},
		{aim{env: "staging", home: "shop-staging", at: "far"}, "`kdev logs web` and `kdev status --watch`", "`kdev logs -n shop-staging --context far web` and `kdev status -e staging --watch`"},
		{aim{env: "staging", home: "shop-staging", namespace: "other"}, "`kdev rollback` lists", "`kdev rollback -e staging -n other` lists"},
		{aim{namespace: "other"}, "bring it up elsewhere: `kdev up -n NAME`; `kdev cluster list`", "bring it up elsewhere: `kdev up -n NAME`; `kdev cluster list`"},
	} {
		if got := tc.at.text(tc.text); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
	at := aim{env: "staging", home: "shop-staging"}
	shared := &problem.Problem{Code: "crash", Hint: "`kdev logs`"}
	err := at.err(errors.Join(errors.New("else"), shared))
	if list := each(err); len(list) != 2 || problem.As(list[1]).Hint != "`kdev logs -n shop-staging`" || shared.Hint != "`kdev logs`" {
		t.Errorf("%v", err)
	}
}

// The flags that a hint gets are those that the command has.
func TestAimKnowsTheFlags(t *testing.T) {
	root := newRoot(Env{})
	for _, cmd := range root.Commands() {
		env, namespace := cmd.Flags().Lookup("env"), cmd.Flags().Lookup("namespace")
		if slices.Contains(byEnvironment, cmd.Name()) != (env != nil && env.Shorthand == "e" && cmd.Name() != "ci" && cmd.Name() != "eject") {
			t.Errorf("byEnvironment and kdev %s differ", cmd.Name())
		}
		if slices.Contains(byNamespace, cmd.Name()) && (namespace == nil || cmd.Flags().Lookup("context") == nil) {
			t.Errorf("kdev %s has no -n and --context", cmd.Name())
		}
	}
}

// What cannot be done is refused before anything is.
func TestFlagsThatCannotBe(t *testing.T) {
	for _, args := range [][]string{{"deploy", "-e", "dev", "--timeout", "-5s"}, {"down", "--timeout", "0s"}, {"rollback", "--timeout", "-1s"}, {"ci", "--timeout", "0s"}, {"ci", "--report", "/no/such/folder/x.xml"}} {
		root := newRoot(Env{Dir: t.TempDir()})
		root.SetArgs(args)
		if p := problem.As(root.ExecuteContext(t.Context())); p == nil || p.Code != "usage" || p.ExitCode() != 2 {
			t.Errorf("%v: %v", args, p)
		}
	}
}
