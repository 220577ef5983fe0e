package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

func newForward(env Env) *cobra.Command {
	var flags projectFlags
	cmd := &cobra.Command{
		Use:   "forward SERVICE|KIND/NAME|POD [LOCAL:]PORT",
		Short: "Forward a port to this machine for as long as kdev up runs",
		Long: `Forward opens a port of this machine in the running "kdev up": connections go to the
pods of the service that are ready, spread over all of them, and to their successors
when they are replaced. KIND/NAME is a workload, such as statefulset/db, and stands for
the service that has it. A pod's name forwards to that pod alone. The port is one of
the Service or of the pods; without LOCAL it has the same number here, or the next
that is free. What should be forwarded every time is "ports" of kdev.yaml.`,
		Example: "  kdev forward web 8080:80\n  kdev forward statefulset/db 5432\n  kdev forward web-6d4cf56db6-x2x7p 6060",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError(cmd, "forward takes a service, a workload or a pod, and a port: 80 or 8080:80")
			}
			if _, ok := config.ParsePort(args[1]); !ok {
				return usageError(cmd, fmt.Sprintf("%q is no port: 80, 8080:80 or 127.0.0.1:8080:80", args[1]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := flags.stateOf(cmd, env)
			if err != nil {
				return err
			}
			c := session.Command{Verb: session.DoForward, Port: args[1]}
			if c.Service, c.Pod, err = forwarded(st, args[0]); err != nil {
				return err
			}
			return flags.steer(cmd, env, c)
		},
	}
	flags.addRunning(cmd)
	return cmd
}

// shortKinds are what kubectl calls the kinds that have pods.
var shortKinds = map[string]string{"deploy": "deployment", "sts": "statefulset", "ds": "daemonset", "po": "pod", "rs": "replicaset", "svc": "service"}

// forwarded finds whose port is meant: a service's, or that of one of its pods.
func forwarded(st *session.State, what string) (service, pod string, err error) {
	if _, ok := st.Service(what); ok {
		return what, "", nil
	}
	kind, name, qualified := strings.Cut(what, "/")
	if !qualified {
		kind, name = "pod", what
	}
	kind = strings.ToLower(kind)
	if long, ok := shortKinds[kind]; ok {
		kind = long
	}
	kind = strings.TrimSuffix(kind, "s") // deployments/web
	for _, s := range st.Services {
		switch {
		case kind == "service" && s.Name == name:
			return s.Name, "", nil
		case kind == "pod" && slices.ContainsFunc(s.Pods, func(p session.Pod) bool { return p.Name == name }):
			return s.Name, name, nil
		case slices.ContainsFunc(s.Workloads, func(w session.Rollout) bool { return strings.EqualFold(w.Kind, kind) && w.Name == name }):
			return s.Name, "", nil
		}
	}
	var workloads []string
	for _, s := range st.Services {
		for _, w := range s.Workloads {
			workloads = append(workloads, strings.ToLower(w.Kind)+"/"+w.Name)
		}
	}
	if qualified && kind != "service" {
		return "", "", &problem.Problem{Class: problem.Usage, Code: "forward-unknown", Where: what, Summary: "the project has none", Hint: "there are: " + strings.Join(workloads, ", ") + ", and their pods"}
	}
	return "", "", session.Unknown(name, st.Names())
}
