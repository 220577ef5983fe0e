package config

import (
	"strings"

	"github.com/kdev-io/kdev/internal/problem"
)

// Dev is the name of the environment that kdev up brings up, where kdev.yaml
// lists no other under it: the manifests at its top.
const Dev = "dev"

// Environment finds an environment by its name; "" is the one of kdev up.
//
// Problems: environment-unknown.
func (p *Project) Environment(name string) (Environment, error) {
	for _, e := range p.Environments {
		if e.Name == name {
			return e, nil
		}
	}
	if name == "" || name == Dev {
		return Environment{Name: Dev, Manifests: p.Manifests, Namespace: p.Namespace, Up: true, Where: p.NamespaceFrom}, nil
	}
	names := []string{Dev}
	for _, e := range p.Environments {
		if e.Name != Dev {
			names = append(names, e.Name)
		}
	}
	hint := didYouMean(name, names, "there are: "+strings.Join(names, ", "))
	return Environment{}, &problem.Problem{Class: problem.Usage, Code: "environment-unknown", Summary: "there is no environment " + name, Hint: hint}
}

// Missing is what sources name and is not there.
func Missing(sources []Source) (all Problems) {
	for _, s := range sources {
		all = append(all, s.Missing...)
	}
	return all
}
