package cli

import (
	"context"
	"fmt"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
)

// apart refuses to write to an environment that is where another one is: the set of applied
// objects is told by project and namespace, so that one of them would overwrite the other and
// remove what it does not have itself. To dev, which is where kdev up writes, it allows it.
//
// Problems: environment-shared.
func (f *environmentFlags) apart(p *config.Project, e config.Environment) error {
	for _, other := range f.neighbours(p, e) {
		if f.contextOf(e) == other.Context {
			return shared(e, other)
		}
	}
	return nil
}

// apartIn is apart once the environment's cluster is known: where one of two names the
// context that is the other's by itself.
func (f *environmentFlags) apartIn(ctx context.Context, p *config.Project, e config.Environment, c *cluster.Cluster) error {
	for _, other := range f.neighbours(p, e) {
		name := other.Context
		if name == "" && f.contextOf(e) != "" {
			o := (&projectFlags{}).cluster(p, func(string) {})
			o.NoCreate = true
			if up, err := cluster.Ensure(ctx, o); err == nil {
				name = up.Context // else kdev up has nowhere to be
			}
		}
		if name == c.Context {
			return shared(e, other)
		}
	}
	return nil
}

func (f *environmentFlags) contextOf(e config.Environment) string {
	if f.context != "" {
		return f.context
	}
	return e.Context
}

// neighbours are the other environments with the namespace of e.
func (f *environmentFlags) neighbours(p *config.Project, e config.Environment) []config.Environment {
	if e.Name == config.Dev {
		return nil
	}
	all := append([]config.Environment{{Name: config.Dev, Namespace: p.Namespace}}, p.Environments...)
	var found []config.Environment
	for _, other := range all {
		if other.Name != e.Name && other.Namespace == e.Namespace {
			found = append(found, other)
		}
	}
	return found
}

func shared(e, other config.Environment) error {
	return &problem.Problem{Class: problem.Usage, Code: "environment-shared", Where: e.Where,
		Summary: fmt.Sprintf("environments %s and %s are both in namespace %s of one cluster, where each would remove what is the other's", e.Name, other.Name, e.Namespace),
		Hint:    fmt.Sprintf("give %s its own in kdev.yaml: environments: {%s: {namespace: %s-%s}}, or another context:", e.Name, e.Name, e.Namespace, e.Name)}
}
