package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
)

// syncStatusOptions are the flags of `kdev sync status`.
type syncStatusOptions struct {
	env            Env
	flags          projectFlags
	output         string
	verify, repair bool
}

func newSyncStatus(env Env) *cobra.Command {
	o := &syncStatusOptions{env: env}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how current each container is",
		Long: `Status asks the agent of each container that runs an image of the project: whether
a kdev syncs it, the last batch that it acknowledged, and how its process is.
With --verify it hashes every synced file there and names what differs from the
local tree, for example because somebody changed it by hand; exit code 1 says
that something does. --repair lets the kdev that syncs put it right. Programs that
kdev compiles are not verified: what they should be, only the session knows.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(cmd, o.output, "text", "json"); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	o.flags.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVar(&o.verify, "verify", false, "hash every synced file in every container")
	f.BoolVar(&o.repair, "repair", false, "put right what differs")
	cmd.MarkFlagsMutuallyExclusive("verify", "repair")
	return cmd
}

// syncStatus is what --output json writes.
type syncStatus struct {
	APIVersion string            `json:"apiVersion"`
	Project    string            `json:"project"`
	Namespace  string            `json:"namespace"`
	Containers []containerStatus `json:"containers"`
}

// A containerStatus is how current one container is.
type containerStatus struct {
	Service    string           `json:"service"`
	Pod        string           `json:"pod"`
	Container  string           `json:"container"`
	Syncing    bool             `json:"syncing"`           // a kdev is connected
	Process    string           `json:"process,omitempty"` // waiting, running, held; empty where the agent runs none
	Generation uint64           `json:"generation"`        // of the last batch
	LagMS      float64          `json:"lagMs"`             // of the last batch, in the container
	Bytes      int64            `json:"bytes"`             // since the container's start
	LastError  string           `json:"lastError,omitempty"`
	Problem    *problem.Problem `json:"problem,omitempty"` // why nothing is known
	Differs    []drift          `json:"differs,omitempty"` // of --verify
	Repaired   bool             `json:"repaired,omitempty"`
}

// A drift is a path that is not as it is here.
type drift struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

func (o *syncStatusOptions) run(ctx context.Context) error {
	v, err := o.flags.containers(ctx, o.env)
	if err != nil {
		return err
	}
	defer v.close()
	index, err := tree.Open(v.project.Root)
	if err != nil {
		return err
	}
	defer index.Close()
	status := &syncStatus{APIVersion: apiVersion, Project: v.project.Name, Namespace: v.project.Namespace, Containers: []containerStatus{}}
	differs := false
	for _, cs := range v.project.Services {
		if cs.Build == nil {
			continue
		}
		wanted, err := o.wanted(ctx, v, cs, index)
		if err != nil {
			return err
		}
		for _, c := range v.running(cs) {
			st, err := o.container(ctx, v, c, wanted)
			if err != nil {
				return err
			}
			differs = differs || len(st.Differs) > 0
			status.Containers = append(status.Containers, st)
		}
	}
	if o.output == "json" {
		err = writeJSON(o.env.Out, status)
	} else {
		err = status.write(o.env.Out)
	}
	if err == nil && differs {
		return exitCode(problem.Failed)
	}
	return err
}

func (o *syncStatusOptions) wanted(ctx context.Context, v *syncView, cs config.Service, index *tree.Index) (map[string]engine.File, error) {
	if !o.verify {
		return nil, nil
	}
	store, err := openStore()
	if err != nil {
		return nil, err
	}
	return session.Wanted(ctx, v.project, cs, store, index)
}

// container asks one agent. That it cannot be asked is part of the status.
func (o *syncStatusOptions) container(ctx context.Context, v *syncView, c mirror.Container, wanted map[string]engine.File) (containerStatus, error) {
	st := containerStatus{Service: c.Service, Pod: c.Pod, Container: c.Name}
	see := func() error {
		ob, err := mirror.Observe(ctx, v.dial, c)
		if err != nil {
			return err
		}
		defer ob.Close()
		seen := ob.Observation()
		st.Syncing, st.Process, st.Generation = seen.Syncing, seen.Phase, seen.Generation
		st.LagMS, st.Bytes, st.LastError = float64(seen.Lag.Microseconds())/1000, seen.Bytes, seen.Failed
		if o.repair {
			if st.Repaired, err = ob.Repair(ctx); err == nil && !st.Repaired {
				err = &problem.Problem{Code: "sync-nobody", Summary: "no kdev syncs this container", Where: c.Pod + "/" + c.Name, Hint: "run `kdev up` or `kdev sync`, which put right what differs when they start"}
			}
			return err
		}
		found, err := ob.Verify(ctx, wanted)
		for _, d := range found {
			st.Differs = append(st.Differs, drift{d.Path, d.Why})
		}
		return err
	}
	err := see()
	if p := problem.As(err); p != nil && ctx.Err() == nil {
		st.Problem = &problem.Problem{Code: p.Code, Summary: p.Summary, Where: p.Where, Hint: p.Hint}
		if p.Err != nil {
			st.Problem.Summary += ": " + p.Err.Error()
		}
		err = nil
	}
	return st, err
}

func (s *syncStatus) write(out io.Writer) error {
	if len(s.Containers) == 0 {
		_, err := fmt.Fprintf(out, "no container of %s runs in namespace %s\n", s.Project, s.Namespace)
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tPOD\tCONTAINER\tSYNC\tGENERATION\tLAG\tBYTES\tPROCESS")
	for _, c := range s.Containers {
		sync := "nobody syncs"
		if c.Syncing {
			sync = "syncing"
		}
		if c.Problem != nil {
			sync = c.Problem.Code
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%.1f ms\t%d\t%s\n", c.Service, c.Pod, c.Container, sync, c.Generation, c.LagMS, c.Bytes, c.Process)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range s.Containers {
		at := c.Pod + "/" + c.Container
		if c.Problem != nil {
			fmt.Fprintf(out, "%s: %s\n", at, c.Problem.Summary)
			if c.Problem.Hint != "" {
				fmt.Fprintf(out, "hint: %s\n", c.Problem.Hint)
			}
		}
		if c.LastError != "" {
			fmt.Fprintf(out, "%s: the last batch: %s\n", at, c.LastError)
		}
		for _, d := range c.Differs {
			fmt.Fprintf(out, "%s: %s: %s\n", at, printable(d.Path), d.Why)
		}
		if c.Repaired {
			fmt.Fprintf(out, "%s: is being checked and put right\n", at)
		}
	}
	return nil
}
