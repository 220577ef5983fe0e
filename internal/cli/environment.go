package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// environmentFlags are the flags of every command that looks at one environment.
type environmentFlags struct {
	projectFlags
	env string
}

func (f *environmentFlags) add(env Env, cmd *cobra.Command) {
	f.projectFlags.add(cmd)
	f.addEnv(env, cmd, &f.env, "env", "e", "environment of kdev.yaml (default: dev, what kdev up brings up)")
}

func (f *environmentFlags) addEnv(env Env, cmd *cobra.Command, value *string, name, short, usage string) {
	cmd.Flags().StringVarP(value, name, short, "", usage)
	_ = cmd.RegisterFlagCompletionFunc(name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		p, err := f.projectFlags.load(env)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return namesOfEnvironments(p), cobra.ShellCompDirectiveNoFileComp
	})
}

func namesOfEnvironments(p *config.Project) []string {
	names := []string{config.Dev}
	for _, e := range p.Environments {
		if e.Name != config.Dev {
			names = append(names, e.Name)
		}
	}
	return names
}

// load finds the project and the environment that the flags name, with manifests that are there.
func (f *environmentFlags) load(env Env) (*config.Project, config.Environment, error) {
	p, e, err := f.find(env)
	if missing := config.Missing(e.Manifests); err == nil && len(missing) > 0 {
		err = missing
	}
	return p, e, err
}

// find is load for what needs no manifests.
func (f *environmentFlags) find(env Env) (*config.Project, config.Environment, error) {
	p, err := f.projectFlags.load(env)
	if err != nil {
		return nil, config.Environment{}, err
	}
	e, err := p.Environment(f.env)
	if err == nil && f.namespace != "" {
		e.Namespace = f.namespace
	}
	return p, e, err
}

// at is the context that the flags or the environment name; "" is the person's.
func (f *environmentFlags) at(e config.Environment) string {
	if f.context != "" {
		return f.context
	}
	return e.Context
}

// ensure finds the environment's cluster. One that the environment names by its
// context is never made, and need not be local: naming it allows it.
func (f *environmentFlags) ensure(ctx context.Context, p *config.Project, e config.Environment, create bool, progress func(string)) (*cluster.Cluster, error) {
	o := f.cluster(p, progress)
	o.NoCreate = !create
	if e.Context == "" || f.context != "" {
		return cluster.Ensure(ctx, o)
	}
	o.Context, o.NoCreate, o.Allowed = e.Context, true, nil
	c, err := cluster.Ensure(ctx, o)
	if pr := problem.As(err); pr != nil && (pr.Code == "context-not-local" || pr.Code == "engine-missing") {
		o.Allowed = []string{e.Context}
		return cluster.Ensure(ctx, o)
	}
	if pr := problem.As(err); pr != nil && pr.Code == "context-unknown" && e.Where != "" {
		said := *pr
		said.Where = e.Where // it is kdev.yaml that names it
		return nil, &said
	}
	return c, err
}

// render renders the environment's manifests into its namespace. Charts see the
// cluster, which may be nil.
func render(ctx context.Context, env Env, p *config.Project, e config.Environment, cluster *kube.Client) ([]*deploy.Object, error) {
	m, err := deploy.Render(ctx, p.Root, deploy.Sources(e.Manifests, e.Namespace, cluster))
	if err != nil {
		return nil, err
	}
	for _, note := range m.Notes {
		fmt.Fprintf(env.Err, "note: %s\n", note)
	}
	if err := deploy.MoveNamespace(m.Objects, e.Namespace); err != nil {
		return nil, err
	}
	return m.Objects, nil
}

// seen is the cluster that the charts of an environment see: nil where it has none,
// or none answers. It is closed by who asked.
func (f *environmentFlags) seen(ctx context.Context, env Env, p *config.Project, e config.Environment) *kube.Client {
	if !slices.ContainsFunc(e.Manifests, func(s config.Source) bool { return s.Helm != nil }) {
		return nil
	}
	c, err := f.ensure(ctx, p, e, false, func(string) {})
	if err == nil {
		var kc *kube.Client
		if kc, err = kube.New(c.Kubeconfig, c.Context); err == nil {
			if err = kc.Ping(ctx); err == nil {
				return kc
			}
			kc.Close()
		}
	}
	fmt.Fprintf(env.Err, "note: charts see no cluster (%v)\n", err)
	return nil
}
