package deploy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/internal/problem"
)

// A Command prints manifests: cue, jsonnet, ytt, helmfile.
type Command struct {
	Run    []string
	Env    map[string]string
	Inputs []string // patterns of the files that it reads, relative to the root
	Where  string
}

// killGrace is how long a command may take to end once it is told to.
const killGrace = 2 * time.Second

// command adds the objects that a command prints, in its order.
func (m *Manifests) command(ctx context.Context, root string, c *Command) error {
	for _, pattern := range c.Inputs {
		m.globs = append(m.globs, filepath.Join(root, filepath.FromSlash(pattern)))
	}
	line := strings.Join(c.Run, " ")
	failed := func(summary string, err error, output, hint string) error {
		return &problem.Problem{Class: problem.Usage, Code: "render-command", Where: cmp.Or(c.Where, line), Summary: summary, Err: err, Output: output, Hint: hint}
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Run[0], c.Run[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, &out, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killGrace
	cmd.Env = os.Environ()
	for _, key := range slices.Sorted(maps.Keys(c.Env)) {
		cmd.Env = append(cmd.Env, key+"="+c.Env[key])
	}
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return failed("there is no program "+c.Run[0], nil, "", "install it, or correct `command:` in kdev.yaml")
	case err != nil:
		lines := tailOf(said.String(), 20)
		return failed("the command that makes the manifests failed", err, strings.Join(lines, "\n"), "run it in the project's folder: "+line)
	}
	objects, err := chartObjects(out.Bytes(), cmp.Or(c.Where, c.Run[0]))
	if err != nil {
		return failed("the command prints no Kubernetes manifests", problem.As(err).Err, strings.Join(tailOf(said.String(), 20), "\n"), "what it prints to its standard output must be manifests alone")
	}
	m.Objects = append(m.Objects, objects...)
	return nil
}
