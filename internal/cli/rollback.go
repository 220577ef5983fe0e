package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/session"
)

// rollbackOptions are the flags of `kdev rollback`.
type rollbackOptions struct{ deployOptions }

func newRollback(env Env) *cobra.Command {
	o := &rollbackOptions{deployOptions{env: env}}
	cmd := &cobra.Command{
		Use:   "rollback [SERVICE]",
		Short: "Run the last image of a service that was ready, instead of the one that runs",
		Long: `Rollback puts the newest image of a service that was ready, and is not the one that
runs, back into its workloads and waits for the rollout. Containers of other services
in these keep the image that they run; everything else of the manifests is as it is now.
Jobs and a chart's hooks are left alone. Without a service it lists the images that were ready,
the newest first.`,
		ValidArgsFunction: completeServices(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			if err := checkTimeout(cmd, o.timeout); err != nil {
				return err
			}
			if len(args) > 1 {
				return usageError(cmd, "kdev rollback takes one service at most")
			}
			return o.run(cmd.Context(), args)
		},
	}
	o.flags.add(env, cmd)
	f := cmd.Flags()
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long the apply may take, and the rollout after it")
	f.StringVarP(&o.output, "output", "o", "text", "text or json: one object for each thing that happens")
	return cmd
}

func (o *rollbackOptions) run(ctx context.Context, args []string) error {
	p, e, err := o.flags.load(o.env)
	if err != nil {
		return err
	}
	if err := o.flags.apart(p, e); err != nil && len(args) > 0 {
		return err
	}
	r := o.release(p, e)
	r.reads = len(args) == 0
	defer r.close()
	if err := r.open(ctx, &o.flags, false); err != nil {
		return err
	}
	all, err := r.deployer.Releases(ctx)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return o.list(all)
	}
	if err := r.aim.err(o.back(ctx, r, args[0], all[args[0]])); err != nil {
		r.fail(err)
		return err
	}
	return nil
}

// list writes what there is to roll back to.
func (o *rollbackOptions) list(all map[string][]deploy.Release) error {
	if o.output == "json" {
		return writeJSON(o.env.Out, struct {
			APIVersion string                      `json:"apiVersion"`
			Releases   map[string][]deploy.Release `json:"releases"`
		}{apiVersion, all})
	}
	w := tabwriter.NewWriter(o.env.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tREADY SINCE\tIMAGE")
	for _, service := range slices.Sorted(maps.Keys(all)) {
		for _, r := range slices.Backward(all[service]) {
			fmt.Fprintf(w, "%s\t%s\t%s\n", service, r.Time.Local().Format("2006-01-02 15:04:05"), r.Ref)
		}
	}
	return w.Flush()
}

// back puts the image before the running one into the workloads of a service.
func (o *rollbackOptions) back(ctx context.Context, r *release, service string, list []deploy.Release) error {
	start := time.Now()
	objects, err := render(ctx, r.env, r.p, r.e, r.kube)
	if err != nil {
		return err
	}
	workloads, err := workloadsOf(r.p, objects, service)
	if err != nil {
		return err
	}
	objects = slices.DeleteFunc(objects, func(ob *deploy.Object) bool {
		return !slices.Contains(workloads, deploy.RefOf(ob)) || hasItsTime(ob)
	})
	if len(objects) == 0 {
		return &problem.Problem{Class: problem.Usage, Code: "rollback-none", Where: "service " + service, Summary: "it runs in Jobs and hooks alone, which do their work once",
			Hint: "check out the sources of that time and deploy them"}
	}
	images := slices.DeleteFunc(projectImages(r.p), func(im deploy.Image) bool { return im.Service != service })
	running, err := r.deployer.Live(ctx, objects, images)
	if err != nil {
		return err
	}
	to, ok := deploy.Previous(list, running[service])
	if !ok {
		return &problem.Problem{Class: problem.Usage, Code: "rollback-none", Where: "service " + service, Summary: "no other image of it was ready in this namespace",
			Hint: "`kdev rollback` lists those that were"}
	}
	dev, err := o.held(to.Ref)
	if err != nil {
		return err
	}
	refs := map[string]string{service: to.Ref}
	deploy.Inject(objects, put(r.p, images, refs, dev))
	if err := o.keepOthers(ctx, r, objects, service); err != nil {
		return err
	}
	if r.cluster.Provider != "" {
		if objects, err = withPullSecret(ctx, r.p, r.e.Namespace, objects, nil); err != nil {
			return err
		}
	}
	r.tell(session.Info, "rollback", service, "back to "+to.Ref+", ready since "+to.Time.Local().Format("2006-01-02 15:04:05"), 0)
	if err := r.roll(ctx, objects); err != nil {
		return err
	}
	if err := r.deployer.Record(ctx, refs); err != nil {
		return err
	}
	r.tell(session.Done, "rolled-back", service, "runs the image from before", time.Since(start))
	return nil
}

// hasItsTime says of a workload that it does its work once, at its time: a migration must
// not run with an image of before, and helm runs no hook of an upgrade on a rollback either.
func hasItsTime(o *deploy.Object) bool {
	return o.Hook != nil || o.GetKind() == "Job"
}

// keepOthers puts the images that run now into containers of other services than the one
// that is rolled back: their manifests name an image that only a build makes.
func (o *rollbackOptions) keepOthers(ctx context.Context, r *release, objects []*deploy.Object, service string) error {
	others := slices.DeleteFunc(projectImages(r.p), func(im deploy.Image) bool { return im.Service == service })
	store, err := openStore()
	if err != nil {
		return err
	}
	for _, ob := range objects {
		one := []*deploy.Object{ob}
		running, err := r.deployer.Live(ctx, one, others)
		if err != nil {
			return err
		}
		for used := range deploy.Inject(deploy.Copy(one), others).Uses {
			ref := running[used]
			if ref == "" {
				return &problem.Problem{Class: problem.Usage, Code: "rollback-unknown", Where: deploy.RefOf(ob).String(), Summary: "a container of it is of service " + used + ", and which image of that runs there is not known",
					Hint: "`kdev deploy` brings an image of each"}
			}
			_, digest, _ := strings.Cut(ref, "@")
			dev, ok := build.HasAgent(store, digest)
			images := slices.DeleteFunc(slices.Clone(others), func(im deploy.Image) bool { return im.Service != used })
			deploy.Inject(one, put(r.p, images, running, ok && dev))
		}
	}
	return nil
}

// held says whether a reference is a dev image, and refuses one of this machine's
// store that was collected since.
func (o *rollbackOptions) held(ref string) (dev bool, err error) {
	store, err := openStore()
	if err != nil {
		return false, err
	}
	// The cluster may pull from elsewhere what was built here.
	_, digest, _ := strings.Cut(ref, "@")
	dev, ok := build.HasAgent(store, digest)
	if !ok && strings.HasPrefix(ref, registry.Known(store).Host+"/") {
		return false, &problem.Problem{Code: "rollback-gone", Where: ref, Summary: "the image is no longer in the store of this machine",
			Hint: "check out the sources of that time and deploy them; `kdev registry gc --keep N` keeps more"}
	}
	return ok && dev, nil
}
