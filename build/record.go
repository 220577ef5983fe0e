package build

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/registry/layout"
)

// recordKind is the folder of the store that holds records by digest.
const recordKind = "records"

// recorded completes each result and saves its record.
func recorded(inner Builder, store *registry.Store, ep *registry.Endpoint) Builder {
	return &recorder{inner, store, ep}
}

type recorder struct {
	inner Builder
	store *registry.Store
	ep    *registry.Endpoint
}

func (b *recorder) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	start := time.Now()
	// From before the build: a Dockerfile that is saved during it is another one
	// than that of the image, as far as anybody knows.
	options, err := OptionsHash(spec)
	if err != nil {
		return nil, err
	}
	r, err := b.inner.Build(ctx, spec, progress)
	if err != nil {
		return nil, err
	}
	r.Took = time.Since(start)
	r.Ref = b.ep.Ref(spec.Repository(), registry.Short(r.Digest), r.Digest)
	if r.Record == nil {
		r.Record = &Record{}
	}
	r.Record.Service, r.Record.Digest, r.Record.Options = spec.Service, r.Digest, options
	raw, err := json.Marshal(r.Record)
	if err != nil {
		return nil, err
	}
	if err := b.store.PutMeta(recordKind, layout.Digest(r.Digest).Hex(), raw); err != nil {
		return nil, fmt.Errorf("record the build: %w", err)
	}
	return r, nil
}

// LoadRecord returns what an image of the store was made from; false where
// kdev did not build it, or its record was collected.
func LoadRecord(store *registry.Store, digest string) (*Record, bool) {
	d, err := layout.ParseDigest(digest)
	if err != nil {
		return nil, false
	}
	raw, err := store.Meta(recordKind, d.Hex())
	if err != nil {
		return nil, false
	}
	var r Record
	if json.Unmarshal(raw, &r) != nil || r.Digest != digest {
		return nil, false
	}
	return &r, true
}
