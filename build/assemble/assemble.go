package assemble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/internal/tree/ignore"
)

// A Request is one image to make.
type Request struct {
	Name       string // of the Dockerfile, for people: "webui/Dockerfile"
	Text       []byte // of the Dockerfile
	Target     string
	Args       map[string]string
	Platform   string // "linux/amd64"
	Repository string // of the store, for what an engine makes

	Folder   string      // of the context, absolute
	Index    *tree.Index // holds it
	Dir      string      // the context in the index
	Ignore   *ignore.DockerMatcher
	Excludes []string // the ignore file's lines, for an engine
	Trees    *Trees   // what this process knows already; may be nil

	Network string            // of RUN: "none", "host", or the default
	Hosts   map[string]string // for RUN: addresses by name

	// Given are the images that bases mean whatever an engine or a registry has
	// under their names, by base as the Dockerfile has it.
	Given map[string]Given

	By string // what runs steps, for people: "the engine"
}

// A Given is an image of the store that a Dockerfile begins with.
type Given struct {
	Digest string // of its manifest; all of it is in the store
	Ref    string // as an engine pulls it
	Layout string // in its place: what a session calls the store
}

// A Result is an image whose blobs are all in the store.
type Result struct {
	Manifest []byte
	Digest   string
	Rung     string // how far down the ladder
	Why      string
	Layers   int // made here
	Engine   bool
}

// Progress hears of the steps that were done here, or found in the store. size
// is that of the layer.
type Progress func(step string, cached bool, size int64, took time.Duration)

// Make makes the image. Its error is an *Unsupported where the engine has to
// build all of it, and a problem where the Dockerfile fails.
func Make(ctx context.Context, store *registry.Store, engine Engine, req Request, progress Progress) (*Result, error) {
	if progress == nil {
		progress = func(string, bool, int64, time.Duration) {}
	}
	if req.Trees == nil {
		req.Trees = &Trees{}
	}
	if req.By == "" {
		req.By = "the engine"
	}
	// A file that is saved while its layer is written gives the layer of no
	// moment at all: it is written again.
	for attempt := 0; ; attempt++ {
		a := &assembly{
			ctx: ctx, store: store, engine: engine, req: req, progress: progress,
			bases:  &bases{store: store, engine: engine, platform: req.Platform, by: req.By, given: normalized(req.Given), seen: map[string]*base{}},
			source: newContextFS(ctx, req.Index, req.Dir, req.Ignore),
			states: map[digest.Digest]*state{},
		}
		r, err := a.run()
		var changed *changedError
		if errors.As(err, &changed) && attempt < 5 && ctx.Err() == nil {
			continue
		}
		if errors.As(err, &changed) && ctx.Err() == nil {
			return nil, &problem.Problem{
				Code: "file-unsteady", Where: changed.path, Summary: "the file changes faster than it can be read", Err: changed.cause,
				Hint: "leave it out by .dockerignore, or wait for what writes it",
			}
		}
		return r, err
	}
}

// An assembly is one try to make one image.
type assembly struct {
	ctx      context.Context
	store    *registry.Store
	engine   Engine
	req      Request
	progress Progress
	bases    *bases
	source   *contextFS
	recipe   *recipe
	states   map[digest.Digest]*state
	layers   map[digest.Digest][]layer // of the steps that were made part by part
	version  *Version                  // of the engine's BuildKit; nil: not asked yet
}

// A state is the result of a step: its tree, and below the layers of which
// step it lies.
type state struct {
	tree fsys
}

func (a *assembly) run() (*Result, error) {
	var err error
	if a.recipe, err = a.understand(); err != nil {
		return nil, err
	}
	r, err := a.inOne()
	if err != nil {
		return a.ended(err)
	}
	return r, nil
}

// inOne lays the last light steps over what they begin with.
func (a *assembly) inOne() (*Result, error) {
	if a.recipe.whole != "" {
		return nil, unsupported(a.recipe.whole)
	}
	c := a.recipe.graph.chain()
	if c.root != nil && !still(c.root) && len(c.light) == 0 {
		return nil, &Unsupported{What: "the last step needs an engine: " + c.root.name, Line: c.root.line}
	}
	r := &Result{}
	all, err := a.root(c, r)
	if err != nil {
		return nil, err
	}
	empty := make([]bool, 0, len(c.light))
	for _, v := range c.light {
		l, err := a.lay(v)
		if err != nil {
			return nil, err
		}
		empty = append(empty, l == nil)
		if l != nil {
			all = append(all, *l)
			r.Layers++
		}
	}
	r.Manifest, err = a.image(all, empty)
	if err != nil {
		return nil, err
	}
	r.Digest = string(layout.DigestOf(r.Manifest))
	return r, nil
}

// lay does a light step and writes its layer; nil where it changes nothing.
func (a *assembly) lay(v *vertex) (*layer, error) {
	start := time.Now()
	o, err := a.apply(v)
	if err != nil {
		return nil, a.failed(v, err)
	}
	changes, err := a.changes(o)
	if err != nil {
		return nil, a.failed(v, err)
	}
	if len(changes) == 0 {
		return nil, nil
	}
	l, err := a.write(changes)
	if err != nil {
		return nil, a.failed(v, err)
	}
	a.progress(v.name, false, l.Size, time.Since(start))
	return &l, nil
}

// root provides the layers that the light steps begin with.
func (a *assembly) root(c chain, r *Result) ([]layer, error) {
	if c.root == nil {
		r.Rung, r.Why = "assembled", "nothing has to be run"
		return nil, nil
	}
	manifest := ""
	var err error
	if src := c.root.op.GetSource(); src != nil && isImage(src) {
		r.Rung, r.Why = "assembled", "nothing has to be run"
		manifest, err = a.bases.manifest(a.ctx, trimImage(src.Identifier))
	} else if src != nil {
		return nil, &Unsupported{What: "the image begins with " + src.Identifier, Line: c.root.line}
	} else {
		r.Rung = "assembled on layers of " + a.req.By
		r.Why = fmt.Sprintf("%s needs an engine: %s", a.where(c.root), c.root.name)
		manifest, r.Engine, err = a.heavy(c.root)
	}
	if err != nil {
		return nil, err
	}
	all, err := layers(a.store, manifest)
	if err != nil {
		return nil, err
	}
	tree, err := a.req.Trees.of(a.store, all)
	if err != nil {
		return nil, err
	}
	a.states[c.root.digest] = &state{tree}
	return all, nil
}

// NoEngine is what helps where a step has to be run and nothing runs it.
const NoEngine = "start Docker, or set DOCKER_HOST to an engine's address; without one, `buildkit: tcp://HOST:1234` in kdev.yaml (or $BUILDKIT_HOST) names a BuildKit, and `buildkit: cluster` starts one in the cluster"

// heavyKind is the folder of the store that remembers what engines made.
const heavyKind = "steps"

// heavy returns an image that consists of the layers of a step that only an
// engine can do: of the store, or made now.
func (a *assembly) heavy(v *vertex) (manifest string, built bool, err error) {
	key, err := a.identity(v)
	if err != nil {
		return "", false, err
	}
	if raw, err := a.store.Meta(heavyKind, key); err == nil {
		d, perr := layout.ParseDigest(string(bytes.TrimSpace(raw)))
		if perr == nil {
			if err = a.store.Complete(d); err == nil {
				a.progress(v.name, true, 0, 0)
				return string(d), false, nil
			}
			a.store.Lost(d, err)
		}
	}
	if a.engine == nil {
		return "", false, &problem.Problem{
			Code: "engine-needed", Where: a.where(v), Summary: v.name + " needs an engine, and none answers",
			Hint: NoEngine,
		}
	}
	manifest, err = a.solve(v)
	if p := problem.As(err); p != nil && p.Code == "engine-missing" && !a.engine.Pulls() {
		return "", false, &problem.Problem{Code: "engine-needed", Where: a.where(v), Summary: v.name + " needs an engine, and none answers", Err: p.Err, Hint: NoEngine}
	}
	if err != nil {
		return "", false, err
	}
	return manifest, true, a.store.PutMeta(heavyKind, key, []byte(manifest))
}

// solve lets the engine do a step and those before it, as far as it does them right.
func (a *assembly) solve(v *vertex) (manifest string, err error) {
	if _, err := a.old(v); err != nil {
		return "", err
	}
	if a.replaced(v) {
		all, err := a.laid(v)
		if err != nil {
			return "", a.orTooOld(v, err)
		}
		raw, err := a.plain(all)
		return string(layout.DigestOf(raw)), err
	}
	def, err := a.part(v)
	if err != nil {
		return "", err
	}
	return a.engine.Solve(a.ctx, Solve{
		Definition: def, Context: a.req.Folder, Repository: a.req.Repository, Name: a.req.Name, Text: a.req.Text,
	})
}

// failed places an error of a step.
func (a *assembly) failed(v *vertex, err error) error {
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	var u *Unsupported
	if errors.As(err, &u) {
		if u.Line == 0 {
			u.Line = v.line
		}
		return u
	}
	var f failedCopy
	if errors.As(err, &f) {
		p := &problem.Problem{Code: "build-failed", Where: a.where(v), Summary: v.name + " failed", Err: f.error,
			Hint: "correct the instruction there; `kdev build` tries again, and `kdev up` does when the file is saved"}
		switch text := f.Error(); {
		case strings.Contains(text, "not found"):
			p.Hint = "paths are relative to the build context; what .dockerignore leaves out is not there"
		case strings.Contains(text, "directory"):
			p.Hint = "the image has a file where the line wants a folder, or a folder where it wants a file: name another destination"
		}
		return p
	}
	return err
}

func (a *assembly) where(v *vertex) string {
	if v.line == 0 {
		return a.req.Name
	}
	return fmt.Sprintf("%s:%d", a.req.Name, v.line)
}

func trimImage(identifier string) string { return identifier[len("docker-image://"):] }

// The context's files, through the project's index.

func (a *assembly) hash(p string) (string, error) {
	d, err := a.req.Index.Hash(a.ctx, path.Join(a.req.Dir, p))
	return d.String(), err
}

func (a *assembly) open(p string) (*os.File, error) {
	return a.req.Index.Open(path.Join(a.req.Dir, p))
}
