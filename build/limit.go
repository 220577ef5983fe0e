package build

import "context"

// limited lets n builds run at once; others wait, or leave when they are cancelled.
func limited(inner Builder, n int) Builder {
	return &limiter{inner: inner, slots: make(chan struct{}, n)}
}

type limiter struct {
	inner Builder
	slots chan struct{}
}

func (l *limiter) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.slots }()
	return l.inner.Build(ctx, spec, progress)
}
