package cli

import (
	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/internal/term"
)

func newEvents(env Env) *cobra.Command {
	var flags projectFlags
	var output string
	var follow bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print what happened in the running kdev up",
		Long: `Events prints what happened in the running "kdev up", oldest first, the last thousand at
least; with --follow also what comes. With --output json each is one object on one line,
of the form that "kdev up --output json" writes.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, output, "text", "json"); err != nil {
				return err
			}
			about, err := flags.running(env)
			if err != nil {
				return err
			}
			remote := control.New(env.Getenv, about)
			defer remote.Close()
			show := (&jsonFace{out: env.Out}).notice
			if output == "text" {
				facts := term.Detect(env.Out, term.ColorAuto, env.Getenv)
				show = (&plain{out: env.Out, colour: facts.Color, width: len("kdev") + 8}).notice
			}
			ctx, end := untilClosed(cmd.Context(), env.Out)
			defer end()
			return remote.Events(ctx, follow, -1, show)
		},
	}
	flags.addRunning(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json: one object for each thing that happened")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "print what comes too, until the session ends")
	return cmd
}
