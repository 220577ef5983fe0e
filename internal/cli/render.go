package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// renderOptions are the flags of `kdev render`.
type renderOptions struct {
	env     Env
	flags   environmentFlags
	build   bool
	offline bool
	images  string
}

func newRender(env Env) *cobra.Command {
	o := &renderOptions{env: env}
	cmd := &cobra.Command{
		Use:   "render [SERVICE]",
		Short: "Print the manifests of an environment as they would be applied",
		Long: `Render prints the objects of an environment, or those that belong to one service,
and nothing else; notes go to the standard error. The same files give the same
bytes. An image that kdev builds stands there by its digest where it was built
from the files as they are now; otherwise by what the manifest says, with a note
(--build builds it first). Values of Secrets that kdev makes are not printed: a
text says where they come from. What a chart makes up, as passwords, is shown as it
is in the cluster, or, in Secrets and where it is not there yet, not at all. Only the environment of kdev up holds dev images. Charts
see the environment's cluster, where there is one; nothing else asks it.`,
		ValidArgsFunction: completeServices(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(cmd, "kdev render takes one service at most")
			}
			if o.build && o.images != "" {
				return usageError(cmd, "--build makes the images, --images names them: choose one")
			}
			return o.run(cmd.Context(), args)
		},
	}
	o.flags.add(env, cmd)
	cmd.Flags().BoolVar(&o.build, "build", false, "build the images that are not built yet")
	cmd.Flags().BoolVar(&o.offline, "offline", false, "ask no cluster: charts see what helm itself assumes, and lookup finds nothing")
	cmd.Flags().StringVar(&o.images, "images", "", "take the images that this file of kdev build --out names")
	return cmd
}

func (o *renderOptions) run(ctx context.Context, args []string) error {
	p, e, err := o.flags.load(o.env)
	if err != nil {
		return err
	}
	var cluster *kube.Client
	if !o.offline {
		if cluster = o.flags.seen(ctx, o.env, p, e); cluster != nil {
			defer cluster.Close()
		}
	}
	objects, err := render(ctx, o.env, p, e, cluster)
	if err != nil {
		return err
	}
	refs, err := o.refs(ctx, p, e)
	if err != nil {
		return err
	}
	plain := objects
	objects = deploy.Copy(objects)
	found := deploy.Inject(objects, put(p, projectImages(p), refs, e.Up && o.images == ""))
	noteImages(o.env.Err, found, refs, e)
	for _, text := range unknownNeeds(p, plain) {
		fmt.Fprintf(o.env.Err, "note: %s\n", text)
	}
	if len(args) > 0 {
		workloads, err := workloadsOf(p, plain, args[0])
		if err != nil {
			return err
		}
		objects = deploy.Related(objects, workloads)
	}
	standing, err := deploy.Settle(ctx, cluster, e.Namespace, objects)
	if err != nil {
		return err
	}
	if len(standing) > 0 {
		fmt.Fprintf(o.env.Err, "note: made up by a chart, and not shown: %s\n", strings.Join(standing, ", "))
	}
	return writeObjects(o.env.Out, objects)
}

// refs finds the references of the images, by service.
func (o *renderOptions) refs(ctx context.Context, p *config.Project, e config.Environment) (map[string]string, error) {
	switch {
	case o.images != "":
		return readImages(o.env, o.images, p)
	case !e.Up && e.Context != "":
		return nil, nil // its cluster cannot pull from this machine's store
	case !o.build:
		return storedRefs(ctx, o.flags.at(e), p, e.Up)
	}
	services, err := chooseServices(p, nil)
	if err != nil || len(services) == 0 {
		return nil, err
	}
	m, done, err := (&buildOptions{env: o.env, platforms: []string{""}}).open(ctx, p, &plain{out: o.env.Err, width: nameWidth(p)})
	if err != nil {
		return nil, err
	}
	defer done()
	m.dev = e.Up
	images, err := m.all(ctx, services)
	return made(pullsOf(m.store, p.Root).as(images, o.flags.at(e))), err
}

// noteImages says which images stand as the manifests have them, and which
// references are probably meant to be the project's.
func noteImages(w io.Writer, found *deploy.Injection, refs map[string]string, e config.Environment) {
	var missing []string
	for service := range found.Uses {
		if refs[service] == "" {
			missing = append(missing, service)
		}
	}
	if len(missing) > 0 {
		hint := "`--build` builds them first"
		if !e.Up && e.Context != "" {
			hint = "`--images FILE` takes those that kdev build --push made"
		}
		fmt.Fprintf(w, "note: as the manifests name them: the images of %s; %s\n", strings.Join(sorted(missing), ", "), hint)
	}
	for _, look := range found.Lookalikes {
		fmt.Fprintf(w, "note: %s\n", look)
	}
}

// workloadsOf are the workloads of a service, or the one of that name.
func workloadsOf(p *config.Project, objects []*deploy.Object, name string) ([]deploy.Ref, error) {
	all := servicesOf(p, objects)
	var names []string
	for _, s := range all {
		if s.name == name {
			return s.workloads, nil
		}
		names = append(names, s.name)
	}
	return nil, &problem.Problem{Class: problem.Usage, Code: "service-unknown", Summary: "no manifest runs a service " + name, Hint: "there are: " + strings.Join(names, ", ")}
}

// writeObjects writes objects as YAML, a document each. Keys are sorted, so equal
// objects are equal bytes.
func writeObjects(w io.Writer, objects []*deploy.Object) error {
	var b strings.Builder
	for i, o := range objects {
		if i > 0 {
			b.WriteString("---\n")
		}
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return fmt.Errorf("writing %s: %w", deploy.RefOf(o), err)
		}
		b.Write(text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
