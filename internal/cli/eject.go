package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/problem"
)

// ejectOptions are the flags of `kdev eject`.
type ejectOptions struct {
	env   Env
	flags projectFlags
	to    string
	force bool
}

func newEject(env Env) *cobra.Command {
	o := &ejectOptions{env: env}
	cmd := &cobra.Command{
		Use:   "eject [SERVICE]",
		Short: "Write down the manifests of services that have none, to own from then on",
		Long: `Eject writes what kdev renders of app: in kdev.yaml as a kustomize base and an overlay
for each environment, and takes app: out of kdev.yaml, whose comments stay. It puts
every file back where an environment renders to other objects than before. Passwords that
kdev made up stay where they are. Files that are there are not overwritten without
--force.`,
		ValidArgsFunction: completeServices(env),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(cmd, "kdev eject takes one service at most")
			}
			if !filepath.IsLocal(o.to) {
				return usageError(cmd, "--to is a folder of the project")
			}
			return o.run(cmd.Context(), args)
		},
	}
	o.flags.add(cmd)
	cmd.Flags().StringVar(&o.to, "to", "deploy", "folder for the base and the overlays")
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite files that are there")
	return cmd
}

func (o *ejectOptions) run(ctx context.Context, args []string) (err error) {
	p, err := o.flags.load(o.env)
	if err != nil {
		return err
	}
	parts, err := ejectable(p, args)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(p.Environments, func(e config.Environment) bool { return e.Name == config.Dev }) {
		return &problem.Problem{Class: problem.Usage, Code: "eject-environment", Where: config.FileName,
			Summary: "environments has a dev beside that of kdev up", Hint: "give it another name: eject writes one overlay for each name"}
	}
	before, err := renderAll(ctx, p)
	if err != nil {
		return err
	}
	files, secrets, err := ejection(before, parts)
	if err != nil {
		return err
	}
	to := path.Clean(filepath.ToSlash(o.to))
	if !o.force {
		for _, f := range files {
			if _, err := os.Stat(filepath.Join(p.Root, to, f.name)); !errors.Is(err, fs.ErrNotExist) {
				return &problem.Problem{Class: problem.Usage, Code: "eject-exists", Where: path.Join(to, f.name), Summary: "the file is there already", Hint: "--to DIR writes elsewhere, --force overwrites"}
			}
		}
	}
	text, err := ejectedConfig(p, parts, to, secrets, environmentNames(before))
	if err != nil {
		return err
	}
	u := &undo{}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.all())
		}
	}()
	for _, f := range files {
		if err := u.write(filepath.Join(p.Root, filepath.FromSlash(path.Join(to, f.name))), f.text); err != nil {
			return err
		}
	}
	if err := u.write(p.File, text); err != nil {
		return err
	}
	after, err := o.flags.load(o.env)
	if err != nil {
		return err
	}
	if err := sameRenders(ctx, before, after); err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintf(o.env.Out, "wrote %s\n", path.Join(to, f.name))
	}
	fmt.Fprintf(o.env.Out, "changed %s: app is gone from %s; each environment renders to the same objects\n", filepath.Base(p.File), strings.Join(parts.services, ", "))
	return nil
}

// ejectParts are what is ejected: services, and the stores that they need.
type ejectParts struct{ services, all []string }

func ejectable(p *config.Project, args []string) (ejectParts, error) {
	var parts ejectParts
	var known []string
	for _, e := range allEnvironments(p) {
		for _, s := range e.Manifests {
			if s.Apps == nil {
				continue
			}
			for _, a := range s.Apps.Services {
				if known = append(known, a.Name); len(args) > 0 && args[0] != a.Name {
					continue
				}
				parts.services = append(parts.services, a.Name)
				for _, n := range a.Needs {
					parts.all = append(parts.all, n.Store)
				}
			}
		}
	}
	if len(parts.services) == 0 {
		hint := "add app: {port: …} to a service, or write manifests"
		if len(known) > 0 {
			hint = "there are: " + strings.Join(sorted(known), ", ")
		}
		return parts, &problem.Problem{Class: problem.Usage, Code: "eject-nothing", Where: config.FileName, Summary: "no such service is described by app", Hint: hint}
	}
	slices.Sort(parts.services)
	parts.services = slices.Compact(parts.services)
	parts.all = append(parts.all, parts.services...)
	return parts, nil
}

// allEnvironments are that of kdev up, then the others.
func allEnvironments(p *config.Project) []config.Environment {
	dev, err := p.Environment(config.Dev)
	var all []config.Environment
	if err == nil {
		all = append(all, dev)
	}
	return append(all, slices.DeleteFunc(slices.Clone(p.Environments), func(e config.Environment) bool { return e.Name == config.Dev })...)
}

// A rendering is what an environment renders to.
type rendering struct {
	environment string
	objects     []*deploy.Object
}

func environmentNames(all []rendering) []string {
	var names []string
	for _, r := range all {
		names = append(names, r.environment)
	}
	return names
}

func renderAll(ctx context.Context, p *config.Project) ([]rendering, error) {
	var all []rendering
	for _, e := range allEnvironments(p) {
		m, err := deploy.Render(ctx, p.Root, deploy.Sources(e.Manifests, e.Namespace, nil))
		if err != nil {
			return nil, err
		}
		all = append(all, rendering{e.Name, m.Objects})
	}
	return all, nil
}

// sameRenders refuses a configuration that renders to other objects, or to others of
// what kdev.yaml itself described: a chart may make up values at each render.
func sameRenders(ctx context.Context, before []rendering, p *config.Project) error {
	after, err := renderAll(ctx, p)
	if err != nil {
		return err
	}
	for i, was := range before {
		if i >= len(after) || after[i].environment != was.environment {
			return &problem.Problem{Class: problem.Usage, Code: "eject-differs", Summary: "environment " + was.environment + " would be gone", Hint: "list it under `environments:` of kdev.yaml first"}
		}
		own := map[deploy.Ref]bool{}
		for _, o := range was.objects {
			own[deploy.RefOf(o)] = o.Part != ""
		}
		foreign := func(o *deploy.Object) bool { mine, known := own[deploy.RefOf(o)]; return known && !mine }
		diffs := deploy.Compare(slices.DeleteFunc(slices.Clone(was.objects), foreign), slices.DeleteFunc(slices.Clone(after[i].objects), foreign))
		if len(diffs) == 0 && len(after[i].objects) == len(was.objects) {
			continue
		}
		var lines []string
		for _, d := range diffs {
			lines = append(lines, string(d.Change)+" "+d.Kind+"/"+d.Name)
			for _, f := range d.Fields {
				lines = append(lines, "  "+f.Path)
			}
		}
		return &problem.Problem{Class: problem.Usage, Code: "eject-differs", Summary: "environment " + was.environment + " would not render to the same objects", Output: strings.Join(lines, "\n"),
			Hint: "nothing was changed; kdev.local.yaml may describe the service too"}
	}
	return nil
}

// An undo puts files back.
type undo struct {
	steps []func() error
	dirs  []string // that were made
}

func (u *undo) all() error {
	var failed []error
	for _, step := range slices.Backward(u.steps) {
		failed = append(failed, step())
	}
	slices.SortFunc(u.dirs, func(a, b string) int { return len(b) - len(a) }) // what is inside first
	for _, dir := range u.dirs {
		failed = append(failed, os.Remove(dir))
	}
	return errors.Join(failed...)
}

// write replaces a file, with the folders that it needs.
func (u *undo) write(file, text string) error {
	was, err := os.ReadFile(file)
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(dir); err == nil {
				break
			}
			u.dirs = append(u.dirs, dir)
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		u.steps = append(u.steps, func() error { return os.Remove(file) })
	case err != nil:
		return err
	default:
		u.steps = append(u.steps, func() error { return os.WriteFile(file, was, mode) })
	}
	return os.WriteFile(file, []byte(text), mode)
}
