package step

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// A Command is a program to run to its end.
type Command struct {
	Args   []string
	Dir    string
	Env    []string // added to the environment
	Stdin  io.Reader
	Stdout io.Writer // nil: kept for the error only
	Nice   int       // added to the priority: long compiles must not take the machine away from its user
	// Mounts gives the program a mount namespace of its own: what it mounts goes when it goes, however it ends.
	Mounts bool
	Hint   string // what to do when it fails
}

// Run runs c. When ctx ends, the program and its children are asked to stop, and killed when they do not.
// The error is a *problem.Problem with the end of the output.
func Run(ctx context.Context, c Command) error {
	// Linux kills the child when the thread that started it ends, not only when the process does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	tail := &tail{}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Dir, c.Stdin, io.Writer(tail), tail
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = Child(c.Mounts)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return &problem.Problem{Code: "offline-command", Summary: "cannot run " + c.Args[0], Err: err, Hint: c.Hint}
	}
	if c.Nice != 0 {
		_ = syscall.Setpriority(syscall.PRIO_PGRP, cmd.Process.Pid, c.Nice)
	}
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { stop(ctx, cmd.Process.Pid, done) })
	err := cmd.Wait()
	close(done)
	watcher.Wait()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &problem.Problem{
		Code: "offline-command", Summary: Line(c.Args) + " failed", Err: err, Output: tail.String(), Hint: c.Hint,
	}
}

// stop ends the process group when ctx ends before done.
func stop(ctx context.Context, group int, done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	_ = syscall.Kill(-group, syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
}

// Output runs c and returns what it printed, without the white space around it.
func Output(ctx context.Context, c Command) (string, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := Run(ctx, c)
	return strings.TrimSpace(out.String()), err
}

// Line is a command line short enough for a message.
func Line(args []string) string {
	shown := append([]string{filepath.Base(args[0])}, args[1:]...)
	if len(shown) > 4 {
		shown = append(shown[:4:4], "…")
	}
	return strings.Join(shown, " ")
}

// Interrupted tells whether err is the end of the context rather than a failure.
func Interrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// NeedRoot is nil for root, else a problem that says what root is needed for.
func NeedRoot(what string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return &problem.Problem{
		Class: problem.Usage, Code: "offline-root", Summary: what + " needs root",
		Hint: "run the same command with sudo -E, or as root", Err: fmt.Errorf("user id %s", strconv.Itoa(os.Geteuid())),
	}
}

// tail keeps the last lines of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// kept bounds a tail: enough for the cause, which compilers and package managers print last.
const kept = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - kept; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.text
	if len(text) == kept { // the first line is cut somewhere
		if _, rest, ok := bytes.Cut(text, []byte("\n")); ok {
			text = rest
		}
	}
	return strings.TrimSpace(string(text))
}
