package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/log"
	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/term"
)

// Env is what a command may see of the world: handed in, so that a test can
// hand in another one.
type Env struct {
	In     io.Reader
	Out    io.Writer // results
	Err    io.Writer // progress, warnings, errors
	Dir    string    // working directory
	Getenv func(string) string

	// left says that the person has asked to leave by a key: the next Ctrl-C, which
	// the terminal sends as a signal again, is the second one.
	left func()
	// instead has Ctrl-C call a function, and nothing else, until what it returns is called.
	instead func(func()) (restore func())
}

// exitCode ends the process with a code that a command chose itself, without
// a message: `diff` that found a difference, `exec` that passes a code on.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Exit codes that no problem class stands for.
const exitInterrupted = 130

// Main runs the command line and returns the exit code:
// 0 done, 1 failed, 2 usage or configuration, 3 rollout failed, 4 timed out,
// 130 interrupted.
func Main(ctx context.Context, env Env, args []string) int {
	// client-go logs what it survives to stderr, into the middle of a face. What
	// of it matters to a person comes as an error.
	klog.SetLogger(logr.Discard())
	// So does containerd's server of blobs, for example where a build is cancelled
	// while it hands over its image.
	_ = log.SetLevel(log.PanicLevel)
	var shield shield
	ctx, left, stop := interruptible(ctx, &shield, func(s os.Signal) { endLine(env, s) },
		func() { fmt.Fprintln(env.Err, "\n"+farewell(env, args)) })
	defer stop()
	env.left, env.instead = left, shield.put
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return report(env.Err, aimOf(cmd).err(err))
}

// endLine ends the line that the terminal has begun with its ^C, so that what is said
// then has one of its own.
func endLine(env Env, s os.Signal) {
	if s == os.Interrupt && term.Echoes(env.Err) {
		fmt.Fprintln(env.Err)
	}
}

// leftBehind is the annotation of a command that says what it leaves when it is
// ended in the middle, and what removes that.
const leftBehind = "left-behind"

// farewell is what is said when a command is interrupted twice.
func farewell(env Env, args []string) string {
	text := "interrupted twice: leaving at once"
	if cmd, _, err := newRoot(env).Find(args); err == nil && cmd.Annotations[leftBehind] != "" {
		text += "; " + cmd.Annotations[leftBehind]
	}
	return text
}

// echo is how soon behind the first a signal is the same one: timeout(1) signals the
// command and then the process group that it is in. No hand is so quick.
const echo = 100 * time.Millisecond

// again waits until it is interrupted once more than at, and returns false when done is
// closed before.
func again(signals <-chan os.Signal, done <-chan struct{}, at time.Time, now func() time.Time) bool {
	for {
		select {
		case <-signals:
			if now().Sub(at) >= echo {
				return true
			}
		case <-done:
			return false
		}
	}
}

// A shield takes Ctrl-C for what is in front of the command for a while.
type shield struct {
	mu   sync.Mutex
	call func()
}

func (s *shield) put(call func()) (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call = call
	return func() { s.put(nil) }
}

// takes hands a signal to what is in front, if there is something and it is a Ctrl-C.
func (s *shield) takes(sig os.Signal) bool {
	s.mu.Lock()
	call := s.call
	s.mu.Unlock()
	if call == nil || sig != os.Interrupt {
		return false
	}
	call()
	return true
}

// interruptible returns a context that the first SIGINT, SIGTERM or SIGHUP cancels.
// The second one ends the process at once, after goodbye: whatever hangs, the
// user gets the terminal back. One that the shield takes does not count. heard is called
// with the first one; first stands for it where it came as a key.
func interruptible(ctx context.Context, front *shield, heard func(os.Signal), goodbye func()) (_ context.Context, first, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	asked := make(chan struct{})
	first = sync.OnceFunc(func() { close(asked) })
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup; else the terminal is gone, and what runs here ends too
		signal.Notify(signals, syscall.SIGHUP)
	}
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var at time.Time
		for at.IsZero() {
			select {
			case s := <-signals:
				if front.takes(s) {
					continue
				}
				at = time.Now()
				heard(s)
				cancel()
			case <-asked: // what runs ends by itself
				at = time.Unix(0, 0)
			case <-done:
				return
			}
		}
		if again(signals, done, at, time.Now) {
			goodbye()
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, first, func() {
		signal.Stop(signals)
		close(done)
		<-ended
		cancel()
	}
}

func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "kdev",
		Short: "The local development loop for Kubernetes",
		Long: `kdev brings a project up on a local Kubernetes cluster from the manifests that
staging and production use, and keeps it true while you edit.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		// Before cobra looks at them itself, in an error that is not known as one of usage.
		PersistentPreRunE: checkFlagGroups,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(cmd, err.Error())
	})
	root.AddCommand(
		newUp(env),
		newDown(env),
		newStatus(env),
		newEvents(env),
		newAttach(env),
		newTrigger(env),
		newPause(env),
		newResume(env),
		newForward(env),
		newScale(env),
		newExec(env),
		newRun(env),
		newOpen(env),
		newStop(env),
		newRender(env),
		newDiff(env),
		newEject(env),
		newBuild(env),
		newDeploy(env),
		newCI(env),
		newRollback(env),
		newCluster(env),
		newRegistry(env),
		newBuildKit(env),
		newLogs(env),
		newSync(env),
		newWatch(env),
		newVersion(env),
	)
	return root
}

// usageError is a wrong flag or argument.
func usageError(cmd *cobra.Command, text string) error {
	return &problem.Problem{
		Class:   problem.Usage,
		Code:    "usage",
		Summary: text,
		Hint:    fmt.Sprintf("`%s --help` lists what it takes", cmd.CommandPath()),
	}
}

// checkFlagGroups refuses flags that exclude each other.
func checkFlagGroups(cmd *cobra.Command, _ []string) error {
	err := cmd.ValidateFlagGroups()
	if err == nil {
		return nil
	}
	// "if any flags in the group [log push] are set none of the others can be; [log push] were all set"
	text := err.Error()
	if _, set, ok := strings.Cut(text, "; ["); ok {
		set, _, _ = strings.Cut(set, "]")
		text = "--" + strings.Join(strings.Fields(set), " and --") + " exclude each other"
	}
	return usageError(cmd, text)
}

// noArgs refuses arguments with kdev's own kind of error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(cmd, fmt.Sprintf("%s takes no argument, got %q", cmd.CommandPath(), args[0]))
	}
	return nil
}

// report writes err for a person and returns the exit code.
//
//	error: WHERE: WHAT: CAUSE
//	  | the end of the failing command's output
//	hint: one thing to do
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	for _, e := range each(err) {
		writeProblem(w, "error: ", e)
	}
	return codeOf(err)
}

// withCode is an error that ends the process with another code than its own.
type withCode struct {
	error
	code int
}

func (e withCode) Unwrap() error { return e.error }

// codeOf is the exit code of an error.
func codeOf(err error) int {
	var own withCode
	switch p := problem.As(err); {
	case errors.As(err, &own):
		return own.code
	case p != nil:
		return p.ExitCode()
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return int(problem.Timeout)
	case strings.HasPrefix(err.Error(), "unknown command"):
		return int(problem.Usage)
	}
	return int(problem.Failed)
}

// each splits an error that stands for several, so that every one of them gets
// its own lines and hint.
func each(err error) []error {
	if own, ok := err.(withCode); ok {
		err = own.error
	}
	list, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range list.Unwrap() {
		all = append(all, each(e)...)
	}
	return all
}

// writeProblem writes the lines of one problem, the first behind prefix.
func writeProblem(w io.Writer, prefix string, err error) {
	fmt.Fprintf(w, "%s%v\n", prefix, err)
	p := problem.As(err)
	if p == nil {
		return
	}
	if out := strings.TrimRight(p.Output, "\n"); out != "" {
		for line := range strings.Lines(out) {
			fmt.Fprintf(w, "  | %s\n", strings.TrimRight(line, "\n"))
		}
	}
	if p.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", p.Hint)
	}
}
