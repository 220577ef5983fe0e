package cli

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/buildkit"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// A kubeOpener opens a cluster when it is first needed.
type kubeOpener func(ctx context.Context) (*kube.Client, error)

// opened is a kubeOpener of a client that is there.
func opened(kc *kube.Client) kubeOpener {
	return func(context.Context) (*kube.Client, error) { return kc, nil }
}

// withBuildKit is how builds run steps for the project: in the BuildKit that
// BUILDKIT_HOST or kdev.yaml names, else as ever. What is returned beside is called
// when no build runs any more.
func withBuildKit(env Env, p *config.Project, open kubeOpener, progress func(string)) ([]build.Option, func(), error) {
	b := p.BuildKit
	address := cmp.Or(env.Getenv("BUILDKIT_HOST"), b.Address)
	if address == "" {
		return nil, func() {}, nil
	}
	server, err := buildkit.Open(buildkit.Options{
		Address: address,
		TLS:     buildkit.TLS{CA: b.CA, Cert: b.Cert, Key: b.Key, ServerName: b.ServerName},
		Image:   b.Image, Rootless: b.Rootless, Config: b.Config,
		Cluster: open, Progress: progress,
	})
	if err != nil {
		return nil, nil, err
	}
	return []build.Option{build.BuildKit(server)}, server.Close, nil
}

// foundCluster opens the cluster of a command that needs none itself, the first time.
// One that is not there is not made. The returned function closes what was opened.
func foundCluster(p *config.Project, progress func(string)) (kubeOpener, func()) {
	var mu sync.Mutex
	var kc *kube.Client
	open := func(ctx context.Context) (*kube.Client, error) {
		mu.Lock()
		defer mu.Unlock()
		if kc != nil {
			return kc, nil
		}
		find := (&projectFlags{}).cluster(p, progress)
		find.NoCreate = true
		c, err := cluster.Ensure(ctx, find)
		if none := problem.As(err); none != nil && (none.Code == "cluster-missing" || none.Code == "engine-missing") {
			return nil, &problem.Problem{Code: "buildkit-missing", Summary: "there is no cluster for BuildKit to be started in", Err: err,
				Hint: "make one that is local, `kdev cluster create`; or allow one by name, `contexts: [NAME]` in kdev.yaml, and make it the current context"}
		}
		if err != nil {
			return nil, err
		}
		kc, err = kube.New(c.Kubeconfig, c.Context)
		return kc, err
	}
	return open, func() {
		mu.Lock()
		defer mu.Unlock()
		if kc != nil {
			kc.Close()
		}
	}
}

func newBuildKit(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "buildkit",
		Short: "Remove the BuildKit that kdev has started in a cluster",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBuildKitRemove(env))
	return cmd
}

func newBuildKitRemove(env Env) *cobra.Command {
	var flags projectFlags
	cmd := &cobra.Command{
		Use:   "rm",
		Short: "Remove the BuildKit that kdev has started in the cluster, with its cache",
		Long: `Rm removes what "buildkit: cluster" in kdev.yaml has started in the cluster: the
namespace ` + buildkit.Namespace + ` and all that is in it. Builds that run there fail. The next
build that needs it starts it again.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := &config.Project{}
			if _, err := config.Find(env.Dir); err == nil {
				if p, err = flags.load(env); err != nil {
					return err
				}
			}
			return flags.removeBuildKit(cmd.Context(), env, p)
		},
	}
	cmd.Flags().StringVar(&flags.context, "context", "", "kubeconfig context (default: the current one if it is local, else kind-kdev)")
	return cmd
}

func (f *projectFlags) removeBuildKit(ctx context.Context, env Env, p *config.Project) error {
	find := f.cluster(p, steps(env))
	find.NoCreate = true
	c, err := cluster.Ensure(ctx, find)
	if missing := problem.As(err); missing != nil && missing.Code == "cluster-missing" {
		_, err = fmt.Fprintln(env.Out, "there is no local cluster, so no BuildKit runs in it")
		return err
	}
	if err != nil {
		return err
	}
	kc, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return err
	}
	defer kc.Close()
	found, err := buildkit.Remove(ctx, kc)
	switch {
	case err != nil:
		return err
	case !found:
		_, err = fmt.Fprintf(env.Out, "no BuildKit of kdev's runs in %s\n", c.Context)
	default:
		_, err = fmt.Fprintf(env.Out, "removed namespace %s from %s\n", buildkit.Namespace, c.Context)
	}
	return err
}
