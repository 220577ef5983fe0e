package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
)

// downLimit is how long a removal may take: the longest grace periods of pods that are in
// use, and a volume's detachment, several times.
const downLimit = 5 * time.Minute

func newDown(env Env) *cobra.Command {
	var flags environmentFlags
	var o deploy.DownOptions
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove what `kdev up` deployed, and nothing else",
		Long: `Down removes every object that kdev applied for this project and waits until
it is gone. Persistent volume claims stay, and are named, unless --volumes is
given. The namespace goes when kdev created it and nothing is left in it. What included
projects deployed goes too. What does not go within --timeout is named with what holds
it, and the exit code is 4.

With -e it removes what kdev deploy brought to that environment instead, from the
namespace and the context that are the environment's.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkTimeout(cmd, limit); err != nil {
				return err
			}
			if flags.env != "" && flags.env != config.Dev {
				return flags.downEnvironment(cmd.Context(), env, o, limit)
			}
			options := withIncluded(cmd.Context(), steps(env))
			options.ManifestsLate = true // what is deployed is told by the cluster
			p, err := flags.loadWith(env, options)
			if err != nil {
				return err
			}
			patience := leaving
			for i, one := range append([]config.Included{{Project: p}}, p.Include...) {
				if i > 0 {
					fmt.Fprintf(env.Out, "%s, which is included:\n", one.Project.Name)
				}
				if patience, err = flags.downIn(cmd.Context(), env, one.Project, o, limit, patience); err != nil {
					return err
				}
			}
			return nil
		},
	}
	flags.add(env, cmd)
	cmd.Flags().BoolVar(&o.Volumes, "volumes", false, "remove persistent volume claims too")
	cmd.Flags().DurationVar(&limit, "timeout", downLimit, "how long it may take until everything is gone, for each project")
	return cmd
}

// downEnvironment removes what was deployed to an environment, and is as careful as the
// deploy was: where another one is in the same place, it removes nothing.
func (f *environmentFlags) downEnvironment(ctx context.Context, env Env, o deploy.DownOptions, limit time.Duration) error {
	p, e, err := f.find(env)
	if err != nil {
		return err
	}
	if err := f.apart(p, e); err != nil {
		return err
	}
	c, err := f.ensure(ctx, p, e, false, steps(env))
	if err == nil {
		err = f.apartIn(ctx, p, e, c)
	}
	at := *p
	at.Namespace = e.Namespace
	_, err = f.down(ctx, env, &at, c, err, f.aimAt(e), o, limit, leaving)
	return err
}

// downIn removes what one project deployed, where `kdev up` does.
func (f *environmentFlags) downIn(ctx context.Context, env Env, p *config.Project, o deploy.DownOptions, limit, patience time.Duration) (time.Duration, error) {
	find := f.cluster(p, steps(env))
	find.NoCreate = true
	c, err := cluster.Ensure(ctx, find)
	return f.down(ctx, env, p, c, err, f.aim(), o, limit, patience)
}

// down removes what one project deployed to a cluster; err says why that was not found. patience is how long a session may take to
// leave before, limit how long the removal itself; that of the next project is returned, since one session may have them all.
func (f *environmentFlags) down(ctx context.Context, env Env, p *config.Project, c *cluster.Cluster, err error, at aim, o deploy.DownOptions, limit, patience time.Duration) (time.Duration, error) {
	if p := problem.As(err); p != nil && p.Code == "cluster-missing" {
		_, err = fmt.Fprintln(env.Out, "there is no local cluster, so nothing is deployed")
		return patience, err
	}
	if err != nil {
		return patience, err
	}
	store, err := openStore()
	if err != nil {
		return patience, err
	}
	// A session that runs would put back what goes. One in the background has
	// nobody who would miss it.
	found, err := control.Find(env.Getenv, p.Root, c.Context, p.Namespace)
	if err == nil && len(found) == 1 {
		if err := found[0].Suspended(); err != nil {
			return patience, err
		}
		if stopDetached(ctx, env, found[0]) {
			patience = stopped
		}
	}
	unlock, err := onlyOne(ctx, store, c.Context, p, patience)
	if err != nil {
		return patience, inSight(err)
	}
	defer unlock()
	kc, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return patience, err
	}
	defer kc.Close()
	start := time.Now()
	deployer := deploy.New(kc, deploy.Options{Project: p.Name, Namespace: p.Namespace, Root: p.Root, Progress: steps(env)})
	defer deployer.Close()
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	o.Progress = steps(env)
	report, err := deployer.Down(limited, o)
	writeDown(env, p.Namespace, at, report, err, time.Since(start))
	return patience, err
}

// inSight says of a session that kept a removal from beginning what ends it: somebody looks
// at it, so that `kdev down` does not.
func inSight(err error) error {
	p := problem.As(err)
	if p == nil || p.Code != "already-up" {
		return err
	}
	said := *p
	said.Summary = "a `kdev up` is at work there, in a terminal, and would put back what goes"
	said.Hint = "end it first, by Ctrl-C or `kdev stop`, and run this again; or `: remove` in its dashboard ends it and removes what was deployed, without volumes"
	return &said
}

// stopDetached ends the session of the project that runs in the background, and
// says whether there was one.
func stopDetached(ctx context.Context, env Env, about control.About) bool {
	if !about.Detached {
		return false
	}
	remote := control.New(env.Getenv, about)
	defer remote.Close()
	_, err := remote.Do(ctx, session.Command{Verb: session.DoStop})
	if err == nil {
		fmt.Fprintf(env.Out, "ended the kdev up in the background (process %d)\n", about.PID)
	}
	return err == nil
}

// writeDown says what went and what stays, also where a removal ended with an error.
func writeDown(env Env, namespace string, at aim, r *deploy.DownReport, failed error, elapsed time.Duration) {
	switch {
	case len(r.Removed) > 0:
		fmt.Fprintf(env.Out, "removed %d objects (%s): %s\n", len(r.Removed), took(elapsed), strings.Join(r.Removed, " "))
	case failed == nil:
		fmt.Fprintf(env.Out, "nothing of this project is deployed in namespace %s\n", namespace)
	}
	for _, l := range r.Left {
		fmt.Fprintf(env.Out, "left %s: %s\n", l.Object, l.Why)
	}
	if len(r.KeptVolumes) > 0 {
		fmt.Fprintf(env.Out, "kept volumes: %s\nhint: %s removes them and their data\n", strings.Join(r.KeptVolumes, " "), at.text("`kdev down --volumes`"))
	}
	for _, k := range r.Kept {
		fmt.Fprintf(env.Out, "kept %s: %s\n", k.Object, k.Why)
	}
	switch {
	case r.Namespace:
		fmt.Fprintf(env.Out, "removed namespace %s\n", namespace)
	case r.KeptNamespace != "":
		fmt.Fprintf(env.Out, "kept namespace %s: %s\n", namespace, r.KeptNamespace)
	}
}
