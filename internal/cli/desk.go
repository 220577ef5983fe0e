package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/session"
	"github.com/kdev-io/kdev/tui"
)

// host is what the dashboard may do on this machine.
func (d *dashboard) host(ctx context.Context, s session.Control, connect func() (*kube.Client, func(), error)) tui.Host {
	return tui.Host{
		Open: func(url string) error { return d.browse(url) },
		Shell: func(service, pod string) tea.ExecCommand {
			return &shellCommand{ctx: ctx, env: d.env, connect: connect, state: s.State(), service: service, pod: pod}
		},
		Save: func(text []byte) (string, error) { return saveLines(d.env.Getenv, s.State().Project, text) },
		Mark: func(text string) { d.hub.Source("kdev/").WriteLine(text) },

		Environments: d.environments,
		Look:         d.look,

		Branches: func(ctx context.Context) ([]tui.Branch, error) { return d.branches(ctx, s.State()) },
		Join:     d.join(ctx),
	}
}

// look is `kdev status -e`, whose notes belong to what it says.
func (d *dashboard) look(ctx context.Context, environment string) (string, error) {
	var said strings.Builder
	env := d.env
	env.Out, env.Err = &said, &said
	o := statusOptions{env: env, flags: environmentFlags{env: environment}, output: "text"}
	_, e, err := o.flags.find(env)
	if err != nil {
		return "", err
	}
	if e.Context == "" {
		o.flags.context = d.context // of an environment that names its own, this is another cluster
	}
	err = o.run(ctx)
	return said.String(), err
}

// browse opens a page. What it has to say is for the dashboard, not for the screen
// below it.
func (d *dashboard) browse(url string) error {
	var said strings.Builder
	env := d.env
	env.Err = &said
	if err := browse(context.Background(), env, url); err != nil {
		return err
	}
	if said.Len() > 0 {
		return errors.New(strings.TrimSpace(said.String()))
	}
	return nil
}

// stateDir is where kdev keeps what it may lose.
func stateDir(getenv func(string) string) (string, error) {
	dir := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home := getenv("HOME")
		if home == "" {
			var err error
			if home, err = os.UserHomeDir(); err != nil {
				return "", fmt.Errorf("finding the state folder: %w", err)
			}
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "kdev"), nil
}

// saveLines writes lines to a new file outside the project, which is watched.
func saveLines(getenv func(string) string, project string, text []byte) (string, error) {
	dir, err := stateDir(getenv)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "saved")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("saving lines: %w", err)
	}
	name := filepath.Join(dir, fmt.Sprintf("%s-%s.log", project, time.Now().Format("20060102-150405.000")))
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return "", fmt.Errorf("saving lines: %w", err)
	}
	return name, nil
}

// memoryFile keeps the dashboard's layout for one checkout; "" where there is no
// place for it.
func memoryFile(getenv func(string) string, root string) string {
	dir, err := stateDir(getenv)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(root))
	return filepath.Join(dir, "dashboard", hex.EncodeToString(sum[:8])+".json")
}

// readMemory is how the dashboard was left. A file that cannot be read is as good
// as none: it holds nothing that anybody needs.
func readMemory(file string) (m tui.Memory) {
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &m) != nil {
		return tui.Memory{}
	}
	return m
}

func writeMemory(file string, m tui.Memory) error {
	if file == "" {
		return nil
	}
	b, err := json.Marshal(m)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil // a home that cannot be written to is no reason to fail
	}
	if err != nil {
		return fmt.Errorf("remembering the layout: %w", err)
	}
	return nil
}
