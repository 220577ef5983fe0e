package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session/control"
)

// addRunning defines the flags of a command to a running session. They are only
// needed where one project is up in several places.
func (f *projectFlags) addRunning(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.context, "context", "", "of the session, where the project is up in several clusters")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", "of the session, where the project is up in several namespaces")
}

// sessions lists the running sessions of the project around env.Dir. It reads no
// configuration: a command to a session works while kdev.yaml has a mistake.
func (f *projectFlags) sessions(env Env) (root string, _ []control.About, _ error) {
	root, err := config.Find(env.Dir)
	if err != nil {
		return "", nil, err
	}
	found, err := control.Find(env.Getenv, root, f.context, f.namespace)
	return root, found, err
}

// running is the one session that is meant.
//
// Problems: no-session, session-ambiguous.
func (f *projectFlags) running(env Env) (control.About, error) {
	root, found, err := f.sessions(env)
	if err != nil {
		return control.About{}, err
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return control.About{}, &problem.Problem{Code: "no-session", Where: root, Summary: "no `kdev up` runs for this project",
			Hint: "start one: `kdev up`, or `kdev up --detach` to have it in the background"}
	}
	return control.About{}, ambiguous(root, found)
}

func ambiguous(root string, found []control.About) error {
	var where []string
	for _, a := range found {
		where = append(where, fmt.Sprintf("--context %s -n %s", a.Context, a.Namespace))
	}
	return &problem.Problem{Class: problem.Usage, Code: "session-ambiguous", Where: root, Summary: fmt.Sprintf("%d sessions run for this project", len(found)),
		Hint: "say which one is meant: " + strings.Join(where, ", or ")}
}
