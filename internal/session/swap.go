package session

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
	"github.com/kdev-io/kdev/watch"
)

// A service that is compiled on this machine needs no new image for an edit: what
// the compiler made goes into the running containers as any file does, and the
// process is restarted there. Its sources are ahead of the image then.

// swapRun is a compilation under way, for containers that run.
type swapRun struct {
	id     int
	start  time.Time
	cancel context.CancelFunc
	why    []string // paths of the context, sorted
	saved  time.Time
	landed chan struct{} // closed when what it made is in the containers
}

// landPatience is how long the list of a program's files waits for what was compiled to be
// in the containers. To make it takes a core for some hundred milliseconds, and beside the
// patch it would hold that up for as long.
const landPatience = 5 * time.Second

// compiles says whether edits of svc's program can go into containers.
func (l *loop) compiles(svc *service) bool {
	return svc.spec.Compiles() && !svc.Sync.Off && !l.s.opts.NoSync && !l.s.opts.NoBuild
}

// sourceChanged deals with a saved source of a compiled program, and says whether
// it could: without an image that runs, there has to be one first.
func (l *loop) sourceChanged(svc *service, rel string, batch watch.Batch) bool {
	if svc.ref == "" || svc.record == nil || svc.build != nil || svc.dirty != "" || svc.deciding || !l.compiles(svc) {
		return false
	}
	if l.unchanged(svc, rel) {
		if !svc.ahead[rel] {
			return true
		}
		delete(svc.ahead, rel)
	} else {
		svc.ahead[rel] = true
	}
	l.swap(svc, []string{rel}, savedAt(batch))
	return true
}

// swap compiles svc's program, in place of a compilation that is under way.
func (l *loop) swap(svc *service, why []string, saved time.Time) {
	if svc.swap != nil {
		svc.swap.cancel()
		why = slices.Compact(slices.Sorted(slices.Values(slices.Concat(svc.swap.why, why))))
	}
	svc.builds++
	ctx, cancel := context.WithCancel(l.ctx)
	svc.swap = &swapRun{id: svc.builds, start: time.Now(), cancel: cancel, why: why, saved: saved, landed: make(chan struct{})}
	landed := svc.swap.landed
	name, id, spec := svc.Name, svc.builds, svc.spec
	progress := func(e build.Event) { l.s.post(ctx, swapProgress{name, id, e}) }
	l.work.Go(func() {
		defer cancel()
		outputs, err := l.s.parts.Compiler.Compile(ctx, spec, progress)
		l.s.post(l.ctx, swapDone{name, id, outputs, err})
		if err != nil {
			return
		}
		select {
		case <-landed:
		case <-time.After(landPatience):
		case <-ctx.Done():
			return
		}
		// A new import may have made other files part of the program; what was saved
		// of them since the compilation began was nobody's business.
		if changed, err := l.s.parts.Compiler.Learn(ctx, spec); err == nil && changed {
			l.s.post(l.ctx, sourcesChanged{name})
		}
	})
}

// swapProgress is a line or a step of a compilation.
type swapProgress struct {
	service string
	id      int
	event   build.Event
}

func (e swapProgress) apply(l *loop) {
	if svc := l.byName[e.service]; svc.swap != nil && svc.swap.id == e.id && e.event.Line != "" {
		l.s.tell(Notice{Level: Info, Service: e.service, Code: "build-output", Text: e.event.Line})
	}
}

// sourcesChanged says that a program is made from other files than before.
type sourcesChanged struct{ service string }

func (e sourcesChanged) apply(l *loop) {
	if svc := l.byName[e.service]; svc.swap == nil && svc.build == nil && svc.dirty == "" {
		l.swap(svc, nil, time.Now())
	}
}

// swapDone is the end of a compilation.
type swapDone struct {
	service string
	id      int
	outputs []build.Output
	err     error
}

func (e swapDone) apply(l *loop) {
	l.recheck() // it may have written to the tree, through a memory map
	svc := l.byName[e.service]
	run := svc.swap
	if run == nil || run.id != e.id {
		return // superseded: a newer one is under way, or an image is made
	}
	svc.swap = nil
	svc.land()
	svc.landing = run.landed
	took := time.Since(run.start)
	if e.err != nil {
		svc.problem = asProblem(e.err, "build-failed", svc.Name)
		l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "build-failed", Text: "does not compile; what runs goes on", Took: Millis(took), Problem: svc.problem})
		if svc.files == nil {
			l.desire(svc)
		}
		return
	}
	svc.problem = nil
	same := slices.EqualFunc(svc.outputs, e.outputs, func(a, b build.Output) bool {
		return a.Path == b.Path && a.Digest == b.Digest && a.Mode == b.Mode && a.Link == b.Link
	})
	svc.outputs = e.outputs
	switch {
	case svc.files == nil: // the first one since the session's start
		svc.land()
		l.desire(svc)
	case same:
		svc.land()
		if len(run.why) > 0 {
			l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "compiled", Text: "compiled, and the program is the same", Took: Millis(took)})
		}
		return
	default:
		l.generation++
		svc.files.swap(e.outputs, batchTimes{generation: l.generation, saved: run.saved, batched: run.start, paths: run.why})
	}
	l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "compiled", Text: "compiled", Took: Millis(took)})
}

// land tells that what was compiled is in the containers, or that nothing is on its way.
func (svc *service) land() {
	if svc.landing != nil {
		close(svc.landing)
		svc.landing = nil
	}
}

// dropSwap ends a compilation whose result nobody wants any more.
func (svc *service) dropSwap() {
	if svc.swap != nil {
		svc.swap.cancel()
		svc.swap = nil
	}
}

// outputFiles are what a build made, for the mirror. Their local paths are
// absolute, those of the project's files are not.
func outputFiles(list []build.Output) map[string]engine.File {
	files := make(map[string]engine.File, len(list))
	for _, o := range list {
		sum, ok := parseSum(build.Input{Mode: o.Mode, Digest: o.Digest})
		if !ok {
			sum = tree.Digest{}
		}
		files[o.Path] = engine.File{Mode: o.Mode, Size: o.Size, Digest: sum, Link: o.Link, Local: o.Local}
	}
	return files
}

// swapped is what a compilation made, on its way to the mirror.
type swapped struct {
	outputs []build.Output
	times   batchTimes
}

// swap hands over what was compiled.
func (f *feeder) swap(outputs []build.Output, times batchTimes) {
	f.mu.Lock()
	f.compiled = &swapped{outputs, times}
	f.mu.Unlock()
	f.flush()
}

// updateOutputs replaces what the build made before by what it made now.
func (f *feeder) updateOutputs(ctx context.Context, s *swapped) {
	old, now := outputFiles(f.outputs), outputFiles(s.outputs)
	f.outputs = s.outputs
	changed := map[string]*engine.File{}
	for _, p := range slices.Sorted(maps.Keys(now)) {
		if file := now[p]; file != old[p] {
			changed[p] = &file
		}
	}
	for p := range old {
		if _, ok := now[p]; !ok {
			changed[p] = nil
		}
	}
	for _, file := range changed {
		for _, h := range f.hooks {
			s.times.restarts = s.times.restarts || file != nil && h.Restart && h.Match != nil && h.Match("", file.Local)
		}
	}
	f.s.mirror.Update(f.service, s.times.generation, changed, f.hooks)
	if len(s.times.paths) > 0 {
		f.s.post(ctx, syncStarted{f.service, s.times})
	}
}

// wantedOutputs are the outputs that containers should hold.
func (svc *service) wantedOutputs() []build.Output {
	if svc.Sync.Off {
		return nil
	}
	return svc.outputs
}

// outputHooks say what follows when a compiled program is replaced: a restart,
// unless the project has rules of its own for what its command makes.
func outputHooks(svc *service) []mirror.Hook {
	if !svc.spec.Compiles() {
		return nil
	}
	if svc.spec.Command == nil || len(svc.OnSync) == 0 {
		return []mirror.Hook{{Restart: true, Match: func(_, local string) bool { return filepath.IsAbs(local) }}}
	}
	var hooks []mirror.Hook
	for _, r := range svc.OnSync {
		hooks = append(hooks, mirror.Hook{Run: r.Run, Restart: r.Restart, Container: r.Container, Signal: r.Signal, Match: func(_, local string) bool {
			return matchesOutput(r, svc.spec.Context, local)
		}})
	}
	return hooks
}

// matchesOutput says whether a rule means an output, which it names as it lies in
// the build context.
func matchesOutput(r config.OnSync, dir, local string) bool {
	if !filepath.IsAbs(local) {
		return false
	}
	rel, err := filepath.Rel(dir, local)
	return err == nil && filepath.IsLocal(rel) && r.Matches(filepath.ToSlash(rel))
}

// isOutput says whether a path of the build context is what svc's command makes.
func (svc *service) isOutput(rel string) bool {
	c := svc.spec.Command
	if c == nil || c.Output == "" {
		return false
	}
	below, err := filepath.Rel(filepath.FromSlash(c.Output), filepath.FromSlash(rel))
	return err == nil && filepath.IsLocal(below)
}
