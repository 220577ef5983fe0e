package build

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
)

// cached answers from the store what was built before from the same inputs
// and options, by whichever process and under whichever name.
func cached(inner Builder, store *registry.Store, ep *registry.Endpoint, idx *tree.Index) Builder {
	return &cache{inner, store, ep, idx}
}

type cache struct {
	inner Builder
	store *registry.Store
	ep    *registry.Endpoint
	idx   *tree.Index
}

// cacheKind is the folder of the store that maps keys to images.
const cacheKind = "cache"

type cacheEntry struct {
	Digest string `json:"digest"`
	Rung   string `json:"rung"`
	Why    string `json:"why"`
}

func (c *cache) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	options, err := productionOptions(spec)
	if err != nil {
		return nil, err
	}
	before, err := Inputs(ctx, spec, c.idx)
	if err != nil {
		return nil, err
	}
	k := key(options, before)
	if r := c.lookup(ctx, spec, k); r != nil {
		r.Record = &Record{Inputs: before}
		return r, nil
	}
	r, err := c.inner.Build(ctx, spec, progress)
	if err != nil {
		return nil, err
	}
	// A file that was saved while the engine read the context may be in the
	// image in its old or its new form.
	after, err := Inputs(ctx, spec, c.idx)
	if err != nil {
		return nil, err
	}
	inputs, steady := settle(before, after)
	r.Record = &Record{Inputs: inputs}
	if !steady {
		return r, nil
	}
	raw, err := json.Marshal(cacheEntry{Digest: r.Digest, Rung: r.Rung, Why: r.Why})
	if err != nil {
		return nil, err
	}
	if err := c.store.PutMeta(cacheKind, k, raw); err != nil {
		return nil, fmt.Errorf("remember the build: %w", err)
	}
	return r, nil
}

// lookup returns the image of k if the cluster can pull all of it.
func (c *cache) lookup(ctx context.Context, spec Spec, k string) *Result {
	raw, err := c.store.Meta(cacheKind, k)
	if err != nil {
		return nil
	}
	var e cacheEntry
	if json.Unmarshal(raw, &e) != nil {
		return nil
	}
	if !c.ep.Available(ctx, c.store, spec.Repository(), e.Digest) {
		// Collected, or damaged: what is built instead takes its place.
		_ = c.store.RemoveMeta(cacheKind, k)
		return nil
	}
	if err := tagged(ctx, c.store, c.ep, spec.Repository(), e.Digest); err != nil {
		return nil
	}
	return &Result{Digest: e.Digest, Cached: true, Rung: e.Rung, Why: e.Why}
}

// tagged enters an image of the store under the repository, if it is not yet.
func tagged(ctx context.Context, store *registry.Store, ep *registry.Endpoint, repo, digest string) error {
	tag := registry.Short(digest)
	if e, err := store.Resolve(repo, tag); err == nil && string(e.Digest) == digest {
		return nil
	}
	raw, err := store.ReadBlob(layout.Digest(digest))
	if err != nil {
		return err
	}
	if _, err := store.PutPartialManifest(repo, tag, "", raw); err != nil {
		return fmt.Errorf("tag %s: %w", repo, err)
	}
	return ep.Publish(ctx, store, repo, tag, digest)
}

// settle merges what the build was started from with what is there now. A
// file that differs is kept without its digest, that is: unknown.
func settle(before, after []Input) (inputs []Input, steady bool) {
	now := make(map[string]Input, len(after))
	for _, in := range after {
		now[in.Path] = in
	}
	steady = len(before) == len(after)
	for _, in := range before {
		if now[in.Path] != in {
			steady = false
			in.Digest, in.Size = "", 0
		}
		inputs = append(inputs, in)
		delete(now, in.Path)
	}
	// What appeared meanwhile may or may not be in the image: as unknown, it
	// is compared with the container, not with this record.
	for _, in := range after {
		if _, fresh := now[in.Path]; fresh {
			in.Digest, in.Size = "", 0
			inputs = append(inputs, in)
		}
	}
	return inputs, steady
}
