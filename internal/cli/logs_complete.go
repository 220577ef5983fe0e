package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/logs/format"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/pods"
)

// logsChoices are the flags that take one of a few words.
var logsChoices = map[string][]string{
	"color":           {"always", "never", "auto"},
	"completion":      {"bash", "zsh", "fish", "powershell"},
	"container-state": {"running", "waiting", "terminated", "all"},
	"output":          format.Outputs(),
	"timestamps":      {"default", "short", "ms", "delta"},
	"palette":         {"default", "okabe-ito", "tol-light"},
	"level":           level.Names(),
	"until":           {"ready", "done", "failed"},
}

// complete registers what a shell may offer.
func (o *logsOptions) complete(cmd *cobra.Command) {
	for flag, words := range logsChoices {
		o.offer(cmd, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	o.offer(cmd, "namespace", o.names(func(ctx context.Context, c *logsCluster) ([]string, error) {
		list, err := c.client.Core.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var out []string
		for _, item := range list.Items {
			out = append(out, item.Name)
		}
		return out, nil
	}))
	o.offer(cmd, "node", o.names(func(ctx context.Context, c *logsCluster) ([]string, error) {
		list, err := c.client.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var out []string
		for _, item := range list.Items {
			out = append(out, item.Name)
		}
		return out, nil
	}))
	o.offer(cmd, "container", o.names(func(ctx context.Context, c *logsCluster) ([]string, error) {
		var out []string
		list, err := pods.List(ctx, c.client.Core, pods.Where{Namespaces: c.namespaces})
		for _, pod := range list {
			for _, container := range pod.Spec.Containers {
				out = append(out, container.Name)
			}
		}
		return out, err
	}))
	o.offer(cmd, "context", func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		loader, err := o.loader("")
		if err != nil {
			return completionError(err)
		}
		raw, err := loader.RawConfig()
		if err != nil {
			return completionError(err)
		}
		var out []string
		for name := range raw.Contexts {
			out = append(out, name)
		}
		return starting(out, start), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.ValidArgsFunction = o.completeQuery
}

// offer registers a completion; it fails only for a flag that does not exist, which
// a test would see.
func (o *logsOptions) offer(cmd *cobra.Command, flag string, fn cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err)
	}
}

// names completes from what a cluster holds.
func (o *logsOptions) names(list func(context.Context, *logsCluster) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		c, err := o.one(cmd.Context())
		if err != nil {
			return completionError(err)
		}
		defer c.client.Close()
		out, err := list(cmd.Context(), c)
		if err != nil {
			return completionError(err)
		}
		return starting(out, start), cobra.ShellCompDirectiveNoFileComp
	}
}

// one opens the first cluster that is meant: inside a project its own, as `kdev logs`
// does, but none is started for a completion.
func (o *logsOptions) one(ctx context.Context) (*logsCluster, error) {
	project, name, err := o.projectPlace(ctx, true)
	if err != nil {
		return nil, err
	}
	if project == nil && len(o.contexts) > 0 {
		name = o.contexts[0]
	}
	c, err := o.open(name)
	if err == nil && project != nil {
		c.namespaces = o.wanted(project.Namespace)
	}
	return c, err
}

// completeQuery offers the kinds, then the names behind KIND/.
func (o *logsOptions) completeQuery(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
	word, _, found := strings.Cut(start, "/")
	if !found {
		var out []string
		for _, kind := range pods.KindNames() {
			out = append(out, kind+"/")
		}
		return starting(out, start), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	c, err := o.one(cmd.Context())
	if err != nil {
		return completionError(err)
	}
	defer c.client.Close()
	names, err := pods.Names(cmd.Context(), pods.NewOwners(c.client.Dynamic, c.client.Mapper), word, c.namespaces)
	if err != nil {
		return completionError(err)
	}
	for i, name := range names {
		names[i] = word + "/" + name
	}
	return starting(names, start), cobra.ShellCompDirectiveNoFileComp
}

func starting(names []string, start string) []string {
	names = slices.DeleteFunc(names, func(s string) bool { return !strings.HasPrefix(s, start) })
	slices.Sort(names)
	return slices.Compact(names)
}

func completionError(err error) ([]string, cobra.ShellCompDirective) {
	cobra.CompError(err.Error())
	return nil, cobra.ShellCompDirectiveError
}

// writeCompletion prints the script of a shell, as stern's flag does.
func (o *logsOptions) writeCompletion(cmd *cobra.Command) error {
	var b bytes.Buffer
	var err error
	root := cmd.Root()
	switch o.completion {
	case "bash":
		err = root.GenBashCompletionV2(&b, true)
	case "zsh":
		if err = root.GenZshCompletion(&b); err == nil {
			fmt.Fprintf(&b, "compdef _%[1]s %[1]s\n", root.Name()) // so that `source` is enough
		}
	case "fish":
		err = root.GenFishCompletion(&b, true)
	case "powershell":
		err = root.GenPowerShellCompletionWithDesc(&b)
	default:
		err = badLogs(fmt.Errorf("unsupported shell type: %q", o.completion))
	}
	if err != nil {
		return err
	}
	_, err = o.env.Out.Write(b.Bytes())
	return err
}
