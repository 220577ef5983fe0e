package build

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
	"github.com/kdev-io/kdev/internal/tree"
)

// cached answers from the store what was built before from the same inputs
// and options, by whichever process and under whichever name. imageID is what
// the engine calls an image that it holds, "" where it does not or is away: a
// base that was pulled anew in the meantime is another input.
func cached(inner Builder, store *registry.Store, ep *registry.Endpoint, idx *tree.Index, imageID func(ctx context.Context, ref string) string) Builder {
	if imageID == nil {
		imageID = func(context.Context, string) string { return "" }
	}
	return &cache{inner, store, ep, idx, imageID}
}

type cache struct {
	inner   Builder
	store   *registry.Store
	ep      *registry.Endpoint
	idx     *tree.Index
	imageID func(ctx context.Context, ref string) string
}

// cacheKind is the folder of the store that maps keys to images.
const cacheKind = "cache"

type cacheEntry struct {
	Digest string            `json:"digest"`
	Rung   string            `json:"rung"`
	Why    string            `json:"why"`
	Bases  map[string]string `json:"bases,omitempty"` // engine's IDs by reference

	Outputs []Output `json:"outputs,omitempty"`
}

func (c *cache) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	options, err := productionOptions(spec)
	if err != nil {
		return nil, err
	}
	before, err := inputsBefore(ctx, spec, c.idx)
	if err != nil {
		return nil, err
	}
	if err := warn(spec, before, progress); err != nil {
		return nil, err
	}
	k := cacheKey(spec, options, before)
	if r := c.lookup(ctx, spec, k); r != nil {
		r.Record.Inputs, r.Record.Bases = before, c.allBases(ctx, spec)
		warnOutputs(spec, r.Record.Outputs, progress)
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
	// Nor is it known which text of the Dockerfile the engine read, where that was
	// saved meanwhile. It is no input where it lies outside of the context.
	now, err := productionOptions(spec)
	if err != nil {
		return nil, err
	}
	steady = steady && now == options
	if r.Record == nil {
		r.Record = &Record{}
	}
	r.Record.Inputs, r.Record.Bases = inputs, c.allBases(ctx, spec)
	warnOutputs(spec, r.Record.Outputs, progress)
	if !steady {
		return r, nil
	}
	bases, err := c.bases(ctx, spec)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(cacheEntry{Digest: r.Digest, Rung: r.Rung, Why: r.Why, Bases: bases, Outputs: r.Record.Outputs})
	if err != nil {
		return nil, err
	}
	if err := c.store.PutMeta(cacheKind, k, raw); err != nil {
		return nil, fmt.Errorf("remember the build: %w", err)
	}
	return r, nil
}

// cacheKey is what an image is known by. For a parent its image counts, not
// what that is made from: a comment in a parent's Dockerfile, or a base of the
// parent that was pulled anew, asks of the child what it changed and no more.
func cacheKey(spec Spec, options string, inputs []Input) string {
	if len(spec.made) == 0 {
		return key(options, inputs)
	}
	inputs = slices.DeleteFunc(slices.Clone(inputs), func(in Input) bool { return Inherited(in.Path) })
	parts := []string{"made from", options}
	for _, base := range slices.Sorted(maps.Keys(spec.made)) {
		parts = append(parts, base, spec.made[base].digest)
	}
	return key(digestOf(parts...), inputs)
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
	for ref, id := range e.Bases {
		if Moved(id, c.imageID(ctx, ref)) {
			return nil
		}
	}
	if !c.ep.Available(ctx, c.store, spec.Repository(), e.Digest) {
		// Damaged: what is built instead takes its place.
		if d, err := layout.ParseDigest(e.Digest); err == nil && c.ep.Shared {
			c.store.Lost(d, c.store.Complete(d))
		}
		_ = c.store.RemoveMeta(cacheKind, k)
		return nil
	}
	if err := tagged(ctx, c.store, c.ep, spec.Repository(), e.Digest); err != nil {
		return nil
	}
	return &Result{Digest: e.Digest, Cached: true, Rung: e.Rung, Why: e.Why, Record: &Record{Outputs: e.Outputs}}
}

// bases are the engine's IDs of the images that the build began with.
func (c *cache) bases(ctx context.Context, spec Spec) (map[string]string, error) {
	recipe, err := Load(spec)
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, ref := range recipe.Bases() {
		ids[ref] = c.imageID(ctx, ref)
	}
	return ids, nil
}

// Moved says whether an image of the engine is another one than it was, by its IDs then
// and now. One that the engine had not, or has no longer, tells nothing.
func Moved(was, now string) bool { return was != "" && now != "" && was != now }

// allBases are the bases of the image and of those of the project above it, as the
// engine calls them; those that it does not hold are left out.
func (c *cache) allBases(ctx context.Context, spec Spec) map[string]string {
	ids := map[string]string{}
	var add func(r Recipe)
	add = func(r Recipe) {
		for _, ref := range r.Bases() {
			if _, asked := ids[ref]; !asked {
				ids[ref] = c.imageID(ctx, ref)
			}
		}
		for _, p := range Parents(r) {
			add(p.Recipe)
		}
	}
	if r, err := Load(spec); err == nil { // else the build says so
		add(r)
	}
	maps.DeleteFunc(ids, func(_, id string) bool { return id == "" })
	return ids
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
