package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/sync/mirror"
)

func newSyncPull(env Env) *cobra.Command {
	var flags projectFlags
	var pod, most string
	cmd := &cobra.Command{
		Use:   "pull SERVICE:PATH [DEST]",
		Short: "Copy one file out of a container, once",
		Long: `Pull copies a file of a service's container to this machine, once: a lock file that
a command in the container wrote, a generated migration. PATH is absolute in the
container; DEST is a file or a folder, by default the current folder. Nothing
else ever copies from a container to the local tree.`,
		Example: "  kdev sync pull web:/app/package-lock.json web/",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 || !strings.Contains(args[0], ":") {
				return usageError(cmd, cmd.CommandPath()+" takes SERVICE:PATH and perhaps a destination")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			service, file, _ := strings.Cut(args[0], ":")
			dest := "."
			if len(args) == 2 {
				dest = args[1]
			}
			limit, err := resource.ParseQuantity(most)
			if err != nil || limit.Value() <= 0 {
				return usageError(cmd, fmt.Sprintf("--max-size %q is no size such as 500Mi or 2Gi", most))
			}
			return runSyncPull(cmd.Context(), env, flags, service, pod, file, dest, limit.Value())
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&pod, "pod", "", "pod to copy from (default: the first one)")
	cmd.Flags().StringVar(&most, "max-size", "1Gi", "refuse a larger `size`")
	return cmd
}

func runSyncPull(ctx context.Context, env Env, flags projectFlags, service, pod, file, dest string, limit int64) error {
	v, err := flags.containers(ctx, env)
	if err != nil {
		return err
	}
	defer v.close()
	cs, ok := v.project.Service(service)
	if !ok || cs.Build == nil {
		return &problem.Problem{Class: problem.Usage, Code: "usage", Summary: "there is no service " + service + " whose files are synced", Hint: "`kdev sync status` lists them"}
	}
	to := absIn(env.Dir, dest)
	if info, err := os.Stat(to); err == nil && info.IsDir() || strings.HasSuffix(dest, "/") {
		to = filepath.Join(to, path.Base(file))
	}
	for _, c := range v.running(*cs) {
		if pod == "" || c.Pod == pod {
			return v.pull(ctx, env, c, file, to, limit)
		}
	}
	return noContainer(service, v.project.Namespace)
}

// pull writes beside the destination first, so that a copy that breaks off leaves
// the file as it was.
func (v *syncView) pull(ctx context.Context, env Env, c mirror.Container, file, to string, limit int64) error {
	o, err := mirror.Observe(ctx, v.dial, c)
	if err != nil {
		return err
	}
	defer o.Close()
	temp, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*")
	if err != nil {
		return pullProblem(to, err)
	}
	mode, err := o.Pull(ctx, file, limit, temp)
	if closeErr := temp.Close(); err == nil && closeErr != nil {
		err = pullProblem(to, closeErr)
	}
	if err == nil {
		if err = errors.Join(os.Chmod(temp.Name(), mode.Perm()|0o200), os.Rename(temp.Name(), to)); err != nil {
			err = pullProblem(to, err)
		}
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // that it stays would be the lesser trouble
		return err
	}
	_, err = fmt.Fprintf(env.Out, "%s from %s/%s\n", to, c.Pod, c.Name)
	return err
}

func pullProblem(to string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &problem.Problem{Code: "sync-pull", Summary: "cannot write " + to, Err: err}
}
