package build

import (
	"context"
	"slices"
	"sync"
)

// A run is one build of an image that several others begin with, for all who
// want it while it goes on.
type run struct {
	cancel context.CancelFunc
	done   chan struct{} // closed at the end, when result and err are known
	result *Result
	err    error

	mu     sync.Mutex
	wanted []*Progress // of those who wait, in the order in which they came
}

// share builds under a key, or waits for the build that goes on under it. The
// build ends early when nobody waits for it any more, whoever began it.
func (l *linker) share(ctx context.Context, key string, progress Progress, build func(context.Context, Progress) (*Result, error)) (*Result, error) {
	l.mu.Lock()
	r := l.runs[key]
	if r == nil {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r = &run{cancel: cancel, done: make(chan struct{})}
		l.runs[key] = r
		go func() { // whoever leaves last waits for it
			defer close(r.done)
			defer cancel()
			r.result, r.err = build(own, r.tell)
			l.forget(key, r)
		}()
	}
	me := &progress
	r.mu.Lock()
	r.wanted = append(r.wanted, me)
	r.mu.Unlock()
	l.mu.Unlock()
	select {
	case <-r.done:
		return r.result.copy(), r.err
	case <-ctx.Done():
		l.leave(key, r, me)
		return nil, ctx.Err()
	}
}

// leave ends a build that nobody waits for any more.
func (l *linker) leave(key string, r *run, me *Progress) {
	l.mu.Lock()
	r.mu.Lock()
	r.wanted = slices.DeleteFunc(r.wanted, func(p *Progress) bool { return p == me })
	last := len(r.wanted) == 0
	r.mu.Unlock()
	if last && l.runs[key] == r {
		delete(l.runs, key) // who comes now begins anew
	}
	l.mu.Unlock()
	if last {
		r.cancel()
		<-r.done
	}
}

// forget lets who comes from now on begin anew.
func (l *linker) forget(key string, r *run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs[key] == r {
		delete(l.runs, key)
	}
}

// tell tells whoever has waited longest: what is made once is shown once.
func (r *run) tell(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wanted) > 0 && *r.wanted[0] != nil {
		(*r.wanted[0])(e)
	}
}

// copy is a result of its own for each who gets it: they add to it.
func (r *Result) copy() *Result {
	if r == nil {
		return nil
	}
	own := *r
	if r.Record != nil {
		record := *r.Record
		own.Record = &record
	}
	return &own
}
