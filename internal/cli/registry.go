package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/registry"
)

func newRegistry(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Look at the image store, clean it up, serve it or stop serving it",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRegistryList(env), newRegistryGC(env), newRegistryServe(env), newRegistryRemove(env))
	return cmd
}

// openStore opens the store that every kdev of this user shares.
func openStore() (*registry.Store, error) {
	dir, err := registry.DefaultDir()
	if err != nil {
		return nil, err
	}
	return registry.OpenStore(dir)
}

func newRegistryList(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the repositories and tags of the image store",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			repos, err := store.Repositories()
			if err != nil {
				return err
			}
			if len(repos) == 0 {
				_, err := fmt.Fprintf(env.Out, "the image store in %s is empty\n", store.Dir())
				return err
			}
			size, err := store.Size()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(env.Out, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "REPOSITORY\tTAGS")
			for _, repo := range repos {
				tags, err := store.Tags(repo)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%s\n", repo, strings.Join(tags, " "))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Out, "%s in %s\n", megabytes(size), store.Dir())
			return err
		},
	}
}

func newRegistryRemove(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "rm",
		Short: "Remove the container that serves the image store to clusters",
		Long: `Rm removes the container that serves the image store. The store stays, and the
next kdev up serves it again. Until then clusters cannot pull from it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			docker, err := client.New(client.FromEnv)
			if err != nil {
				return fmt.Errorf("finding the container engine: %w", err)
			}
			defer docker.Close()
			removed, err := registry.Remove(cmd.Context(), docker, store)
			if err != nil {
				return err
			}
			if !removed {
				_, err = fmt.Fprintln(env.Out, "the image store is not being served")
				return err
			}
			_, err = fmt.Fprintf(env.Out, "the image store in %s is no longer served\n", store.Dir())
			return err
		},
	}
}

func newRegistryServe(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve the image store to clusters, as kdev up does",
		Long: `Serve starts the container that serves the image store to clusters, if it does not
run yet, and says how to push to it. It goes on when kdev ends; "kdev registry rm"
removes it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			docker, err := client.New(client.FromEnv)
			if err != nil {
				return fmt.Errorf("finding the container engine: %w", err)
			}
			defer docker.Close()
			e, err := registry.Ensure(cmd.Context(), docker, store, steps(env))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Out, "pods pull from %s\nthis machine pushes to %s; the password is in %s\n", e.Host, e.PushHost, filepath.Join(store.Dir(), "kdev", "registry", "token"))
			return err
		},
	}
}
