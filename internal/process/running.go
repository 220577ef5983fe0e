package process

import (
	"context"
	"errors"
	"os/exec"
	"time"
)

// A Running is a program that goes on until it ends by itself or is stopped.
type Running struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts the command. line hears of each line of its output, one at a time,
// until Done is closed. Who starts one has to stop it, or to wait for its end.
func Start(c Command, line func(string)) (*Running, error) {
	cmd := prepare(context.Background(), c)
	out := &lines{tell: line}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, c.failure(context.Background(), err, nil)
	}
	r := &Running{cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the program: Stop sees to that
		err := cmd.Wait()
		if errors.Is(err, exec.ErrWaitDelay) {
			err = nil // it ended well, and left something behind that holds its output
		}
		sweepGroup(cmd)
		out.flush()
		r.err = c.failure(context.Background(), err, out.tail)
		close(r.done)
	}()
	return r, nil
}

// PID is that of the program, which leads its process group.
func (r *Running) PID() int { return r.cmd.Process.Pid }

// Done is closed when the program and its process group have ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Err says how the program ended, once Done is closed: nil, or a *Failure.
func (r *Running) Err() error { return r.err }

// Code is the exit code, once Done is closed; that of a signal as shells count it,
// 128 and its number.
func (r *Running) Code() int { return exitCode(r.cmd.ProcessState) }

// Stop asks the program's group to end (SIGTERM), kills what is left of it after
// grace, and returns when it has ended. Without grace it kills at once.
func (r *Running) Stop(grace time.Duration) {
	select {
	case <-r.done:
		return // its number may be another's by now
	default:
	}
	if grace > 0 && endGroup(r.cmd) == nil {
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case <-r.done:
			return
		case <-late.C:
		}
	}
	_ = killGroup(r.cmd) // an error: it has just ended
	<-r.done
}
