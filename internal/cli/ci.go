package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/session"
)

// cleanupLimit bounds how long an isolated namespace may take to go.
const cleanupLimit = 2 * time.Minute

// ciOptions are the flags of `kdev ci`.
type ciOptions struct {
	deployOptions
	isolated bool
	keep     bool
	report   string
}

func newCI(env Env) *cobra.Command {
	o := &ciOptions{deployOptions: deployOptions{env: env}}
	cmd := &cobra.Command{
		Use:   "ci",
		Short: "Build, deploy and wait until everything is ready, for a pipeline",
		Long: `Ci makes the production images, applies the manifests to a local cluster (made
where there is none) and waits until every service is ready. A rollout that fails
ends it with exit code 3 and the cause, one that is not done in time with 4.
--isolated uses a namespace of its own, which is gone afterwards; with --keep it
stays after a failure. --report writes what was done and how it ended: as JUnit
where the file is called *.xml, else as JSON.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			if err := checkTimeout(cmd, o.timeout); err != nil {
				return err
			}
			if o.report != "" {
				if s, err := os.Stat(filepath.Dir(o.reportFile())); err != nil || !s.IsDir() {
					return usageError(cmd, "--report "+o.report+": there is no folder for it")
				}
			}
			if o.keep && !o.isolated {
				return usageError(cmd, "--keep keeps the namespace of --isolated after a failure")
			}
			if o.isolated && o.flags.namespace != "" {
				return usageError(cmd, "--isolated makes a namespace of its own: leave out -n")
			}
			return o.run(cmd.Context())
		},
	}
	o.flags.add(env, cmd)
	f := cmd.Flags()
	f.StringVar(&o.images, "images", "", "deploy the images that this file of kdev build --out names, and build none")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long the apply may take, and the rollout after it")
	f.BoolVar(&o.isolated, "isolated", false, "use a namespace of its own and remove it afterwards")
	f.BoolVar(&o.keep, "keep", false, "with --isolated: keep the namespace after a failure")
	f.StringVar(&o.report, "report", "", "write a report: JUnit to *.xml, else JSON")
	f.StringVarP(&o.output, "output", "o", "text", "text or json: one object for each thing that happens")
	return cmd
}

func (o *ciOptions) run(ctx context.Context) error {
	p, e, err := o.flags.load(o.env)
	if err != nil {
		return err
	}
	var refs map[string]string
	if o.images != "" {
		if refs, err = readImages(o.env, o.images, p); err != nil {
			return err
		}
	}
	if o.isolated {
		e.Namespace = isolatedNamespace(p.Name)
	}
	if err := o.flags.apart(p, e); err != nil {
		return err
	}
	r := o.release(p, e)
	if o.isolated {
		r.aim.namespace, r.aim.context = e.Namespace, o.flags.at(e)
	}
	defer r.close()
	start := time.Now()
	if err = r.open(ctx, &o.flags, true); err == nil {
		if err = r.run(ctx, refs); err == nil {
			r.tell(session.Done, "deployed", "", fmt.Sprintf("everything is ready in namespace %s of %s", e.Namespace, r.cluster.Context), time.Since(start))
		}
		if o.isolated {
			err = errors.Join(err, o.cleanUp(ctx, r, err))
		}
	}
	err = r.aim.err(err)
	r.fail(err)
	if o.report != "" {
		err = errors.Join(err, writeReport(o.reportFile(), r, start, err))
	}
	return single(err)
}

func (o *ciOptions) reportFile() string {
	if filepath.IsAbs(o.report) {
		return o.report
	}
	return filepath.Join(o.env.Dir, o.report)
}

// single takes a join of one error apart again.
func single(err error) error {
	if list := each(err); err != nil && len(list) == 1 {
		return list[0]
	}
	return err
}

// isolatedNamespace is a name that no other run has.
func isolatedNamespace(project string) string {
	name := project + "-ci-" + strings.ToLower(rand.Text()[:6])
	return strings.TrimLeft(name[max(0, len(name)-63):], "-")
}

// cleanUp removes the namespace, also after an interruption.
func (o *ciOptions) cleanUp(ctx context.Context, r *release, failed error) error {
	if failed != nil && o.keep {
		r.tell(session.Info, "kept", "", fmt.Sprintf("kept namespace %s; `kdev status` looks at it, `kdev down --volumes` removes it", r.e.Namespace), 0)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	start := time.Now()
	if _, err := r.deployer.Down(ctx, deploy.DownOptions{Volumes: true, All: true, Progress: r.progress}); err != nil {
		return err
	}
	r.tell(session.Done, "removed", "", "removed namespace "+r.e.Namespace, time.Since(start))
	return nil
}
