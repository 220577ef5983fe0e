package session

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/watch"
)

// filesChanged is one batch of the watcher.
type filesChanged struct{ batch watch.Batch }

// apply asks for each changed path what it means: the manifests are rendered
// again, a service is built again, a file goes to the containers, or nothing.
func (e filesChanged) apply(l *loop) {
	// Of the session's own count: what is compiled has a generation too.
	l.generation++
	e.batch.Generation = l.generation
	var manifests []string
	for _, c := range e.batch.Changes {
		if l.isConfig(c.Path) {
			l.configChanged()
			continue
		}
		owned := false
		for _, svc := range l.services {
			if svc.here != nil {
				// Its image and its containers are brought up to date when it runs there again.
				owned = owned || !svc.off && l.concerns(svc, c.Path)
				continue
			}
			if svc.built && !svc.off && svc.keeps() && svc.ref != "" {
				if l.concerns(svc, c.Path) {
					svc.hold(c.Path)
					owned = true
				}
				continue
			}
			if svc.built && !svc.off && (l.ancestorChanged(svc, c.Path, e.batch) || l.serviceChanged(svc, c.Path, e.batch)) {
				owned = true
			}
		}
		if !owned && l.manifests.Reads(filepath.Join(l.s.opts.Project.Root, filepath.FromSlash(c.Path))) {
			manifests = append(manifests, c.Path)
		}
	}
	l.localChanged(e.batch)
	if len(manifests) > 0 && !l.s.opts.Attach {
		l.deploying = &Change{Action: ActDeploy, Generation: e.batch.Generation, Paths: manifests, Saved: savedAt(e.batch), Batched: e.batch.Time}
		l.s.tell(Notice{Level: Info, Code: "manifests-changed", Text: "manifests changed"})
		l.render()
	}
	for _, svc := range l.services {
		if svc.files != nil {
			svc.files.flush()
		}
	}
}

// isConfig says whether a path of the project is part of its configuration.
func (l *loop) isConfig(changed string) bool {
	return slices.Contains(l.s.opts.Project.Files, filepath.Join(l.s.opts.Project.Root, filepath.FromSlash(changed)))
}

// serviceChanged does what the change of one path (relative to the project)
// asks of one service and says whether the path is any of its business.
func (l *loop) serviceChanged(svc *service, changed string, batch watch.Batch) bool {
	if l.isRecipe(svc, changed) {
		l.recipeChanged(svc, changed, batch)
		return true
	}
	if svc.unread && slices.ContainsFunc(l.services, func(other *service) bool { return other.built && l.isRecipe(other, changed) }) {
		return l.otherRecipeChanged(svc, changed, batch)
	}
	rel, ok := contextPath(svc.spec, changed)
	if !ok || svc.plan == nil {
		return false
	}
	switch v := svc.plan.explain(rel); v.Action {
	case dockerfile.Rebuild:
		if l.s.opts.Attach {
			l.tellUnsynced(svc, changed, v.Why)
			return true
		}
		if !l.sourceChanged(svc, rel, batch) && !l.unchanged(svc, rel) {
			l.needBuild(svc, changed, fmt.Sprintf("%s changed: %s", changed, v.Why), batch)
		}
		return true
	case dockerfile.Sync:
		if l.s.opts.NoSync {
			if !l.unchanged(svc, rel) {
				l.needBuild(svc, changed, changed+" changed, and syncing is off", batch)
			}
			return true
		}
		if svc.files != nil {
			svc.files.mark(rel, v, batch)
		}
		if l.unpulled(svc) && !l.unchanged(svc, rel) {
			l.supersede(svc)
			svc.changed(ActBuild, changed, batch)
			l.decide(svc, svc.ref)
			return true
		}
		if svc.unbuilt() && !l.unchanged(svc, rel) {
			l.needBuild(svc, changed, changed+" changed, and the build before failed", batch)
		}
		return true
	}
	l.trigger(svc, rel, batch)
	return false
}

// unpulled says that no node could pull the image and no container of it has run: there
// is none to sync into, and none will be.
func (l *loop) unpulled(svc *service) bool {
	if svc.ref == "" || svc.build != nil || svc.dirty != "" || svc.deciding || l.s.opts.Attach || l.s.opts.NoBuild {
		return false
	}
	seen := sight(l.s.parts.Live.Pods(), svc.ref)
	return seen.refused && !seen.ran
}

// unbuilt says that the newest build of svc made no image and none is on its way: the
// next save of whatever the image holds may be what it lacked.
func (svc *service) unbuilt() bool {
	return svc.build == nil && svc.dirty == "" && !svc.deciding && svc.last != nil && (svc.last.Phase == BuildFailed || svc.last.Phase == BuildCancelled) && svc.problem != nil
}

// concerns says whether a path is any of svc's business, and does nothing.
func (l *loop) concerns(svc *service, changed string) bool {
	if l.isRecipe(svc, changed) || svc.inherits(changed) != nil {
		return true
	}
	rel, ok := contextPath(svc.spec, changed)
	if !ok || svc.plan == nil {
		return false
	}
	v := svc.plan.explain(rel)
	return (v.Action == dockerfile.Rebuild || v.Action == dockerfile.Sync) && !l.unchanged(svc, rel)
}

// trigger does what onSync says of a file that has no place in the image.
func (l *loop) trigger(svc *service, rel string, batch watch.Batch) {
	named := slices.ContainsFunc(svc.OnSync, func(r config.OnSync) bool { return len(r.Paths) > 0 && r.Matches(rel) })
	if !named || svc.files == nil || l.s.opts.NoSync || svc.isOutput(rel) {
		return
	}
	if e, ok, err := l.s.parts.Index.Stat(l.indexPath(svc, rel)); err == nil && (!ok || !e.IsDir()) {
		svc.files.mark(rel, dockerfile.Verdict{}, batch)
		svc.behind[rel] = svc.builds
		l.containersChanged(svc)
	}
}

// explicitSources lists what COPY lines name, relative to the project: watched
// even where git ignores it (`COPY dist /app`). A line that takes the whole
// context names nothing. The manifests are named too: a .dockerignore commonly
// leaves them out.
func (l *loop) explicitSources() []string {
	var paths []string
	for _, m := range l.s.opts.Project.Manifests {
		for _, y := range m.YAML {
			if !strings.Contains(y, "://") {
				paths = append(paths, y)
			}
		}
		if m.Helm != nil && !strings.Contains(m.Helm.Chart, "://") {
			paths = append(append(paths, m.Helm.Chart), m.Helm.Values...)
		}
		if m.Command != nil {
			paths = append(paths, m.Command.Inputs...)
		}
		if m.Apps != nil {
			for _, s := range m.Apps.Secrets {
				paths = append(paths, s.SecretFiles()...)
			}
		}
		// An overlay stands beside its base: what is above both is watched.
		if top, _, _ := strings.Cut(path.Clean(m.Kustomize), "/"); m.Kustomize != "" && top != "." {
			paths = append(paths, top)
		}
	}
	for _, svc := range l.services {
		if svc.plan == nil {
			continue
		}
		for _, src := range svc.plan.sources() {
			if src != "." && src != "*" && src != "./" {
				paths = append(paths, l.indexPath(svc, src))
			}
		}
		for _, file := range svc.Triggers() {
			paths = append(paths, l.indexPath(svc, file))
		}
	}
	return paths
}

// contexts lists the build contexts, for what their .dockerignore leaves out.
func (l *loop) contexts() []watch.Context {
	var all []watch.Context
	for _, svc := range l.services {
		// A Go program and an image of others read no .dockerignore.
		if svc.built && (svc.spec.Dockerfile != "" || svc.spec.Command != nil) {
			all = append(all, watch.Context{Dir: svc.spec.Context, Dockerfile: svc.spec.Dockerfile})
		}
	}
	return all
}

// isRecipe says whether changed decides how svc is built: its Dockerfile or
// the file that says what the build does not see.
func (l *loop) isRecipe(svc *service, changed string) bool {
	return isRecipe(svc.spec, filepath.Join(l.s.opts.Project.Root, filepath.FromSlash(changed)))
}

func isRecipe(spec build.Spec, file string) bool {
	if spec.Dockerfile == "" {
		return false
	}
	switch file {
	case spec.Dockerfile, spec.Dockerfile + ".dockerignore", filepath.Join(spec.Context, ".dockerignore"):
		return true
	}
	return false
}

func (l *loop) recipeChanged(svc *service, changed string, batch watch.Batch) {
	was := svc.options
	had := svc.problem
	svc.loadPlan()
	if svc.unread {
		l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "build-failed", Text: changed + " cannot be used", Problem: svc.problem})
		if svc.track.now == nil { // else what is under way goes on
			svc.changed(ActBuild, changed, batch)
			svc.track.end(Failed)
		}
		return
	}
	if svc.options == was && had == nil {
		return // saved, but the same to the build
	}
	if l.s.opts.Attach {
		l.tellUnsynced(svc, changed, "it says how the image is built")
		l.containersChanged(svc)
		l.desire(svc)
		return
	}
	l.supersede(svc)
	svc.changed(ActBuild, changed, batch)
	if svc.ref == "" {
		svc.dirty = changed + " changed"
		return
	}
	if svc.deciding {
		svc.redecide = true
		return
	}
	// Broken and put back, it asks for nothing: what counts is the image that runs.
	l.decide(svc, svc.ref)
}

// otherRecipeChanged looks again at a service whose recipe cannot be read: that
// of an image that it begins with may have been what was wrong, or it was part
// of a circle. It says whether that was so; what is still wrong was told.
func (l *loop) otherRecipeChanged(svc *service, changed string, batch watch.Batch) bool {
	if _, err := build.Load(svc.spec); err != nil {
		svc.problem = asProblem(err, "dockerfile", svc.Name)
		return false
	}
	l.recipeChanged(svc, changed, batch)
	return true
}

// unchanged says whether the image that is to run already holds rel as it is
// now: saving a file without changing it, or changing it back, builds nothing.
func (l *loop) unchanged(svc *service, rel string) bool {
	if svc.record == nil || svc.build != nil {
		return false
	}
	held, ok := recorded(svc.record, rel)
	entry, exists, err := l.s.parts.Index.Stat(l.indexPath(svc, rel))
	if err != nil || exists != ok {
		return false
	}
	if !exists {
		return true
	}
	if !entry.Mode.IsRegular() || held.Mode.Perm() != entry.Mode.Perm() {
		return false
	}
	sum, err := l.s.parts.Index.Hash(l.ctx, entry.Path)
	return err == nil && sum.String() == held.Digest
}

// recorded finds what an image was made from at a path of the context.
func recorded(r *build.Record, rel string) (build.Input, bool) {
	i, ok := slices.BinarySearchFunc(r.Inputs, rel, func(in build.Input, path string) int { return strings.Compare(in.Path, path) })
	if !ok {
		return build.Input{}, false
	}
	return r.Inputs[i], true
}

// indexPath turns a path of svc's context into one of the index.
func (l *loop) indexPath(svc *service, rel string) string {
	dir, err := filepath.Rel(l.s.parts.Index.Root(), svc.spec.Context)
	if err != nil {
		return rel
	}
	return path.Join(filepath.ToSlash(dir), rel)
}

// desire hands the mirror every file of svc that can be synced, as it is now,
// and from then on what changes.
func (l *loop) desire(svc *service) {
	if l.s.opts.NoSync || svc.plan == nil || svc.here != nil || svc.back {
		return
	}
	if svc.files != nil {
		svc.files.cancel()
	}
	ctx, cancel := context.WithCancel(l.ctx)
	f := &feeder{
		s: l.s, cancel: cancel, service: svc.Name, plan: svc.plan,
		hooks: append(hooks(svc.OnSync, l.indexPath(svc, ".")), outputHooks(svc)...), outputs: svc.wantedOutputs(), wake: make(chan struct{}, 1),
		local: func(rel string) string { return l.indexPath(svc, rel) },
		read:  make(chan struct{}),
	}
	if image, ok := l.heldBy(svc, svc.ref); ok && svc.keeps() {
		f.preserves, f.image, f.frozen = true, image.files, l.frozen(svc, image.files)
	}
	svc.files = f
	generation := l.generation
	l.work.Go(func() {
		defer cancel()
		f.run(ctx, generation)
	})
}

// batchTimes remembers what the newest synced batch of a service is about.
type batchTimes struct {
	generation uint64
	saved      time.Time
	batched    time.Time
	paths      []string
	kinds      pathKinds
	restarts   bool // a rule restarts the process for it, whatever the paths say
}

// pathKinds are the paths of a batch by what became of them.
type pathKinds struct{ written, folders, removed []string }

// see sorts a path in; what is nil is gone.
func (k *pathKinds) see(p string, file *engine.File) {
	switch {
	case file == nil:
		k.removed = append(k.removed, p)
	case file.Mode.IsDir():
		k.folders = append(k.folders, p)
	default:
		k.written = append(k.written, p)
	}
}

// say says in words what the batch of these paths did, as "synced 3 files to"; of folders
// only where nothing else happened. paths are what is named without any kinds.
func (k *pathKinds) say(paths []string) string {
	count := func(paths []string, one, many string) string {
		if len(paths) == 1 {
			return one + paths[0]
		}
		return fmt.Sprintf("%d %s", len(paths), many)
	}
	parents := map[string]bool{}
	for _, p := range k.removed {
		parents[path.Dir(p)] = true
	}
	var gone []string // but for folders: of those, what was in them says it
	for _, p := range k.removed {
		if !parents[p] {
			gone = append(gone, p)
		}
	}
	switch {
	case len(k.written) > 0 && len(gone) > 0:
		return "synced " + count(k.written, "", "files") + " and removed " + count(gone, "", "files") + " in"
	case len(k.written) > 0:
		return "synced " + count(k.written, "", "files") + " to"
	case len(gone) > 0:
		return "removed " + count(gone, "", "files") + " from"
	case len(k.folders) > 0:
		return "synced " + count(k.folders, "folder ", "folders") + " to"
	default:
		return "synced " + count(paths, "", "files") + " to"
	}
}

// savedAt is when the newest file of a batch was written, as far as its own time says so
// credibly: not long before the batch, or of a file that was there and was written to,
// while the watcher was suspended. A rename of an old file has the time of the batch.
func savedAt(batch watch.Batch) time.Time {
	var newest time.Time
	written := false
	for _, c := range batch.Changes {
		if at := time.Unix(0, c.Entry.MTime); c.Op != watch.Remove && at.After(newest) {
			newest, written = at, c.Op == watch.Write && c.Entry.IsRegular() && c.Entry.Written()
		}
	}
	if age := batch.Time.Sub(newest); age < 0 || age > 2*time.Second && !written {
		return batch.Time
	}
	return newest
}
