package build

import (
	"context"
	"fmt"
	"time"
)

// limited lets n builds run at once; others wait, or leave when they are cancelled.
func limited(inner Builder, n int) Builder {
	return &limiter{inner: inner, slots: make(chan struct{}, n)}
}

type limiter struct {
	inner Builder
	slots chan struct{}
}

func (l *limiter) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	if err := l.enter(ctx, spec, progress); err != nil {
		return nil, err
	}
	defer func() { <-l.slots }()
	return l.inner.Build(ctx, spec, progress)
}

// enter takes a slot. A wait for one is a step: nothing is built meanwhile, and
// people should know what the seconds are spent on.
func (l *limiter) enter(ctx context.Context, spec Spec, progress Progress) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	start := time.Now()
	step := fmt.Sprintf("waits for a free build slot (%d at a time)", cap(l.slots))
	progress.send(spec, Event{Step: step})
	select {
	case l.slots <- struct{}{}:
		progress.send(spec, Event{Step: step, Done: true, Took: time.Since(start).Round(time.Millisecond)})
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
