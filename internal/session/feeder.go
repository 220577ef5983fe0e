package session

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/watch"
)

// A feeder turns changed paths of one service into updates of the mirror, in
// order and off the loop: hashing a large file must not hold up the others.
// Paths that change again while they wait are looked at once.
type feeder struct {
	s       *Session
	cancel  context.CancelFunc
	service string
	plan    *mapping
	hooks   []mirror.Hook
	local   func(rel string) string // path in the context → path in the index
	read    chan struct{}           // closed when the whole tree was read once, or could not be

	preserves bool                    // the service keeps back what is saved
	image     map[string]engine.File  // what its image holds
	frozen    map[string]*engine.File // what was saved since, as it was before

	unread  map[string]string // path in the context → why it could not be read, as it was told; run's alone
	closed  []string          // directories of the index that may not be read; run's alone
	outputs []build.Output    // what a build made and the containers should hold; run's alone

	wake    chan struct{}
	mu      sync.Mutex
	pending map[string]dockerfile.Verdict // by path in the context; without Dests one that only triggers
	batch   watch.Batch                   // the newest one that marked a path
	// compiled is what the newest compilation made, until it is handed on.
	compiled *swapped
}

// mark notes that a path of the context changed and where it belongs, which may
// be nowhere.
func (f *feeder) mark(rel string, v dockerfile.Verdict, batch watch.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending == nil {
		f.pending = map[string]dockerfile.Verdict{}
	}
	f.pending[rel] = v
	f.batch = batch
}

// flush lets the marked paths go.
func (f *feeder) flush() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feeder) take() (map[string]dockerfile.Verdict, watch.Batch, *swapped) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, s := f.pending, f.compiled
	f.pending, f.compiled = nil, nil
	return p, f.batch, s
}

func (f *feeder) run(ctx context.Context, generation uint64) {
	err := f.whole(ctx, generation)
	close(f.read)
	if err != nil {
		f.fail(ctx, err)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		pending, batch, compiled := f.take()
		if compiled != nil && compiled.times.generation < batch.Generation {
			f.updateOutputs(ctx, compiled)
			compiled = nil
		}
		if len(pending) > 0 {
			if err := f.update(ctx, pending, batch); err != nil {
				f.fail(ctx, err)
			}
		}
		if compiled != nil {
			f.updateOutputs(ctx, compiled)
		}
	}
}

func (f *feeder) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.s.post(ctx, notice{Notice{Level: Fail, Service: f.service, Code: "sync-failed", Text: "reading changed files failed", Problem: asProblem(err, "sync-read", f.service)}})
}

// whole reads all that the Dockerfile maps.
func (f *feeder) whole(ctx context.Context, generation uint64) error {
	files, unread, err := wantedFiles(ctx, f.s.parts.Index, f.plan)
	if err != nil {
		return err
	}
	f.closed = nil
	maps.DeleteFunc(f.unread, func(rel, _ string) bool { return unread[f.local(rel)] == nil })
	for local := range unread {
		if e, ok := f.s.parts.Index.Lookup(local); ok && e.IsDir() {
			f.closed = append(f.closed, local)
			continue
		}
		f.again(f.inContext(local))
	}
	f.tellUnread(ctx, unread)
	if f.preserves && ctx.Err() == nil {
		err = f.preserve(files)
	}
	maps.Copy(files, outputFiles(f.outputs))
	f.s.mirror.SetDesired(f.service, generation, files, f.hooks)
	if !f.preserves {
		f.s.kept.drop(f.service)
	}
	return err
}

// update reads what changed.
func (f *feeder) update(ctx context.Context, pending map[string]dockerfile.Verdict, batch watch.Batch) error {
	if f.opened() {
		if err := f.whole(ctx, batch.Generation); err != nil {
			return err
		}
	}
	changed := map[string]*engine.File{}
	var kinds pathKinds
	var synced, locals, triggers []string
	for _, rel := range slices.Sorted(maps.Keys(pending)) {
		if len(pending[rel].Dests) == 0 {
			triggers = append(triggers, f.local(rel))
			continue
		}
		if slices.Contains(f.closed, f.local(rel)) {
			continue // told; what is below it stays
		}
		synced, locals = append(synced, rel), append(locals, f.local(rel))
	}
	files, unread, err := describe(ctx, f.s.parts.Index, locals)
	if err != nil {
		return err
	}
	var sent []string
	for i, rel := range synced {
		if err := f.shut(files[locals[i]]); err != nil {
			unread[locals[i]], f.closed = err, append(f.closed, locals[i])
		} else if unread[locals[i]] != nil {
			f.again(rel)
		}
		if unread[locals[i]] != nil {
			// Not what it was before either: a container that comes new could not get that.
			stays := engine.Uncertain()
			stays.Local = locals[i]
			for _, dest := range pending[rel].Dests {
				changed[dest] = &stays
			}
			continue
		}
		delete(f.unread, rel)
		sent = append(sent, rel)
		file := files[locals[i]]
		kinds.see(rel, file)
		for _, dest := range pending[rel].Dests {
			if changed[dest] = file; file != nil {
				other := withMode(*file, pending[rel].Modes, dest)
				changed[dest] = &other
			}
		}
	}
	f.s.mirror.Update(f.service, batch.Generation, changed, f.hooks, triggers...)
	if len(sent) > 0 {
		f.s.post(ctx, syncStarted{f.service, batchTimes{generation: batch.Generation, saved: savedAt(batch), batched: batch.Time, paths: sent, kinds: kinds}})
	}
	f.tellUnread(ctx, unread)
	return nil
}
