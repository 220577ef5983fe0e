package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/term"
)

// exitDiffers is diff(1)'s; an error is above it.
const exitDiffers = 1

// diffOptions are the flags of `kdev diff`.
type diffOptions struct {
	env      Env
	flags    environmentFlags
	against  string
	declared bool
	images   string
	output   string
}

func newDiff(env Env) *cobra.Command {
	o := &diffOptions{env: env}
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Show what would change in the cluster, field by field",
		Long: `Diff compares the manifests of an environment with what is in its cluster and
writes nothing: the API server computes each change in a dry run. Values of
Secrets are masked. With --against it compares with the manifests of another
environment, and asks a cluster only what its charts ask; with --declared it lists every field that kdev
itself changes in the manifests.

The exit code is 0 when nothing differs, 1 when something does, and above 1
after an error.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.flags.add(env, cmd)
	o.flags.addEnv(env, cmd, &o.against, "against", "", "compare with the manifests of this environment instead of a cluster")
	f := cmd.Flags()
	f.BoolVar(&o.declared, "declared", false, "list the fields in which kdev changes the manifests")
	f.StringVar(&o.images, "images", "", "take the images that this file of kdev build --out names")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	cmd.MarkFlagsMutuallyExclusive("against", "declared", "images")
	return cmd
}

func (o *diffOptions) run(ctx context.Context) error {
	diffs, err := o.diff(ctx)
	if err != nil {
		return aboveOne(err)
	}
	if o.output == "json" {
		if diffs == nil {
			diffs = []deploy.ObjectDiff{}
		}
		err = writeJSON(o.env.Out, struct {
			APIVersion string              `json:"apiVersion"`
			Objects    []deploy.ObjectDiff `json:"objects"`
		}{apiVersion, diffs})
	} else {
		_, err = deploy.WriteDiff(o.env.Out, diffs, term.Detect(o.env.Out, term.ColorAuto, o.env.Getenv).Color)
	}
	if err != nil {
		return aboveOne(err)
	}
	if len(diffs) > 0 {
		return exitCode(exitDiffers)
	}
	return nil
}

func (o *diffOptions) diff(ctx context.Context) ([]deploy.ObjectDiff, error) {
	p, e, err := o.flags.load(o.env)
	if err != nil {
		return nil, err
	}
	if o.against == "" && !o.declared {
		return o.live(ctx, p, e)
	}
	cluster := o.flags.seen(ctx, o.env, p, e)
	if cluster != nil {
		defer cluster.Close()
	}
	objects, err := render(ctx, o.env, p, e, cluster)
	if err != nil {
		return nil, err
	}
	if o.declared {
		return o.changes(ctx, p, e, objects)
	}
	return o.between(ctx, p, e, objects)
}

// between compares two renders, the other one for its own cluster. Both go into one
// namespace: which they are for is no difference between their objects, and what a chart makes
// up at each render is none either.
func (o *diffOptions) between(ctx context.Context, p *config.Project, e config.Environment, objects []*deploy.Object) ([]deploy.ObjectDiff, error) {
	other, err := p.Environment(o.against)
	if err != nil {
		return nil, err
	}
	var own environmentFlags
	if other.Context == "" {
		own.context = o.flags.context // where kdev up is
	}
	cluster := own.seen(ctx, o.env, p, other)
	if cluster != nil {
		defer cluster.Close()
	}
	to, err := render(ctx, o.env, p, other, cluster)
	if err != nil {
		return nil, err
	}
	for _, side := range [][]*deploy.Object{objects, to} {
		if _, err := deploy.Settle(ctx, nil, "", side); err != nil {
			return nil, err
		}
	}
	deploy.WithoutNamespace(objects, e.Namespace, p.Namespace)
	deploy.WithoutNamespace(to, other.Namespace, p.Namespace)
	return deploy.Compare(objects, to), nil
}

// changes lists what kdev changes in a plain render.
func (o *diffOptions) changes(ctx context.Context, p *config.Project, e config.Environment, objects []*deploy.Object) ([]deploy.ObjectDiff, error) {
	refs := map[string]string{}
	if e.Up || e.Context == "" {
		var err error
		if refs, err = storedRefs(ctx, o.flags.at(e), p, e.Up); err != nil {
			return nil, err
		}
	}
	injected := deploy.Copy(objects)
	found := deploy.Inject(injected, put(p, projectImages(p), refs, e.Up))
	noteImages(o.env.Err, found, refs, e)
	if e.Up || e.Context == "" {
		var err error
		if injected, err = withPullSecret(ctx, p, e.Namespace, injected, nil); err != nil {
			return nil, err
		}
	}
	d := deploy.New(nil, deploy.Options{Project: p.Name, Namespace: e.Namespace, Root: p.Root})
	defer d.Close()
	return d.Declared(objects, injected), nil
}

// live compares with the cluster.
func (o *diffOptions) live(ctx context.Context, p *config.Project, e config.Environment) ([]deploy.ObjectDiff, error) {
	c, err := o.flags.ensure(ctx, p, e, false, steps(o.env))
	if err != nil {
		return nil, err
	}
	kc, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return nil, err
	}
	defer kc.Close()
	d := deploy.New(kc, deploy.Options{Project: p.Name, Namespace: e.Namespace, Root: p.Root})
	defer d.Close()
	objects, err := render(ctx, o.env, p, e, kc)
	if err != nil {
		return nil, err
	}
	refs, err := o.refs(ctx, p, e, d, objects)
	if err != nil {
		return nil, err
	}
	deploy.Inject(objects, refs)
	if c.Provider != "" {
		if objects, err = withPullSecret(ctx, p, e.Namespace, objects, nil); err != nil {
			return nil, err
		}
	}
	return d.Diff(ctx, objects)
}

// refs are the images to compare with. One that is not built from the files as
// they are now counts as the one that runs: what differs is not known yet.
func (o *diffOptions) refs(ctx context.Context, p *config.Project, e config.Environment, d *deploy.Deployer, objects []*deploy.Object) ([]deploy.Image, error) {
	images := projectImages(p)
	var refs map[string]string
	var err error
	switch {
	case o.images != "":
		refs, err = readImages(o.env, o.images, p)
	case e.Up || e.Context == "":
		refs, err = storedRefs(ctx, o.flags.at(e), p, e.Up)
	}
	if err != nil {
		return nil, err
	}
	running, err := d.Live(ctx, objects, images)
	if err != nil {
		return nil, err
	}
	if o.images == "" {
		refs = asTheyRun(refs, running)
	}
	out := put(p, images, refs, e.Up && o.images == "")
	var unknown []string
	for i := range out {
		im := &out[i]
		if im.Ref == "" && running[im.Service] != "" {
			im.Ref = running[im.Service]
			if e.Up {
				*im = inDev(p, *im)
			}
			unknown = append(unknown, im.Service)
		}
	}
	if len(unknown) > 0 {
		fmt.Fprintf(o.env.Err, "note: compared as they run: the images of %s, which are not built from the files as they are now\n", strings.Join(sorted(unknown), ", "))
	}
	return out, nil
}

// aboveOne keeps an error from looking like a difference.
func aboveOne(err error) error {
	if codeOf(err) > exitDiffers {
		return err
	}
	return withCode{err, int(problem.Usage)}
}
