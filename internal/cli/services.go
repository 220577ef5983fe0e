package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/session"
)

// A serviceView is a service of the project with the workloads that run it, or a
// workload whose image is somebody else's.
type serviceView struct {
	name      string
	workloads []deploy.Ref
}

// servicesOf groups the workloads of a render as kdev up does, sorted by name.
func servicesOf(p *config.Project, objects []*deploy.Object) []serviceView {
	uses := deploy.Inject(deploy.Copy(objects), projectImages(p)).Uses
	byName := map[string][]deploy.Ref{}
	taken := map[deploy.Ref]bool{}
	add := func(name string, ref deploy.Ref) {
		taken[ref] = true
		if !slices.Contains(byName[name], ref) {
			byName[name] = append(byName[name], ref)
		}
	}
	for _, s := range p.Services {
		for _, use := range uses[s.Name] {
			if use.Container != "" {
				add(s.Name, use.Object)
			}
		}
	}
	for _, o := range objects {
		if ref := deploy.RefOf(o); deploy.IsWorkload(o) && !taken[ref] {
			add(ref.Name, ref)
		}
	}
	var out []serviceView
	for name, workloads := range byName {
		out = append(out, serviceView{name, workloads})
	}
	slices.SortFunc(out, func(a, b serviceView) int { return strings.Compare(a.name, b.name) })
	return out
}

// completeServices completes the name of one service.
func completeServices(env Env) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		p, err := (&projectFlags{}).load(env)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, s := range p.Services {
			names = append(names, s.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// unknownNeeds are, a line each, the names under `needs` that nothing of the project has:
// nothing would wait for them, and nothing comes of a database that is spelled wrongly.
func unknownNeeds(p *config.Project, objects []*deploy.Object) []string {
	var names, out []string
	for _, s := range p.Services {
		names = append(names, s.Name)
	}
	for _, l := range p.Local {
		names = append(names, l.Name)
	}
	for _, s := range servicesOf(p, objects) {
		names = append(names, s.name)
	}
	for _, s := range p.Services {
		for _, n := range s.Needs {
			if !slices.Contains(names, n) && !strings.Contains(n, "/") { // with a slash it is an included project's
				out = append(out, session.UnknownNeed(s.Name, n, names))
			}
		}
	}
	return out
}
