package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A Command is one program to run.
type Command struct {
	Args []string
	Dir  string   // absolute
	Env  []string // in addition to this process's own; the last of a name counts
}

// tailLines is how much of a failing program's output is shown.
const tailLines = 40

// A Failure is a program that ran and did not succeed.
type Failure struct {
	Name string
	Code int      // exit code; -1 where a signal ended it
	Tail []string // the last lines of its output
	Err  error
}

func (e *Failure) Error() string { return fmt.Sprintf("%s: %v", e.Name, e.Err) }
func (e *Failure) Unwrap() error { return e.Err }

// Run runs the command to its end. line hears of each line of its output, one
// at a time. Cancelling ctx kills the program and its children.
func Run(ctx context.Context, c Command, line func(string)) error {
	cmd := prepare(ctx, c)
	out := &Lines{Tell: line}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	out.Flush()
	return c.failure(ctx, err, out.tail)
}

// Output runs the command and returns what it wrote to its standard output.
func Output(ctx context.Context, c Command) ([]byte, error) {
	cmd := prepare(ctx, c)
	var stdout bytes.Buffer
	stderr := &Lines{}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	err := cmd.Run()
	stderr.Flush()
	return stdout.Bytes(), c.failure(ctx, err, stderr.tail)
}

func prepare(ctx context.Context, c Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	// A group of its own, so that a cancelled build ends with its compilers,
	// and Ctrl-C in the terminal reaches kdev alone.
	group(cmd)
	// A child that left the group may keep the pipe open.
	cmd.WaitDelay = time.Second
	return cmd
}

func (c Command) failure(ctx context.Context, err error, tail []string) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f := &Failure{Name: c.Args[0], Code: -1, Tail: tail, Err: err}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		f.Code = exit.ExitCode()
	case errors.Is(err, exec.ErrNotFound):
		f.Code = 127
	}
	return f
}

// Lines cuts what a program writes into lines and keeps the last of them. It is a
// Writer for the program's output; several may write, one at a time.
type Lines struct {
	Tell func(string) // hears of each line; nil: nobody does

	mu   sync.Mutex
	rest []byte
	tail []string
}

func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for {
		end, rest, whole := bytes.Cut(p, []byte("\n"))
		l.rest = append(l.rest, end...)
		if !whole {
			// Progress is drawn over itself, with no end of line: the newest counts.
			if i := bytes.LastIndexByte(bytes.TrimSuffix(l.rest, []byte("\r")), '\r'); i >= 0 && len(l.rest) > longestLine/2 {
				l.rest = append(l.rest[:0], l.rest[i+1:]...)
			}
			if len(l.rest) > longestLine {
				l.add(string(l.rest))
				l.rest = l.rest[:0]
			}
			return n, nil
		}
		l.add(string(l.rest))
		l.rest = l.rest[:0]
		p = rest
	}
}

// longestLine is where a line that does not end is cut.
const longestLine = 64 << 10

// Flush takes what has no end of line for a line: nothing more comes.
func (l *Lines) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.add(string(l.rest))
		l.rest = nil
	}
}

// Tail is the last lines, once Flush was called.
func (l *Lines) Tail() []string { return l.tail }

func (l *Lines) add(s string) {
	s = strings.TrimSuffix(s, "\r")
	l.tail = append(l.tail, s)
	if len(l.tail) > 2*tailLines {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-tailLines:]...)
	}
	if l.Tell != nil {
		l.Tell(s)
	}
}
