package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/term"
)

// deployOptions are the flags of `kdev deploy`.
type deployOptions struct {
	env     Env
	flags   environmentFlags
	images  string
	timeout time.Duration
	output  string

	recreate bool
}

func newDeploy(env Env) *cobra.Command {
	o := &deployOptions{env: env}
	cmd := &cobra.Command{
		Use:   "deploy -e ENVIRONMENT",
		Short: "Bring an environment to its cluster and wait until it is ready",
		Long: `Deploy applies the manifests of an environment with production images, waits for
the rollout, and then removes what left the manifests. It is the only command that
writes to an environment other than that of kdev up. Images are those that --images
names (kdev build --push --out made them); for a cluster of this machine they are
built where the option is left out.

The exit code is 3 when the rollout fails, with the cause, and 4 when it is not
done in time.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			if o.flags.env == "" {
				return usageError(cmd, "kdev deploy wants an environment: -e NAME")
			}
			if err := checkTimeout(cmd, o.timeout); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.flags.add(env, cmd)
	cmd.Flags().Lookup("env").Usage = "environment of kdev.yaml; dev is what kdev up brings up"
	f := cmd.Flags()
	f.StringVar(&o.images, "images", "", "deploy the images that this file of kdev build --out names")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long the apply may take, and the rollout after it")
	f.BoolVar(&o.recreate, "recreate", false, "delete workloads that run and make them anew where a field cannot be changed otherwise")
	f.StringVarP(&o.output, "output", "o", "text", "text or json: one object for each thing that happens")
	return cmd
}

// checkTimeout refuses a time in which nothing can be done.
func checkTimeout(cmd *cobra.Command, timeout time.Duration) error {
	if timeout <= 0 {
		return usageError(cmd, "--timeout "+timeout.String()+": give it more than no time, as 5m")
	}
	return nil
}

func (o *deployOptions) run(ctx context.Context) error {
	p, e, err := o.flags.load(o.env)
	if err != nil {
		return err
	}
	if err := o.flags.apart(p, e); err != nil {
		return err
	}
	var refs map[string]string
	if o.images != "" {
		if refs, err = readImages(o.env, o.images, p); err != nil {
			return err
		}
	}
	r := o.release(p, e)
	defer r.close()
	start := time.Now()
	if err = r.open(ctx, &o.flags, false); err == nil {
		err = r.run(ctx, refs)
	}
	if err != nil {
		err = r.aim.err(err)
		r.fail(err)
		return err
	}
	r.tell(session.Done, "deployed", "", fmt.Sprintf("environment %s is ready in namespace %s of %s", e.Name, e.Namespace, r.cluster.Context), time.Since(start))
	return nil
}

func (o *deployOptions) release(p *config.Project, e config.Environment) *release {
	colour := term.Detect(o.env.Out, term.ColorAuto, o.env.Getenv).Color
	return &release{env: o.env, p: p, e: e, aim: o.flags.aimAt(e), timeout: o.timeout, recreate: o.recreate, face: releaseFace(o.env, p, o.output, colour)}
}
