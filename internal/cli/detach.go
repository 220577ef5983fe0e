package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session/control"
)

// appearance is how often a starting session in the background is looked for:
// its socket is a file, of which nobody tells.
const appearance = 50 * time.Millisecond

// background starts the same `kdev up` without a terminal and returns when it
// answers on its socket, or with what it printed when it ended before that.
func (o *upOptions) background(ctx context.Context, p *config.Project) (control.About, error) {
	file, err := o.openLog(p)
	if err != nil {
		return control.About{}, fmt.Errorf("start in the background: %w", err)
	}
	defer file.Close()
	self, err := os.Executable()
	if err != nil {
		return control.About{}, fmt.Errorf("start in the background: %w", err)
	}
	// Not CommandContext: it is to outlive this process.
	child := exec.Command(self, o.backgroundArgs(p, file.Name())...)
	child.Dir = p.Root
	child.Stdout, child.Stderr = file, file
	ownSession(child)
	if err := child.Start(); err != nil {
		return control.About{}, fmt.Errorf("start in the background: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }() // ends with the child, or with this process
	fmt.Fprintf(o.env.Err, "starting in the background (process %d); it writes to %s\n", child.Process.Pid, file.Name())
	tick := time.NewTicker(appearance)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return control.About{}, startedInVain(file, err)
		case <-ctx.Done():
			_ = child.Process.Kill() // nobody has it: it must not stay half started
			<-ended
			return control.About{}, exitCode(exitInterrupted)
		case <-tick.C:
		}
		found, err := control.Find(o.env.Getenv, p.Root, o.flags.context, p.Namespace)
		if err != nil {
			return control.About{}, err
		}
		for _, about := range found {
			if about.PID == child.Process.Pid {
				return about, nil
			}
		}
	}
}

// openLog makes the file that a session in the background writes to, in place of
// that of the session before.
func (o *upOptions) openLog(p *config.Project) (*os.File, error) {
	state := o.env.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		state = filepath.Join(home, ".local", "state")
	}
	dir := filepath.Join(state, "kdev", "up")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, p.Name+"-"+p.Namespace+".log")
	// A new file: a session that ends just now may still write to the old one.
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, 0o600)
}

// backgroundArgs is the command line of the session in the background.
func (o *upOptions) backgroundArgs(p *config.Project, log string) []string {
	args := []string{"up", "--plain", "--log-file", log, "--namespace", p.Namespace}
	if o.flags.context != "" {
		args = append(args, "--context", o.flags.context)
	}
	for flag, set := range map[string]bool{"--no-sync": o.session.NoSync, "--no-build": o.session.NoBuild, "--no-ports": o.session.NoPorts, "--cleanup": o.cleanup} {
		if set {
			args = append(args, flag)
		}
	}
	return append(append(args, "--"), o.session.Services...)
}

// startedInVain is the problem of a session that ended before it answered.
func startedInVain(file *os.File, err error) error {
	const most = 20
	var lines []string
	if _, seekErr := file.Seek(0, io.SeekStart); seekErr == nil {
		text, _ := io.ReadAll(io.LimitReader(file, 1<<20))
		lines = strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	}
	p := &problem.Problem{Code: "detach-failed", Summary: "the session in the background ended before it could be reached", Err: err,
		Output: strings.Join(lines[max(0, len(lines)-most):], "\n"), Hint: "`kdev up` without --detach shows the whole of it"}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		p.Class = problem.Class(exit.ExitCode())
	}
	return p
}
