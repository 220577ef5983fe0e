package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/internal/term"
)

// exitOwn is the exit code of `kdev exec` when kdev itself failed; any other is
// the command's.
const exitOwn = 125

// ephemeralImage has a shell for containers whose image has none.
const ephemeralImage = "busybox:latest"

// shell is what a person gets who names no command.
var shell = []string{"sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"}

// execOptions are the flags of `kdev exec`.
type execOptions struct {
	env       Env
	flags     projectFlags
	container string
	pod       string
	debug     bool
	image     string
}

func newExec(env Env) *cobra.Command {
	o := &execOptions{env: env}
	cmd := &cobra.Command{
		Use:   "exec SERVICE [-- COMMAND...]",
		Short: "Run a command, or a shell, in a container of a service",
		Long: `Exec runs a command in a container of a service, with a terminal where it is called from
one. Without a command it is a shell. Where the image has none, the shell runs in an
ephemeral container beside it, with its user and in sight of its processes; the files
of the container are then below /proc/1/root. The exit code is the command's; 125 means
that kdev itself failed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 1 && cmd.ArgsLenAtDash() != 1 {
				return usageError(cmd, "exec takes a service, then -- and a command")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.ended(cmd.Context(), o.run(cmd.Context(), args[0], args[1:]))
		},
	}
	o.flags.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.container, "container", "c", "", "container of the pod (default: the one with the service's image)")
	f.StringVar(&o.pod, "pod", "", "one of the service's pods (default: the newest that is ready)")
	f.BoolVar(&o.debug, "debug", false, "run it in an ephemeral container beside the service's")
	f.StringVar(&o.image, "image", ephemeralImage, "image of the ephemeral container; it must have a shell")
	return cmd
}

// ended says how kdev exits after a command in a container.
func (o *execOptions) ended(ctx context.Context, err error) error {
	var exit *kube.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return exitCode(exit.Code)
	case ctx.Err() != nil:
		return exitCode(exitInterrupted)
	}
	report(o.env.Err, err)
	return exitCode(exitOwn)
}

func (o *execOptions) run(ctx context.Context, service string, command []string) error {
	st, contextName, err := o.state(ctx)
	if err != nil {
		return err
	}
	pod, container, err := o.target(st, service)
	if err != nil {
		return err
	}
	kc, err := o.flags.client(ctx, o.env, contextName)
	if err != nil {
		return err
	}
	defer kc.Close()
	namespace := st.NamespaceOf(service)
	b := beside{kc: kc, namespace: namespace, pod: pod, target: container, image: o.image}
	if o.debug {
		if container, err = b.container(ctx, o.env); err != nil {
			return err
		}
	}
	if len(command) == 0 {
		command = shell
		if !o.debug && !hasShell(ctx, kc, namespace, pod, container) {
			if container, err = b.container(ctx, o.env); err != nil {
				return err
			}
		}
	}
	return o.exec(ctx, kc, namespace, pod, container, command)
}

// state is that of the session, or of the cluster where there is none.
func (o *execOptions) state(ctx context.Context) (*session.State, string, error) {
	root, found, err := o.flags.sessions(o.env)
	switch {
	case err != nil:
		return nil, "", err
	case len(found) > 1:
		return nil, "", ambiguous(root, found)
	case len(found) == 1:
		remote := control.New(o.env.Getenv, found[0])
		defer remote.Close()
		st, err := remote.Once(ctx)
		return st, found[0].Context, err
	}
	st, err := o.flags.look(ctx, o.env)
	if err != nil {
		return nil, "", err
	}
	return st, st.Context, nil
}

// client opens the cluster of a context that the project is up in.
func (f *projectFlags) client(ctx context.Context, env Env, contextName string) (*kube.Client, error) {
	p, err := f.load(env)
	if err != nil {
		return nil, err
	}
	find := f.cluster(p, nil)
	find.NoCreate, find.Context = true, contextName
	c, err := cluster.Ensure(ctx, find)
	if err != nil {
		return nil, err
	}
	return kube.New(c.Kubeconfig, c.Context)
}

// target chooses a pod and a container of it.
func (o *execOptions) target(st *session.State, service string) (pod, container string, err error) {
	s, ok := st.Service(service)
	if !ok {
		return "", "", session.Unknown(service, st.Names())
	}
	of := *s
	if o.pod != "" {
		of.Pods = slices.DeleteFunc(slices.Clone(s.Pods), func(p session.Pod) bool { return p.Name != o.pod })
		for i := range of.Pods {
			of.Pods[i].Status = "" // who names it may mean one that is on its way out
		}
	}
	pod, container, ok = of.Target()
	if !ok {
		return "", "", session.NoPod(service)
	}
	if o.container == "" {
		return pod, container, nil
	}
	var names []string
	for i := range of.Pods {
		for _, c := range of.Pods[i].Containers {
			switch {
			case of.Pods[i].Name != pod || c.Init:
			case c.Name == o.container:
				return pod, c.Name, nil
			default:
				names = append(names, c.Name)
			}
		}
	}
	return "", "", &problem.Problem{Code: "container-unknown", Where: pod, Summary: fmt.Sprintf("it has no container %q", o.container),
		Hint: "it has: " + strings.Join(names, ", ")}
}

// hasShell tries whether a container can run sh.
func hasShell(ctx context.Context, kc *kube.Client, namespace, pod, container string) bool {
	var ignored strings.Builder
	err := kc.Exec(ctx, namespace, pod, container, []string{"sh", "-c", ":"}, nil, &ignored, &ignored)
	var exit *kube.ExitError
	if errors.As(err, &exit) {
		return exit.Code != 126 && exit.Code != 127 // cannot be run, not found: sh(1)
	}
	return err == nil
}

// exec runs the command, with a terminal where there is one.
func (o *execOptions) exec(ctx context.Context, kc *kube.Client, namespace, pod, container string, command []string) error {
	raw, ok, err := term.MakeRaw(o.env.In, o.env.Out)
	if err != nil {
		return fmt.Errorf("use the terminal: %w", err)
	}
	if !ok {
		return kc.Exec(ctx, namespace, pod, container, command, o.env.In, o.env.Out, o.env.Err)
	}
	defer raw.Restore()
	if t := o.env.Getenv("TERM"); t != "" && slices.Equal(command, shell) {
		command = []string{"sh", "-c", "export TERM='" + strings.ReplaceAll(t, "'", "") + "'; " + shell[2]}
	}
	return kc.ExecTerminal(ctx, namespace, pod, container, command, o.env.In, o.env.Out, raw.Size)
}
