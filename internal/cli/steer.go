package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
)

// steer asks the running session for something and prints its answer.
func (f *projectFlags) steer(cmd *cobra.Command, env Env, c session.Command) error {
	about, err := f.running(env)
	if err != nil {
		return err
	}
	remote := control.New(env.Getenv, about)
	defer remote.Close()
	text, err := remote.Do(cmd.Context(), c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.Out, text)
	return err
}

// stateOf is how the running session is now.
func (f *projectFlags) stateOf(cmd *cobra.Command, env Env) (*session.State, error) {
	about, err := f.running(env)
	if err != nil {
		return nil, err
	}
	remote := control.New(env.Getenv, about)
	defer remote.Close()
	return remote.Once(cmd.Context())
}

// kinds are what `kdev trigger SVC` may be told to do.
var kinds = map[string]session.Verb{
	"build": session.DoBuild, "sync": session.DoSync, "deploy": session.DoDeploy, "restart": session.DoRestart,
}

func newTrigger(env Env) *cobra.Command {
	var flags projectFlags
	cmd := &cobra.Command{
		Use:   "trigger SERVICE [build|sync|deploy|restart]",
		Short: "Let a service go on with what was saved, or build, sync, deploy or restart it",
		Long: `Trigger asks the running "kdev up" to do something now. With a service alone: start it
where it has "start: manual", else go on with what was saved while it was paused or
because it has "trigger: manual". build makes its image anew; sync compares every
container with the tree and puts right what differs; deploy renders and applies the
manifests; restart starts its process anew, in place where kdev's agent is in the
container, else with new pods. The answer comes when it has begun: "kdev events -f"
shows how it goes on.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 || len(args) > 2:
				return usageError(cmd, "trigger takes a service, and build, sync, deploy or restart")
			case len(args) == 2 && kinds[args[1]] == "":
				return usageError(cmd, fmt.Sprintf("a service can be triggered to build, sync, deploy or restart, not to %q", args[1]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			verb := session.DoTrigger
			if len(args) == 2 {
				verb = kinds[args[1]]
			}
			return flags.steer(cmd, env, session.Command{Verb: verb, Service: args[0]})
		},
	}
	flags.addRunning(cmd)
	return cmd
}

func newPause(env Env) *cobra.Command {
	return oneOrAll(env, session.DoPause, &cobra.Command{
		Use:   "pause [SERVICE]",
		Short: "Let what is saved for a service wait, or for all of them",
		Long: `Pause lets what is saved from now on wait until "kdev resume" or "kdev trigger". What
runs goes on, and a pod that starts meanwhile gets the files that the others have.`,
	})
}

func newResume(env Env) *cobra.Command {
	return oneOrAll(env, session.DoResume, &cobra.Command{
		Use:   "resume [SERVICE]",
		Short: "Go on with a service that was paused, or with all of them",
	})
}

func oneOrAll(env Env, verb session.Verb, cmd *cobra.Command) *cobra.Command {
	var flags projectFlags
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError(cmd, cmd.Name()+" takes one service, or none for all of them")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c := session.Command{Verb: verb}
		if len(args) == 1 {
			c.Service = args[0]
		}
		return flags.steer(cmd, env, c)
	}
	flags.addRunning(cmd)
	return cmd
}

func newScale(env Env) *cobra.Command {
	var flags projectFlags
	cmd := &cobra.Command{
		Use:   "scale SERVICE N",
		Short: "Give a service another number of pods, by hand",
		Long: `Scale sets the number of pods of a service's Deployment or StatefulSet. It is a change
by hand: the manifests stay as they are, the session says so and leaves it alone.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError(cmd, "scale takes a service and how many pods it is to have")
			}
			if n, err := strconv.Atoi(args[1]); err != nil || n < 0 {
				return usageError(cmd, fmt.Sprintf("%q is no number of pods", args[1]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			return flags.steer(cmd, env, session.Command{Verb: session.DoScale, Service: args[0], Replicas: n})
		},
	}
	flags.addRunning(cmd)
	return cmd
}

// stopWithin is how long `kdev stop` waits for the session's end.
const stopWithin = 10 * time.Second

// gone waits until the session does not answer any more: what comes next, as another
// kdev up, is not to find the one that is just leaving.
func (f *projectFlags) gone(ctx context.Context, env Env, about control.About) {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		left, err := control.List(env.Getenv, func(a *control.About) bool { return a.Root == about.Root && a.PID == about.PID })
		if err != nil || len(left) == 0 {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

func newStop(env Env) *cobra.Command {
	var flags projectFlags
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End a running kdev up; everything stays in the cluster",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			about, err := flags.running(env)
			if err != nil {
				return err
			}
			if err := flags.steer(cmd, env, session.Command{Verb: session.DoStop}); err != nil {
				return err
			}
			flags.gone(cmd.Context(), env, about)
			return nil
		},
	}
	flags.addRunning(cmd)
	return cmd
}
