package build

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// dockerBuilder lets the engine build, and takes the result over by a push
// of the engine into the store.
type dockerBuilder struct {
	engine *engine.Builder
	store  *registry.Store
	ep     *registry.Endpoint
}

func (b *dockerBuilder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	how := ""
	digest, err := b.bring(ctx, spec, spec.Repository(), "pushing to kdev's registry", progress, func(name string) error {
		req := b.request(spec)
		req.Tag = name
		var err error
		how, err = b.engine.Build(ctx, req, report(spec, progress))
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := tagged(ctx, b.store, b.ep, spec.Repository(), digest); err != nil {
		return nil, err
	}
	return &Result{Digest: digest, Rung: how, Why: "the engine builds all of it"}, nil
}

// requestOf is the spec as an engine takes it.
func requestOf(spec Spec) engine.Request {
	return engine.Request{
		Root: spec.Root, Context: spec.Context, Dockerfile: spec.Dockerfile,
		Target: spec.Target, Args: spec.Args, Platform: spec.platform(),
		Bases: map[string]string{}, Options: spec.Options,
	}
}

func (b *dockerBuilder) request(spec Spec) engine.Request {
	req := requestOf(spec)
	for base, made := range spec.made {
		req.Bases[base] = made.ref
	}
	return req
}

// report hands an engine's events on.
func report(spec Spec, progress Progress) func(engine.Event) {
	return func(e engine.Event) {
		progress.send(spec, Event{Step: e.Step, Line: e.Line, Done: e.Done, Cached: e.Cached, Took: e.Took})
	}
}

// bring lets make give an image of the engine a name, pushes it under that
// name and takes it over into the store's repo.
func (b *dockerBuilder) bring(ctx context.Context, spec Spec, repo, step string, progress Progress, make func(name string) error) (string, error) {
	// A name of its own: two processes may build the same service at once.
	tag := "build-" + strings.ToLower(rand.Text()[:12])
	ref := b.ep.PushHost + "/" + repo + ":" + tag
	if err := make(ref); err != nil {
		return "", err
	}
	// The name goes even where the push was cancelled.
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = b.engine.Untag(end, ref)
	}()
	start := time.Now()
	progress.send(spec, Event{Step: step})
	digest, sent, err := b.engine.Push(ctx, ref, b.ep.Token)
	if err != nil {
		return "", err
	}
	if err := b.ep.Adopt(ctx, b.store, repo, tag, digest); err != nil {
		return "", err
	}
	if digest, err = single(b.store, spec, digest); err != nil {
		return "", err
	}
	progress.send(spec, Event{Step: step, Done: true, Bytes: sent, Took: time.Since(start).Round(time.Millisecond)})
	return digest, nil
}

// single is the image for the spec's platform where what was made is an index.
func single(store *registry.Store, spec Spec, digest string) (string, error) {
	raw, err := store.ReadBlob(layout.Digest(digest))
	if err != nil {
		return "", err
	}
	m, err := layout.ParseManifest(raw, "")
	if err != nil || !m.IsIndex() {
		return digest, err
	}
	for _, d := range m.Manifests {
		var p struct{ OS, Architecture string }
		if len(d.Platform) > 0 && json.Unmarshal(d.Platform, &p) == nil && p.OS == "linux" && p.Architecture == spec.arch() {
			return string(d.Digest), nil
		}
	}
	return "", fmt.Errorf("nothing was built for %s", spec.platform())
}
