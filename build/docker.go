package build

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/kdev-io/kdev/build/engine"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
)

// NewDocker builds Dockerfiles: from the cache where nothing changed, else in
// the engine. idx holds the project's files.
func NewDocker(docker *client.Client, store *registry.Store, ep *registry.Endpoint, idx *tree.Index) Builder {
	var b Builder = &dockerBuilder{engine.New(docker), store, ep}
	b = limited(b, max(2, runtime.NumCPU()))
	b = cached(b, store, ep, idx)
	b = dev(b, store, ep)
	return recorded(b, store, ep)
}

// dockerBuilder lets the engine build, and takes the result over by a push
// of the engine into the store.
type dockerBuilder struct {
	engine *engine.Builder
	store  *registry.Store
	ep     *registry.Endpoint
}

func (b *dockerBuilder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	repo := spec.Repository()
	// A name of its own: two processes may build the same service at once.
	tag := "build-" + strings.ToLower(rand.Text()[:12])
	ref := b.ep.PushHost + "/" + repo + ":" + tag
	report := func(e engine.Event) {
		progress.send(spec, Event{Step: e.Step, Line: e.Line, Done: e.Done, Cached: e.Cached, Took: e.Took})
	}
	how, err := b.engine.Build(ctx, engine.Request{
		Root: spec.Root, Context: spec.Context, Dockerfile: spec.Dockerfile,
		Target: spec.Target, Args: spec.Args, Platform: spec.platform(), Tag: ref,
	}, report)
	if err != nil {
		return nil, err
	}
	// The name goes even where the push was cancelled.
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = b.engine.Untag(end, ref)
	}()
	start := time.Now()
	progress.send(spec, Event{Step: "pushing to kdev's registry"})
	digest, err := b.engine.Push(ctx, ref, b.ep.Token, report)
	if err != nil {
		return nil, err
	}
	if err := b.ep.Adopt(ctx, b.store, repo, tag, digest); err != nil {
		return nil, err
	}
	digest, err = b.single(ctx, spec, digest)
	if err != nil {
		return nil, err
	}
	if err := tagged(ctx, b.store, b.ep, repo, digest); err != nil {
		return nil, err
	}
	progress.send(spec, Event{Step: "pushing to kdev's registry", Done: true, Took: time.Since(start).Round(time.Millisecond)})
	return &Result{Digest: digest, Rung: how, Why: "a RUN needs an engine"}, nil
}

// single is the image for the spec's platform where the engine pushed an index.
func (b *dockerBuilder) single(ctx context.Context, spec Spec, digest string) (string, error) {
	raw, err := b.store.ReadBlob(layout.Digest(digest))
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
	return "", fmt.Errorf("the engine built nothing for %s", spec.platform())
}
