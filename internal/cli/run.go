package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

func newRun(env Env) *cobra.Command {
	o := &execOptions{env: env}
	cmd := &cobra.Command{
		Use:   "run TASK [-- ARGUMENT...]",
		Short: "Run a task of kdev.yaml in a container of its service",
		Long: `Run runs a command that kdev.yaml lists under tasks, in a container of the service that
it names, with a terminal where it is called from one. What follows -- goes to the
command as further arguments. The exit code is the command's; 125 means that kdev itself
failed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 1 && cmd.ArgsLenAtDash() != 1 {
				return usageError(cmd, "run takes a task, then -- and arguments")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			p, err := o.flags.load(env)
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return p.TaskNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := o.flags.load(env)
			if err != nil {
				return err
			}
			task, ok := p.Task(args[0])
			if !ok {
				return session.UnknownTask(args[0], p.TaskNames())
			}
			command := slices.Clone(task.Command)
			if shell := len(command) == 3 && command[0] == "sh" && command[1] == "-c"; shell && len(args) > 1 {
				return &problem.Problem{Class: problem.Usage, Code: "usage", Where: task.Where, Summary: "a command that is a string takes no arguments",
					Hint: "write it as a list: command: [python, migrate.py]"}
			}
			return o.ended(cmd.Context(), o.run(cmd.Context(), task.Service, append(command, args[1:]...)))
		},
	}
	o.flags.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.container, "container", "c", "", "container of the pod (default: the one with the service's image)")
	f.StringVar(&o.pod, "pod", "", "one of the service's pods (default: the newest that is ready)")
	return cmd
}
