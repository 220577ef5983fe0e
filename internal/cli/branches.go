package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/internal/session/control"
	"github.com/kdev-io/kdev/tui"
)

// branches are the sessions of the project in other checkouts of its repository, and in
// other places of this one.
func (d *dashboard) branches(ctx context.Context, here *session.State) ([]tui.Branch, error) {
	trees, err := workTrees(ctx, d.root)
	if err != nil {
		return nil, err
	}
	root := unlinked(d.root)
	top := "" // of the checkout that this project is in
	for _, t := range trees {
		if below(t.dir, root) && len(t.dir) > len(top) {
			top = t.dir
		}
	}
	inside, err := filepath.Rel(top, root)
	if top == "" || err != nil {
		return nil, fmt.Errorf("%s is in no checkout that git lists", d.root)
	}
	var found []tui.Branch
	for _, t := range trees {
		sessions, err := control.List(d.env.Getenv, func(a *control.About) bool {
			return unlinked(a.Root) == filepath.Join(t.dir, inside) && (t.dir != top || a.Context != here.Context || a.Namespace != here.Namespace)
		})
		if err != nil {
			return nil, err
		}
		for _, a := range sessions {
			found = append(found, tui.Branch{Name: t.branch, Root: a.Root, Context: a.Context, Namespace: a.Namespace})
		}
	}
	return found, nil
}

// A workTree is a checkout of a repository.
type workTree struct {
	dir    string // without links
	branch string // or the head of the commit, where it is on none
}

// workTrees lists the checkouts of the repository that root is in.
func workTrees(ctx context.Context, root string) ([]workTree, error) {
	cmd := exec.CommandContext(ctx, "git", "-C", root, "worktree", "list", "--porcelain", "-z")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("branches need git, which is not on the PATH")
	case err != nil:
		line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return nil, fmt.Errorf("git worktree list: %w: %s", err, line)
	}
	return parseWorkTrees(string(out)), nil
}

// parseWorkTrees reads `git worktree list --porcelain -z`: lines that end with NUL, an
// empty one after each checkout. Bare ones hold no files.
func parseWorkTrees(out string) (all []workTree) {
	for record := range strings.SplitSeq(out, "\x00\x00") {
		var t workTree
		for line := range strings.SplitSeq(record, "\x00") {
			key, value, _ := strings.Cut(line, " ")
			switch key {
			case "worktree":
				t.dir = unlinked(value)
			case "HEAD":
				t.branch = value[:min(len(value), 12)]
			case "branch":
				t.branch = strings.TrimPrefix(value, "refs/heads/")
			case "bare":
				t.dir = ""
			}
		}
		if t.dir != "" {
			all = append(all, t)
		}
	}
	return all
}

// unlinked is a path without links, or as it is where it is gone.
func unlinked(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return filepath.Clean(path)
}

// below says whether a path is dir or in it.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// A joinCommand is `kdev attach` in another checkout: a process of its own has the
// terminal until the person leaves there.
type joinCommand struct {
	ctx context.Context // the dashboard's
	env Env
	to  tui.Branch
}

func (d *dashboard) join(ctx context.Context) func(tui.Branch) tea.ExecCommand {
	return func(to tui.Branch) tea.ExecCommand { return &joinCommand{ctx, d.env, to} }
}

// What a tea.ExecCommand is handed is the terminal, which env has already.
func (j *joinCommand) SetStdin(io.Reader)  {}
func (j *joinCommand) SetStdout(io.Writer) {}
func (j *joinCommand) SetStderr(io.Writer) {}

// leaveWithin is how long a dashboard that is asked to end may take.
const leaveWithin = 5 * time.Second

func (j *joinCommand) Run() error {
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	if j.env.instead != nil { // Ctrl-C before it has the terminal ends the way to it
		defer j.env.instead(cancel)()
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "attach", "--context", j.to.Context, "--namespace", j.to.Namespace)
	var said bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = j.to.Root, j.env.In, j.env.Out, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = leaveWithin
	if err := cmd.Run(); err != nil {
		line, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(said.String()), "error: "), "\n")
		if line == "" {
			line = err.Error()
		}
		return errors.New(line)
	}
	return nil
}
