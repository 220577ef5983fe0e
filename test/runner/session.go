package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// An Event is what `kdev up --output json` says of one thing that happened.
type Event struct {
	Code    string `json:"code"`
	Service string `json:"service"`
	Problem *struct {
		Code string `json:"code"`
	} `json:"problem"`
}

// Ready says that all services are.
func Ready(e Event) bool { return e.Code == "ready" && e.Service == "" }

// A Session is a `kdev up` whose events are read.
type Session struct {
	cmd    *exec.Cmd
	events *bufio.Scanner
	errs   strings.Builder
}

// Start runs `kdev up` in a project's folder.
func (r *Runner) Start(ctx context.Context, dir string) (*Session, error) {
	s := &Session{cmd: exec.CommandContext(ctx, r.opts.Kdev, "up", "--output", "json", "--no-ports")}
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = dir, r.environ, &s.errs
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.events = bufio.NewScanner(out)
	s.events.Buffer(nil, 1<<20)
	return s, s.cmd.Start()
}

// Until reads events up to one that is wanted.
func (s *Session) Until(wanted func(Event) bool) error {
	for s.events.Scan() {
		var e Event
		if err := json.Unmarshal(s.events.Bytes(), &e); err != nil {
			return fmt.Errorf("%w: %q", err, s.events.Text())
		}
		switch {
		case wanted(e):
			return nil
		case e.Problem != nil && e.Problem.Code == "build-failed":
			return fmt.Errorf("nothing follows: %s", s.events.Text())
		}
	}
	return errors.Join(fmt.Errorf("kdev up ended: %s", s.errs.String()), s.events.Err())
}

// Stop is Ctrl-C.
func (s *Session) Stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	for s.events.Scan() {
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		return fmt.Errorf("kdev up: %w: %s", err, s.errs.String())
	}
	return nil
}
