package build

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
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/patternmatcher"

	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/process"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// Command is a program of the project's that makes the image, or what goes
// into it. It runs in the context, with KDEV_IMAGE, KDEV_PLATFORM,
// KDEV_SERVICE and KDEV_ROOT in its environment. What it leaves is one of:
//
//	Output and To   a file or folder, laid over Base at To
//	Output          an image: a folder in the OCI layout, or a tar file of `docker save`
//	neither         an image of the engine, called Name, or else $KDEV_IMAGE
type Command struct {
	Run        []string
	Inputs     []string // patterns of files, relative to the context; empty: all that git and .dockerignore do not ignore
	Env        map[string]string
	Output     string // relative to the context
	To         string // absolute, in the image; with / at its end the file keeps its name
	Base       string
	Entrypoint []string // empty: the base's
	Name       string
}

// options has what the command is told in its environment too: two services
// may run one script that asks which of them it makes. Of KDEV_ROOT it has only
// the way from there to the context, so that two checkouts share an image.
func (c *Command) options(spec Spec) string {
	parts := []string{"command", "2", spec.platform(), spec.Service, spec.Repository(), display(spec, spec.Context), c.Output, c.To, c.Base, c.Name, "run"}
	parts = append(append(parts, c.Run...), "inputs")
	parts = append(append(parts, c.Inputs...), "entrypoint")
	parts = append(append(parts, c.Entrypoint...), "env")
	return digestOf(append(parts, pairs(c.Env)...)...)
}

// reads decides which files of the context are inputs.
func (c *Command) reads(spec Spec) (func(file string, isDir bool) (reads, mayContain bool), *ignore.DockerMatcher, error) {
	docker, err := ignore.Docker(spec.Context, "")
	if err != nil {
		return nil, nil, err
	}
	output := path.Clean(filepath.ToSlash(c.Output))
	own := func(file string) bool {
		return c.Output != "" && (file == output || strings.HasPrefix(file, output+"/")) || file == ".git" || strings.HasPrefix(file, ".git/")
	}
	if len(c.Inputs) > 0 {
		patterns, err := patternmatcher.New(clean(c.Inputs))
		if err != nil {
			return nil, nil, fmt.Errorf("inputs of the build command: %w", err)
		}
		return func(file string, isDir bool) (bool, bool) {
			if own(file) {
				return false, false
			}
			ok, err := patterns.MatchesOrParentMatches(file)
			return ok && err == nil, true
		}, docker, nil
	}
	git, err := ignore.Git(spec.Context, nil)
	if err != nil {
		return nil, nil, err
	}
	return func(file string, isDir bool) (bool, bool) {
		if own(file) || git.Match(file, isDir).Ignored {
			return false, false
		}
		return !docker.Match(file, isDir).Ignored, docker.MayReinclude(file)
	}, docker, nil
}

func clean(patterns []string) []string {
	out := make([]string, 0, len(patterns))
	for _, p := range patterns {
		not := ""
		if strings.HasPrefix(p, "!") {
			not, p = "!", p[1:]
		}
		out = append(out, not+path.Clean(p))
	}
	return out
}

func (c *Command) inputs(ctx context.Context, spec Spec, idx *tree.Index) ([]Input, error) {
	reads, _, err := c.reads(spec)
	if err != nil {
		return nil, err
	}
	x, dir, done, err := indexOf(spec, idx)
	if err != nil {
		return nil, err
	}
	defer done()
	relative := func(p string) string {
		if dir == "." {
			return p
		}
		return strings.TrimPrefix(p, dir+"/")
	}
	var list []Input
	err = tree.Walk(ctx, x, dir, func(p string, isDir bool) (bool, bool) {
		ok, below := reads(relative(p), isDir)
		return !ok, isDir && below
	}, func(e tree.Entry) error {
		if e.IsDir() {
			return nil
		}
		in := Input{Path: relative(e.Path), Mode: e.Mode, Link: e.Link}
		if e.IsRegular() {
			d, err := x.Hash(ctx, e.Path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("hash %s: %w", e.Path, err)
			}
			in.Size, in.Digest = e.Size, d.String()
		}
		list = append(list, in)
		return nil
	})
	slices.SortFunc(list, func(a, b Input) int { return strings.Compare(a.Path, b.Path) })
	return list, err
}

// A commandBuilder runs the command and takes over what it leaves.
type commandBuilder struct {
	docker *dockerBuilder
	store  *registry.Store
	ep     *registry.Endpoint
}

func (b *commandBuilder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	c := spec.Command
	r := &Result{Rung: "made by its command", Why: c.line(), Record: &Record{}}
	var err error
	switch {
	case c.Output == "":
		r.Digest, err = b.ofEngine(ctx, spec, progress)
	case c.To == "":
		r.Digest, err = b.archive(ctx, spec, progress)
	default:
		r.Digest, r.Record.Outputs, err = b.laid(ctx, spec, progress)
	}
	if err != nil {
		return nil, err
	}
	return r, tagged(ctx, b.store, b.ep, spec.Repository(), r.Digest)
}

// line is the command as people write it.
func (c *Command) line() string {
	if len(c.Run) == 3 && c.Run[0] == "sh" && c.Run[1] == "-c" {
		return c.Run[2]
	}
	return strings.Join(c.Run, " ")
}

func (c *Command) run(ctx context.Context, spec Spec, image string, progress Progress) error {
	env := []string{"KDEV_PLATFORM=" + spec.platform(), "KDEV_SERVICE=" + spec.Service, "KDEV_ROOT=" + spec.Root, "KDEV_IMAGE=" + image}
	for _, k := range sortedKeys(c.Env) {
		env = append(env, k+"="+c.Env[k])
	}
	start := time.Now()
	progress.send(spec, Event{Step: c.line()})
	err := process.Run(ctx, process.Command{Args: c.Run, Dir: spec.Context, Env: env}, func(l string) {
		progress.send(spec, Event{Step: c.line(), Line: l})
	})
	var f *process.Failure
	if errors.As(err, &f) {
		return c.problem("build-failed", "the build command failed", f.Err, strings.Join(f.Tail, "\n"), "run it by hand in "+display(spec, spec.Context)+": "+c.line(), spec)
	}
	if err != nil {
		return err
	}
	progress.send(spec, Event{Step: c.line(), Done: true, Took: time.Since(start).Round(time.Millisecond)})
	return nil
}

func (c *Command) problem(code, summary string, cause error, output, hint string, spec Spec) error {
	return &problem.Problem{Code: code, Where: "services." + spec.Service + ".build.command", Summary: summary, Err: cause, Output: output, Hint: hint}
}

// ofEngine takes over the image that the command left on the engine.
func (b *commandBuilder) ofEngine(ctx context.Context, spec Spec, progress Progress) (string, error) {
	return b.docker.bring(ctx, spec, spec.Repository(), "pushing to kdev's registry", progress, func(name string) error {
		if err := spec.Command.run(ctx, spec, name, progress); err != nil {
			return err
		}
		left := name
		if spec.Command.Name != "" {
			left = spec.Command.Name
		}
		if b.docker.engine.ImageID(ctx, left) == "" {
			return spec.Command.problem("command-no-image", "the command left no image "+left+" on the engine", nil, "",
				"let it build $KDEV_IMAGE, or say with image: what it calls the image, or with output: where its files are", spec)
		}
		if left == name {
			return nil
		}
		return b.docker.engine.TagImage(ctx, left, spec.platform(), name)
	})
}

func (c *Command) output(ctx context.Context, spec Spec, progress Progress) (string, error) {
	if err := c.run(ctx, spec, "", progress); err != nil {
		return "", err
	}
	out := filepath.Join(spec.Context, filepath.FromSlash(c.Output))
	if _, err := os.Stat(out); err != nil {
		return "", c.problem("command-no-output", "the command did not make its output", err, "",
			"output: is relative to the build context, "+display(spec, spec.Context), spec)
	}
	return out, nil
}

// archive takes over an image in files.
func (b *commandBuilder) archive(ctx context.Context, spec Spec, progress Progress) (string, error) {
	out, err := spec.Command.output(ctx, spec, progress)
	if err != nil {
		return "", err
	}
	img, err := openArchive(out, spec.platform())
	if err != nil {
		return "", spec.Command.problem("command-no-image", spec.Command.Output+" is no image", err, "",
			"an image is a folder in the OCI layout or a tar file of `docker save`; say with to: where a file or folder belongs in the image", spec)
	}
	h, err := b.store.PutImage(ctx, spec.Repository(), "", img)
	return h.String(), err
}

func openArchive(file, platform string) (v1.Image, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return tarball.ImageFromPath(file, nil)
	}
	index, err := ocilayout.ImageIndexFromPath(file)
	if err != nil {
		return nil, err
	}
	want, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	img, err := choose(index, *want)
	if err == nil && img == nil {
		err = fmt.Errorf("it holds nothing for %s", platform)
	}
	return img, err
}

// choose finds the image for a platform; the only one of an index may say none.
func choose(index v1.ImageIndex, want v1.Platform) (v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range m.Manifests {
		switch {
		case d.MediaType.IsIndex():
			child, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			if img, err := choose(child, want); img != nil || err != nil {
				return img, err
			}
		case d.MediaType.IsImage() && (d.Platform == nil && len(m.Manifests) == 1 || d.Platform != nil && d.Platform.Satisfies(want)):
			return index.Image(d.Digest)
		}
	}
	return nil, nil
}

// laid lays what the command made over the base.
func (b *commandBuilder) laid(ctx context.Context, spec Spec, progress Progress) (string, []Output, error) {
	c := spec.Command
	list, err := c.made(ctx, spec, progress)
	if err != nil {
		return "", nil, err
	}
	d, err := b.docker.begin(ctx, spec, c.Base, progress)
	if err != nil {
		return "", nil, err
	}
	if err := addOutputs(ctx, b.store, d, list, c.line()); err != nil {
		return "", nil, err
	}
	if len(c.Entrypoint) > 0 {
		if err := d.set("Entrypoint", c.Entrypoint); err != nil {
			return "", nil, err
		}
		delete(d.config, "Cmd")
	}
	digest, err := b.docker.end(ctx, spec, d)
	return digest, files(list), err
}

// A commandRecipe says of each input that the command has to run again.
type commandRecipe struct {
	nothing
	reads   func(file string, isDir bool) (bool, bool)
	sources []string
}

func loadCommand(spec Spec) (Recipe, error) {
	c := spec.Command
	reads, docker, err := c.reads(spec)
	if err != nil {
		return nil, err
	}
	return &commandRecipe{nothing{ignore: docker, bases: baseList(c.Base)}, reads, c.Inputs}, nil
}

func (r *commandRecipe) Explain(file string) dockerfile.Verdict {
	if ok, _ := r.reads(file, false); !ok {
		return dockerfile.Verdict{Why: "the build command does not read it"}
	}
	return dockerfile.Verdict{Action: dockerfile.Rebuild, Why: "the build command reads it"}
}

func (r *commandRecipe) Sources() []string {
	return slices.DeleteFunc(clean(r.sources), func(p string) bool { return strings.HasPrefix(p, "!") })
}
