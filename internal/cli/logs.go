package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/term"
)

// logsOptions are the flags of `kdev logs`: stern's, with stern's names, defaults
// and meanings where docs/logs.md does not say otherwise, and kdev's own.
type logsOptions struct {
	env   Env
	query []string

	// Where and what.
	kubeconfig      string
	contexts        []string
	namespaces      []string
	allNamespaces   bool
	selector        string
	fieldSelector   string
	node            string
	excludePod      []string
	container       string
	excludeContain  []string
	initContainers  bool
	ephemeral       bool
	containerStates []string
	condition       string
	prompt          bool
	stdin           bool
	kube            kubeFlags

	// From where, how far.
	since          sinceValue
	sinceGiven     bool
	tail           int64
	noFollow       bool
	previous       bool
	maxLogRequests int
	qps            float32
	burst          int
	until          string
	lasting        time.Duration

	// Which lines.
	exclude     []string
	include     []string
	highlight   []string
	level       string
	records     bool
	before      int
	after       int
	around      int
	events      bool
	merge       bool
	past        bool
	environment string
	save        string
	noMask      bool

	// How they look.
	output          string
	template        string
	templateFile    string
	timestamps      string
	timezone        string
	color           string
	palette         string
	podColors       []string
	containerColors []string
	diffContainer   bool
	onlyLogLines    bool

	// About the command.
	configFile string
	verbosity  int
	version    bool
	completion string
	showHidden bool
}

func newLogs(env Env) *cobra.Command {
	o := &logsOptions{env: env}
	cmd := &cobra.Command{
		Use:   "logs [QUERY…]",
		Short: "Show the logs of many containers as one stream",
		Long: `Logs follows the containers of all pods that a query names, each from its first
wanted line to its last, through restarts, new pods and broken connections.

A QUERY is a regular expression on the pod's name, or KIND/NAME: deploy/webui,
sts/db, job/migrate, cronjob/report, svc/web, pod/web-0, or any kind of which pods
are owned. Several queries show what any of them names. Inside a project, no query
shows everything that the project deployed; outside of one the command works as
stern does, with stern's flags, outputs, templates and configuration file.`,
		Example: `  kdev logs                            everything of the project around here
  kdev logs deploy/webui worker        one workload, and pods with "worker" in the name
  kdev logs . -A -i ERROR --since 10m  every pod's lines with ERROR, of ten minutes
  kdev logs . -o json | jq .message`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.query = args
			return o.run(cmd)
		},
	}
	o.addFlags(cmd)
	o.complete(cmd)
	return cmd
}

func (o *logsOptions) run(cmd *cobra.Command) error {
	switch {
	case o.version:
		_, err := fmt.Fprintln(o.env.Out, "version: "+Version())
		return err
	case o.completion != "":
		return o.writeCompletion(cmd)
	case o.showHidden:
		return o.writeHidden(cmd)
	}
	// Before anything is made of the flags: what the file says counts as said here.
	if err := o.readConfig(cmd.Flags()); err != nil {
		return err
	}
	o.sinceGiven = cmd.Flags().Changed("since")
	if o.lasting < 0 || o.lasting == 0 && cmd.Flags().Changed("for") {
		return badLogs(fmt.Errorf("--for takes a time above zero, such as 30s, not %s; without it there is no limit", o.lasting))
	}
	plan, err := o.plan()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if o.lasting > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.lasting)
		defer cancel()
	}
	err = plan.run(ctx)
	if ctx.Err() == nil || cmd.Context().Err() != nil {
		return err
	}
	// Cut by --for; that a cluster did not answer until then is a problem all the same.
	over := problem.As(err) == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled))
	if o.until != "" && !plan.reached && (err == nil || over) {
		return &problem.Problem{Class: problem.Timeout, Code: "logs-until", Summary: fmt.Sprintf("--until %s was not reached within %s", o.until, o.lasting),
			Hint: "a longer --for waits longer"}
	}
	if over {
		return nil
	}
	return err
}

// badLogs is a flag or a combination of flags that cannot be.
func badLogs(err error) error {
	if err == nil || problem.As(err) != nil {
		return err
	}
	return &problem.Problem{Class: problem.Usage, Code: "usage", Summary: err.Error(), Hint: "`kdev logs --help` lists what it takes"}
}

// facts are those of the standard streams, with --color.
func (o *logsOptions) facts(mode term.ColorMode) (out, errs term.Facts) {
	return term.Detect(o.env.Out, mode, o.env.Getenv), term.Detect(o.env.Err, mode, o.env.Getenv)
}
