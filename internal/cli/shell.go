package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/muesli/cancelreader"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/term"
)

// A shellCommand is the shell that the dashboard opens: the one of `kdev exec`. It
// takes the terminal while it runs, and gives it back as it was.
type shellCommand struct {
	ctx     context.Context // the dashboard's
	env     Env
	connect func() (kc *kube.Client, done func(), err error)
	state   *session.State
	service string
	pod     string // "" is the one that a person most likely means
}

// What a tea.ExecCommand is handed is the terminal, which env has already.
func (s *shellCommand) SetStdin(io.Reader)  {}
func (s *shellCommand) SetStdout(io.Writer) {}
func (s *shellCommand) SetStderr(io.Writer) {}

// Run returns when the shell has ended. How it ended is the person's own doing,
// and no failure.
func (s *shellCommand) Run() error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	if s.env.instead != nil { // until the terminal is the shell's: what Ctrl-C ends is the way to it
		defer s.env.instead(cancel)()
	}
	o := &execOptions{env: s.env, pod: s.pod, image: ephemeralImage}
	pod, container, err := o.target(s.state, s.service)
	if err != nil {
		return err
	}
	kc, done, err := s.connect()
	if err != nil {
		return err
	}
	defer done()
	if !hasShell(ctx, kc, s.state.NamespaceOf(s.service), pod, container) {
		b := beside{kc: kc, namespace: s.state.NamespaceOf(s.service), pod: pod, target: container, image: o.image}
		if container, err = b.container(ctx, s.env); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.env.Out, "a shell in %s, container %s; exit or Ctrl-D comes back\n", pod, container)
	raw, ok, err := term.MakeRaw(s.env.In, s.env.Out)
	if err != nil || !ok {
		return errors.Join(errors.New("a shell needs a terminal"), err)
	}
	defer raw.Restore()
	// A read that is under way when the shell ends would take the next key.
	keys, err := cancelreader.NewReader(s.env.In)
	if err != nil {
		return fmt.Errorf("reading the terminal: %w", err)
	}
	defer keys.Close()
	reading := &awaitedReader{from: keys}
	command := []string{shell[0], shell[1], "export TERM='" + strings.ReplaceAll(s.env.Getenv("TERM"), "'", "") + "'; " + shell[2]}
	err = kc.ExecTerminal(ctx, s.state.NamespaceOf(s.service), pod, container, command, reading, s.env.Out, raw.Size)
	if keys.Cancel() {
		reading.over()
	}
	var exit *kube.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// An awaitedReader knows whether a read is under way.
type awaitedReader struct {
	from    io.Reader
	reading sync.Mutex
}

func (r *awaitedReader) Read(b []byte) (int, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	return r.from.Read(b)
}

// over returns when none is: one that is to end, and has not yet, takes a key that is
// already the dashboard's.
func (r *awaitedReader) over() {
	r.reading.Lock()
	defer r.reading.Unlock()
}
