package build

import (
	"context"

	"github.com/kdev-io/kdev/internal/registry/layout"
)

// leased keeps what builds write and find in the store from being collected
// until the last of them has ended.
func leased(inner Builder, lease *layout.Lease) Builder { return &leaser{inner, lease} }

type leaser struct {
	inner Builder
	lease *layout.Lease
}

func (l *leaser) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	l.lease.Begin()
	r, err := l.inner.Build(ctx, spec, progress)
	if end := l.lease.End(); err == nil && end != nil {
		return nil, end
	}
	return r, err
}
