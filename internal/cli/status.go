package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
)

func newStatus(env Env) *cobra.Command {
	var flags environmentFlags
	var output string
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how each service is, and why one is not ready",
		Long: `Status says how each service of the project is: from the running "kdev up" where there
is one, else from the cluster. What is not ready is explained below.

With -e it reads that environment from its cluster, whether "kdev up" runs or not:
for each service how many pods are ready, how long each step of their start took,
and for one that does not get ready the cause, with what its containers printed last.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, output, "text", "json"); err != nil {
				return err
			}
			if flags.env != "" {
				o := statusOptions{env: env, flags: flags, watch: watch, output: output}
				return o.run(cmd.Context())
			}
			show := func(st *session.State) error {
				if output == "json" {
					return writeJSON(env.Out, document{apiVersion, st})
				}
				return writeStatus(env.Out, st, time.Now())
			}
			_, found, err := flags.sessions(env)
			switch {
			case err != nil:
				return err
			case len(found) > 1:
				return ambiguous(found[0].Root, found)
			case len(found) == 0:
				if watch {
					return usageError(cmd, "--watch needs a running `kdev up`, or an environment to look at: -e "+config.Dev)
				}
				st, err := flags.look(cmd.Context(), env)
				if err != nil {
					return err
				}
				return show(st)
			case watch:
				return follow(cmd.Context(), env, found[0], show)
			}
			remote := control.New(env.Getenv, found[0])
			defer remote.Close()
			st, err := remote.Once(cmd.Context())
			if err != nil {
				return err
			}
			return show(st)
		},
	}
	flags.add(env, cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print it again after each change")
	return cmd
}

// document is the JSON form of a status.
type document struct {
	APIVersion string `json:"apiVersion"`
	*session.State
}

// follow shows the state of a session again and again, until it ends.
func follow(ctx context.Context, env Env, about control.About, show func(*session.State) error) error {
	remote, err := control.Dial(ctx, env.Getenv, about)
	if err != nil {
		return err
	}
	defer remote.Close()
	changed, stop := remote.Subscribe()
	defer stop()
	whole := ctx
	ctx, end := untilClosed(ctx, env.Out)
	defer end()
	for {
		if err := show(remote.State()); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-remote.Ended():
			return nil
		case <-ctx.Done():
			if whole.Err() == nil {
				return nil // nobody reads any more
			}
			return exitCode(exitInterrupted)
		}
	}
}

// look asks the cluster once, without a session.
func (f *projectFlags) look(ctx context.Context, env Env) (*session.State, error) {
	p, err := f.load(env)
	if err != nil {
		return nil, err
	}
	find := f.cluster(p, nil)
	find.NoCreate = true
	c, err := cluster.Ensure(ctx, find)
	if p2 := problem.As(err); p2 != nil && p2.Code == "cluster-missing" {
		return &session.State{Project: p.Name, Namespace: p.Namespace, Root: p.Root}, nil
	}
	if err != nil {
		return nil, err
	}
	kc, err := kube.New(c.Kubeconfig, c.Context)
	if err != nil {
		return nil, err
	}
	defer kc.Close()
	watching, stop := context.WithCancel(ctx)
	live, err := kube.Watch(watching, kc, p.Namespace)
	if err != nil {
		stop()
		return nil, err
	}
	defer live.Wait()
	defer stop()
	d := deploy.New(kc, deploy.Options{Project: p.Name, Namespace: p.Namespace, Root: p.Root})
	defer d.Close()
	defer hideSecrets(ctx, p, p.Manifests, kc, p.Namespace, d)()
	return session.Look(ctx, p, c.Context, live, d)
}

// writeStatus writes one line a service, then why those that are not ready are
// not.
func writeStatus(out io.Writer, st *session.State, now time.Time) error {
	var b strings.Builder
	if st.Context == "" {
		b.WriteString("there is no local cluster, so nothing is deployed\n")
		_, err := io.WriteString(out, b.String())
		return err
	}
	fmt.Fprintf(&b, "%s in %s, namespace %s", st.Project, st.Context, st.Namespace)
	if st.Session {
		fmt.Fprintf(&b, ": kdev up runs for %s\n", took(now.Sub(st.Started)))
	} else {
		b.WriteString(": no kdev up runs\n")
	}
	if !st.Deployed && !st.Session {
		b.WriteString("nothing of it is deployed\n")
		_, err := io.WriteString(out, b.String())
		return err
	}
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tSTATE\tREADY\tRESTARTS\tIMAGE\tCHANGE\tURL")
	for i := range st.Services {
		s := &st.Services[i]
		ready := fmt.Sprintf("%d/%d", s.Current, s.Desired)
		if s.Kind == session.Process {
			ready = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", s.Name, s.Phase, ready, s.Restarts, image(s), change(s), strings.Join(s.URLs, " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range st.Problems {
		b.WriteByte('\n')
		writeProblem(&b, "", p)
	}
	for i := range st.Services {
		explain(&b, &st.Services[i])
	}
	for i := range st.Objects {
		explainObject(&b, &st.Objects[i])
	}
	_, err := io.WriteString(out, trimLines(b.String()))
	return err
}

// trimLines takes the blanks from the ends of lines that a table leaves there.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// image is the short digest of what kdev built, else the reference.
func image(s *session.Service) string {
	if d := s.Digest(); d != "" {
		return d[:min(12, len(d))]
	}
	return s.Image
}

// change is how long the newest change took from the save until it was visible.
func change(s *session.Service) string {
	if t := s.Took(); t > 0 {
		return took(t)
	}
	return "-"
}

// explainObject writes what is to be said of an object without pods; of most, nothing.
func explainObject(b *strings.Builder, o *session.Object) {
	switch {
	case o.Problem != nil:
		b.WriteByte('\n')
		writeProblem(b, "", o.Problem)
	case !o.Ready:
		fmt.Fprintf(b, "\n%s waits for %s\n", o, o.Waiting)
	case o.Note != "":
		fmt.Fprintf(b, "\n%s: %s\n", o, o.Note)
	}
}

// explain writes why a service is not ready.
func explain(b *strings.Builder, s *session.Service) {
	switch {
	case (s.Phase == session.Ready || s.Phase == session.Sleeping) && s.Explanation == "":
	case s.Explanation != "":
		b.WriteString("\n" + s.Explanation)
		return
	case s.Problem != nil:
		b.WriteByte('\n')
		writeProblem(b, s.Name+": ", s.Problem)
		return
	case s.Waiting != nil:
		fmt.Fprintf(b, "\n%s waits for %s\n", s.Name, s.Waiting.Text)
	}
	if n := len(s.Held); n > 0 {
		fmt.Fprintf(b, "\n%s: saved and waiting: %s\n", s.Name, few(s.Held))
	}
}
