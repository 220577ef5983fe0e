package process

import (
	"context"
	"errors"
	"os/exec"
	"sync/atomic"
	"time"
)

// A Running is a program that goes on until it ends by itself or is stopped.
type Running struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	// until is the end of the time that what the program started has to end, in Unix
	// nanoseconds; zero before Stop.
	until atomic.Int64
}

// holding is how long what a program left behind may hold its output. It is longer
// than any grace: what is about to end goes on writing.
const holding = 2 * time.Second

// Start starts the command. line hears of each line of its output, one at a time,
// until Done is closed. Who starts one has to stop it, or to wait for its end.
func Start(c Command, line func(string)) (*Running, error) {
	cmd := prepare(context.Background(), c)
	cmd.WaitDelay = holding
	out := &Lines{Tell: line}
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
		r.awaitGroup()
		sweepGroup(cmd)
		out.Flush()
		r.err = c.failure(context.Background(), err, out.tail)
		close(r.done)
	}()
	return r, nil
}

// awaitGroup gives what a stopped program started the rest of its time: a shell ends
// before its children do. Nothing tells that a group has ended.
func (r *Running) awaitGroup() {
	const every = 5 * time.Millisecond
	for time.Now().UnixNano() < r.until.Load() && groupLives(r.cmd) {
		time.Sleep(every)
	}
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
	r.until.Store(time.Now().Add(grace).UnixNano())
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
