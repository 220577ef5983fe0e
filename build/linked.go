package build

import (
	"context"
	"errors"
	"sync"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
	"github.com/kdev-io/kdev/internal/tree"
)

// linked makes the images of the project that a Spec's is made from before it.
// One service's image is made by one build at a time: who asks for it meanwhile
// with the same inputs shares that one, its failure too, and who has others
// waits for it.
func linked(inner Builder, store *registry.Store, ep *registry.Endpoint, idx *tree.Index) Builder {
	return &linker{inner: inner, store: store, ep: ep, idx: idx, busy: map[string]chan struct{}{}, runs: map[string]*run{}}
}

type linker struct {
	inner Builder
	store *registry.Store
	ep    *registry.Endpoint
	idx   *tree.Index

	mu   sync.Mutex
	busy map[string]chan struct{} // holds one token while the image is being made
	runs map[string]*run          // of parents, by what they are made from
}

// A madeBase is a parent's image in the store.
type madeBase struct {
	digest string
	ref    string // as this machine's engine pulls it
}

func (l *linker) Build(ctx context.Context, spec Spec, progress Progress) (*Result, error) {
	if len(spec.Siblings) < 2 {
		return l.inner.Build(ctx, spec, progress)
	}
	r, err := Load(spec)
	if err != nil {
		return nil, err
	}
	above := Parents(r)
	build := func(ctx context.Context, progress Progress) (*Result, error) {
		return l.make(ctx, spec, above, progress)
	}
	if !isParent(spec) {
		return build(ctx, progress)
	}
	options, err := productionOptions(spec)
	if err != nil {
		return nil, err
	}
	inputs, err := Inputs(ctx, spec, l.idx)
	if err != nil {
		return nil, err
	}
	return l.share(ctx, digestOf(spec.Repository(), spec.platform(), key(options, inputs)), progress, build)
}

// make makes the parents and then the image.
func (l *linker) make(ctx context.Context, spec Spec, above []Parent, progress Progress) (*Result, error) {
	if len(above) > 0 {
		var err error
		if spec.above, err = standFor(ctx, above, l.idx); err != nil {
			return nil, err
		}
		if spec.made, err = l.parents(ctx, above, progress); err != nil {
			return nil, err
		}
	}
	done, err := l.alone(ctx, spec.Repository()+" "+spec.platform())
	if err != nil {
		return nil, err
	}
	defer done()
	return l.inner.Build(ctx, spec, progress)
}

// parents makes them side by side. The child's cancellation is theirs.
func (l *linker) parents(ctx context.Context, above []Parent, progress Progress) (map[string]madeBase, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	progress = progress.oneByOne()
	results := make([]*Result, len(above))
	failed := make([]error, len(above))
	var work sync.WaitGroup
	for i, p := range above {
		work.Go(func() {
			r, err := l.Build(ctx, p.Spec, progress)
			if err == nil {
				err = l.ep.Pull(ctx, l.store, p.Spec.Repository(), r.Digest)
			}
			if results[i], failed[i] = r, err; err != nil {
				cancel()
			}
		})
	}
	work.Wait()
	made := map[string]madeBase{}
	var first error
	for i, p := range above {
		switch {
		case failed[i] == nil:
			made[p.Base] = madeBase{results[i].Digest, l.ep.PushHost + "/" + p.Spec.Repository() + "@" + results[i].Digest}
		case first == nil, errors.Is(first, context.Canceled): // because of another one's failure
			first = ofParent(p, failed[i])
		}
	}
	return made, first
}

// ofParent says whose build failed: the child's own may be fine.
func ofParent(p Parent, err error) error {
	why := problem.As(err)
	if why == nil {
		return err
	}
	own := *why
	own.Summary = p.Base + ", which it is made from: " + why.Summary
	return &own
}

// alone waits until no other build makes the image.
func (l *linker) alone(ctx context.Context, image string) (done func(), err error) {
	l.mu.Lock()
	token := l.busy[image]
	if token == nil {
		token = make(chan struct{}, 1)
		l.busy[image] = token
	}
	l.mu.Unlock()
	select {
	case token <- struct{}{}:
		return func() { <-token }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// oneByOne keeps the promise of Progress where several builds report.
func (p Progress) oneByOne() Progress {
	if p == nil {
		return nil
	}
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		p(e)
	}
}
