package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/patternmatcher/ignorefile"

	"github.com/kdev-io/kdev/build/assemble"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
)

// A ladder makes an image the cheapest way that gives the right one:
//
//	assembled                       no RUN in the final stage: no engine
//	assembled on layers of the engine   what is COPYed after the last RUN is laid
//	                                over the layers that the engine once made
//	the engine's BuildKit           everything else
//	the engine's classic builder    where the engine has no BuildKit
//
// Where a BuildKit has an address of its own it stands in the place of the engine.
type ladder struct {
	runs  runner
	store *registry.Store
	ep    *registry.Endpoint
	idx   *tree.Index
	trees assemble.Trees
}

// A runner runs what kdev itself cannot: all of a Dockerfile, or single steps.
type runner interface {
	Builder
	steps(spec Spec, progress Progress) assemble.Engine
	given(made madeBase) assemble.Given
	name() string                        // for people: "the engine"
	missing(err error, why string) error // err with what helps where it is not there; why says what needs it
	lacks(err error) bool                // it cannot do single steps, but all of it
}

func (b *ladder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	r, err := b.assemble(ctx, spec, progress)
	if err == nil || ctx.Err() != nil {
		return r, err
	}
	u, ok := assemble.IsUnsupported(err)
	if !ok && !b.runs.lacks(err) {
		return nil, err
	}
	why := ""
	if ok {
		why = u.What
		if u.Line > 0 {
			why = fmt.Sprintf("%s:%d: %s", display(spec, spec.Dockerfile), u.Line, u.What)
		}
	}
	r, err = b.runs.Build(ctx, spec, progress)
	if err != nil {
		return nil, b.runs.missing(err, why)
	}
	if ok {
		r.Why = why
	}
	return r, nil
}

func (b *ladder) assemble(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	req, done, err := b.request(spec)
	if err != nil {
		return nil, err
	}
	defer done()
	made, err := assemble.Make(ctx, b.store, b.runs.steps(spec, progress), req, func(step string, cached bool, size int64, took time.Duration) {
		progress.send(spec, Event{Step: step, Done: true, Cached: cached, Bytes: size, Took: took})
	})
	if err != nil {
		return nil, err
	}
	if err := tagged(ctx, b.store, b.ep, spec.Repository(), made.Digest); err != nil {
		return nil, err
	}
	return &Result{Digest: made.Digest, Rung: made.Rung, Why: made.Why}, nil
}

// request is the spec as an assembly takes it; done lets go of its files.
func (b *ladder) request(spec Spec) (req assemble.Request, done func(), err error) {
	plan, err := load(spec)
	if err != nil {
		return assemble.Request{}, nil, err
	}
	text, err := os.ReadFile(spec.Dockerfile)
	if err != nil {
		return assemble.Request{}, nil, fmt.Errorf("read the Dockerfile: %w", err)
	}
	x, dir, done, err := indexOf(spec, b.idx)
	if err != nil {
		return assemble.Request{}, nil, err
	}
	req = assemble.Request{
		Name: display(spec, spec.Dockerfile), Text: text, Target: spec.Target, Args: spec.Args,
		Platform: spec.platform(), Repository: "kdev/steps/" + spec.Repository(),
		Folder: spec.Context, Index: x, Dir: dir, Ignore: plan.Ignore(), Trees: &b.trees,
		Given: map[string]assemble.Given{}, Network: spec.Options.Network, Hosts: spec.Options.Hosts,
		By: b.runs.name(),
	}
	for base, made := range spec.made {
		req.Given[base] = b.runs.given(made)
	}
	if file := plan.Ignore().File(); file != "" {
		f, err := os.Open(file)
		if err != nil {
			done()
			return assemble.Request{}, nil, fmt.Errorf("read the ignore rules: %w", err)
		}
		req.Excludes, err = ignorefile.ReadAll(f)
		f.Close()
		if err != nil {
			done()
			return assemble.Request{}, nil, fmt.Errorf("read the ignore rules: %w", err)
		}
	}
	return req, done, nil
}

// display is a file as people know it.
func display(spec Spec, file string) string {
	rel, err := filepath.Rel(spec.Root, file)
	if spec.Root == "" || err != nil || strings.HasPrefix(rel, "..") {
		return file
	}
	return filepath.ToSlash(rel)
}

// A stepEngine does for an assembly what only an engine can, and brings the
// result into the store by a push of the engine.
type stepEngine struct {
	docker   *dockerBuilder
	store    *registry.Store
	ep       *registry.Endpoint
	spec     Spec
	progress Progress
}

func (b *dockerBuilder) steps(spec Spec, progress Progress) assemble.Engine {
	return &stepEngine{b, b.store, b.ep, spec, progress}
}

func (b *dockerBuilder) given(made madeBase) assemble.Given {
	return assemble.Given{Digest: made.digest, Ref: made.ref}
}

func (b *dockerBuilder) name() string { return "the engine" }

func (b *dockerBuilder) lacks(err error) bool { return b.engine.Lacks(err) }

func (b *dockerBuilder) missing(err error, why string) error {
	p := problem.As(err)
	if p == nil || p.Code != "engine-missing" {
		return err
	}
	own := *p
	own.Where, own.Hint = why, assemble.NoEngine
	return &own
}

func (e *stepEngine) Pulls() bool { return false }

func (e *stepEngine) Version(ctx context.Context) (assemble.Version, error) {
	release, name, err := e.docker.engine.Version(ctx)
	return assemble.Version{Release: release, Name: name}, err
}

// Offer publishes the image where the engine pulls from.
func (e *stepEngine) Offer(ctx context.Context, repo string, manifest []byte) (assemble.Given, error) {
	digest, err := offered(e.store, repo, manifest)
	if err != nil {
		return assemble.Given{}, err
	}
	if err := e.ep.Publish(ctx, e.store, repo, "", digest); err != nil {
		return assemble.Given{}, err
	}
	return e.docker.given(madeBase{digest, e.ep.PushHost + "/" + repo + "@" + digest}), nil
}

// offered enters an image of which all blobs are in the store, under no tag.
func offered(store *registry.Store, repo string, manifest []byte) (string, error) {
	_, err := store.PutPartialManifest(repo, "", layout.OCIManifest, manifest)
	return string(layout.DigestOf(manifest)), err
}

func (e *stepEngine) ImageID(ctx context.Context, ref string) string {
	return e.docker.engine.ImageID(ctx, ref)
}

func (e *stepEngine) ImageConfig(ctx context.Context, ref, platform string) ([]byte, error) {
	return e.docker.engine.ImageConfig(ctx, ref, platform)
}

func (e *stepEngine) Take(ctx context.Context, ref, platform, repo, tag string) (string, error) {
	digest, err := e.docker.bring(ctx, e.spec, repo, "taking over "+familiar(ref)+" from the engine", e.progress, func(name string) error {
		return e.docker.engine.TagImage(ctx, ref, platform, name)
	})
	if err == nil {
		err = e.ep.Pull(ctx, e.store, repo, digest)
	}
	if err != nil || tag == "" {
		return digest, err
	}
	raw, err := e.store.ReadBlob(layout.Digest(digest))
	if err != nil {
		return "", err
	}
	_, err = e.store.PutPartialManifest(repo, tag, "", raw)
	return digest, err
}

func (e *stepEngine) Solve(ctx context.Context, s assemble.Solve) (string, error) {
	digest, err := e.docker.bring(ctx, e.spec, s.Repository, "pushing layers to kdev's registry", e.progress, func(name string) error {
		req := e.docker.request(e.spec)
		req.Tag = name
		return e.docker.engine.Solve(ctx, s.Definition, req, report(e.spec, e.progress))
	})
	if err != nil {
		return "", err
	}
	return digest, e.ep.Pull(ctx, e.store, s.Repository, digest)
}

// familiar is the reference as people write it.
func familiar(ref string) string {
	ref = strings.TrimPrefix(ref, "docker.io/")
	return strings.TrimPrefix(ref, "library/")
}
