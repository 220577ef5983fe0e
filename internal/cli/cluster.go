package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/cluster"
)

func newCluster(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Create, list and delete local clusters",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newClusterCreate(env), newClusterDelete(env), newClusterList(env), newClusterStart(env), newClusterStop(env))
	return cmd
}

// clusterName takes the one optional argument of the cluster commands.
func clusterName(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError(cmd, fmt.Sprintf("%s takes one name, got %d", cmd.CommandPath(), len(args)))
	}
	return nil
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// steps writes progress lines to stderr: stdout is for results.
func steps(env Env) func(string) {
	return func(text string) { fmt.Fprintln(env.Err, "·", text) }
}

func newClusterCreate(env Env) *cobra.Command {
	var o cluster.Options
	cmd := &cobra.Command{
		Use:   "create [NAME]",
		Short: "Create a kind cluster (default: kdev) and wait until it is ready",
		Long: `Create makes a kind cluster and waits until it is ready. The kubeconfig gets a
context kind-NAME; the current context stays what it is.`,
		Args: clusterName,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name, o.Progress = first(args), steps(env)
			start := time.Now()
			c, err := cluster.Create(cmd.Context(), o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Out, "cluster %s is ready (%s); its context is %s\n", c.Name, took(time.Since(start)), c.Context)
			return err
		},
	}
	cmd.Flags().IntVar(&o.Nodes, "nodes", 1, "number of nodes")
	cmd.Flags().StringVar(&o.Version, "version", "", "Kubernetes version, for example v1.36 (default: that of the kind release)")
	cmd.Flags().StringVar(&o.NodeImage, "image", "", "kind node image")
	return cmd
}

func newClusterDelete(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "delete [NAME]",
		Short: "Delete a kind cluster (default: kdev) and its context",
		Args:  clusterName,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := cluster.Options{Name: first(args), Progress: steps(env)}
			found, err := cluster.Delete(cmd.Context(), o)
			if err != nil {
				return err
			}
			name := o.Name
			if name == "" {
				name = cluster.DefaultName
			}
			if !found {
				_, err = fmt.Fprintf(env.Out, "there is no cluster %s\n", name)
				return err
			}
			_, err = fmt.Fprintf(env.Out, "cluster %s is deleted\n", name)
			return err
		},
	}
}

func newClusterStart(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "start [NAME]",
		Short: "Start a stopped kind cluster (default: kdev)",
		Args:  clusterName,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cluster.Start(cmd.Context(), cluster.Options{Name: first(args), Progress: steps(env)})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Out, "cluster %s is ready; its context is %s\n", c.Name, c.Context)
			return err
		},
	}
}

func newClusterStop(env Env) *cobra.Command {
	return &cobra.Command{
		Use:   "stop [NAME]",
		Short: "Stop a kind cluster (default: kdev); its state stays",
		Args:  clusterName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return cluster.Stop(cmd.Context(), cluster.Options{Name: first(args), Progress: steps(env)})
		},
	}
}

func newClusterList(env Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List local clusters",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, output, "text", "json"); err != nil {
				return err
			}
			entries, err := cluster.List(cmd.Context(), cluster.Options{})
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(env.Out, map[string]any{"apiVersion": apiVersion, "clusters": entries})
			}
			if len(entries) == 0 {
				_, err := fmt.Fprintln(env.Out, "no local cluster; `kdev cluster create` makes one")
				return err
			}
			w := tabwriter.NewWriter(env.Out, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "CURRENT\tNAME\tPROVIDER\tCONTEXT\tSTATE\tNODES")
			for _, e := range entries {
				current := ""
				if e.Current {
					current = "*"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", current, e.Name, e.Provider, e.Context, e.State, strings.Join(e.Nodes, ","))
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}
