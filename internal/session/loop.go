package session

import (
	"context"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/watch"
)

// An event is something that happened. apply runs in the loop's goroutine and
// is the only way in which the loop's fields change; it starts work but never
// waits for any.
type event interface{ apply(*loop) }

// A loop is the session's one mutable state. Nothing in it is locked, because
// only Run's goroutine touches it.
type loop struct {
	s    *Session
	ctx  context.Context
	work *sync.WaitGroup

	services []*service
	byName   map[string]*service

	objects    []*deploy.Object  // the last render that worked; nil before
	unapplied  []*deploy.Object  // of the same render: for the router alone
	manifests  *deploy.Manifests // the last render, for which files it read
	rendering  bool
	rerender   bool // manifests changed while rendering
	unrendered bool // a generator comes first
	rendered   *problem.Problem

	pull         deploy.PullSecret // for private images of others
	providing    bool              // images of others are on their way to the registry
	provideAgain bool              // others may be named since that began
	applying     bool
	applyWaits   string              // what it waits for, in words
	applyAgain   bool                // something that Apply writes changed since it was started
	applied      bool                // everything was applied once
	deployed     bool                // something was
	unwatched    []string            // workloads of which nobody can say whether they are ready, at the last look
	present      map[deploy.Ref]bool // workloads that the informers held at the last look
	took         map[deploy.Ref]bool // objects that the API server has taken from this session
	taken        bool                // objects of ours belong to another project: its pods are not ours to touch
	applyErr     *problem.Problem
	pruning      bool
	pruned       bool // nothing is left to prune since the last apply

	notes        []string        // of the last apply
	toldObjects  map[string]bool // what was told of objects without pods, and is still so
	toldDoubts   map[string]bool // of what pods read, likewise
	toldPrograms map[string]bool // of programs that no image has, likewise

	generation uint64 // of the last batch of files
	recheck    func() // looks at files that no event may have told of; does nothing without a watcher
	ready      bool
	since      time.Time // when it was last not ready, at first the session's start
	forwarders []*forwarder
	stages     map[types.UID]*podTimes // how far each pod has come, and when
	usage      map[kube.UsageKey]kube.Usage
	whole      context.Context     // the session's; that of this loop ends before
	stop       func()              // ends the session
	leave      func()              // ends this loop
	next       *config.Project     // what the loop after this one works with
	old        *config.Project     // what this one worked with
	before     map[string]*service // of the loop before this one
	asked      []asked             // commands that came between two loops
	missed     []filesChanged      // batches that did
	fatal      chan error
	deploying  *Change // manifests that were saved and are not yet applied: a model for the services that it touches
}

// A service is one config.Service or one workload of the manifests that no
// config.Service builds.
type service struct {
	config.Service
	built bool  // kdev builds its image
	local *unit // it is work of this machine; nil: it is of the cluster
	here  *unit // stands in for its program on this machine; nil: its own one runs
	spec  build.Spec
	plan  *mapping
	// unread says that the recipe, or one that it begins with, cannot be read:
	// plan and above are of the last one that could, if there was one.
	unread bool
	above  []ancestor // the images of the project that its own is made from

	ref     string // image that is to run; empty while unknown
	record  *build.Record
	ahead   map[string]bool // paths of the context that differ from the image's and are synced
	behind  map[string]int  // paths that trigger and changed since the image was made: the number of the build before that
	options string          // build.OptionsHash of the tree as it is now
	problem *problem.Problem

	deciding  bool
	undecided bool   // a generator comes before the first decision
	live      string // the image that ran then
	dirty     string // why a new image is needed; empty when none is
	build     *buildRun
	builds    int // started so far: names a build
	swap      *swapRun
	landing   chan struct{}  // of the compilation whose outputs are on their way; see land
	outputs   []build.Output // what the newest build or compilation made on this machine

	workloads []deploy.Ref // of the manifests
	admitted  bool         // its objects may be applied: what it needs was ready once
	held      map[string]heldFiles
	toldOther map[containerKey]string // options for which it was told that a container runs another recipe's image
	told      string                  // the last rollout problem that was told
	wasReady  bool
	stuck     bool      // it failed at the last look, and nothing but an edit mends it
	since     time.Time // when it last stopped being ready
	files     *feeder
	sync      map[containerKey]*Sync
	syncErr   map[containerKey]*problem.Problem
	renewals  map[volumeKey]*renewal // what the kubelet is waited for
	lastBatch *batchTimes
	track     track
	last      *Build // the newest build, as faces see it; replaced, never changed
	redecide  bool   // something that decide looks at changed meanwhile

	off            bool            // not started: `start: manual`, or not among those that were asked for
	placed         bool            // whether it is off was found out
	paused         bool            // by a person
	saved          map[string]bool // what was saved while it was kept back
	back           bool            // an image from before runs, by hand, and is left as it is
	holdsManifests bool            // its workloads were rendered anew while it was kept back
	scaled         *int            // replicas by hand
}

// buildRun is a build under way.
type buildRun struct {
	id     int
	why    string
	start  time.Time
	cancel context.CancelFunc
}

func newLoop(s *Session, ctx context.Context, work *sync.WaitGroup) (*loop, error) {
	l := &loop{s: s, ctx: ctx, work: work, byName: map[string]*service{}, present: map[deploy.Ref]bool{}, took: map[deploy.Ref]bool{}, stages: map[types.UID]*podTimes{}, since: time.Now(), recheck: func() {}, fatal: make(chan error, 2)}
	for _, cs := range s.opts.Project.Services {
		svc := l.newService(cs)
		if !svc.built {
			continue
		}
		svc.spec = SpecOf(s.opts.Project, cs).Knowing(s.parts.Store)
		svc.spec.Platform, svc.spec.Dev = s.parts.Platform, true
		svc.loadPlan()
	}
	return l, nil
}

// newService prepares the bookkeeping of one service.
func (l *loop) newService(cs config.Service) *service {
	svc := &service{
		Service: cs,
		built:   cs.Build != nil,
		since:   time.Now(),
		sync:    map[containerKey]*Sync{},
		syncErr: map[containerKey]*problem.Problem{},
		ahead:   map[string]bool{},
		behind:  map[string]int{},
	}
	svc.adopt(l.before[svc.Name])
	l.services = append(l.services, svc)
	l.byName[svc.Name] = svc
	return svc
}

// loadPlan reads the recipe anew; a failure becomes the service's problem.
func (svc *service) loadPlan() {
	plan, err := build.Load(svc.spec)
	if err == nil {
		svc.options, err = build.OptionsHash(svc.spec)
	}
	svc.unread = err != nil
	if err != nil {
		svc.problem = asProblem(err, "dockerfile", svc.Name)
		return
	}
	svc.plan, svc.problem = &mapping{plan: plan, sync: svc.Sync, dir: svc.spec.Context}, nil
	svc.above = ancestors(plan)
}

// learn reads the recipe anew after a build, which may have met images of others
// for the first time: their ONBUILD lines are part of it. The options stay: a
// Dockerfile that was saved meanwhile is still to be compared with them.
func (svc *service) learn() {
	if plan, err := build.Load(svc.spec); err == nil && !svc.unread {
		svc.plan, svc.above = &mapping{plan: plan, sync: svc.Sync, dir: svc.spec.Context}, ancestors(plan)
	}
}

// begin starts the first work.
func (l *loop) begin() {
	for _, svc := range l.services {
		if svc.problem != nil {
			l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "build-failed", Text: "cannot be built", Problem: svc.problem})
		}
	}
	if l.s.opts.Attach {
		l.attach()
		return
	}
	l.placeLocal()
	l.render()
	for _, a := range l.asked {
		a.apply(l)
	}
	l.asked = nil
}

// settle starts whatever the state asks for and publishes the state. It runs
// after every event, so an event only has to say what is true.
func (l *loop) settle() {
	if l.ctx.Err() != nil {
		return
	}
	l.seeLocal()
	l.seeStandIns()
	for _, svc := range l.services {
		// What ran under the configuration before goes on being synced: only a new image
		// of it waits for the generator.
		if svc.undecided && !svc.off && (l.generator(svc) == "" || l.before[svc.Name] != nil) {
			svc.undecided = false
			l.decide(svc, svc.live)
		}
		if svc.dirty != "" && svc.build == nil && !svc.deciding && svc.plan != nil && l.objects != nil && l.generator(svc) == "" {
			l.startBuild(svc)
		}
	}
	l.look()
	if l.startLocal() {
		l.look()
	}
	if l.objects != nil {
		l.admit()
	}
	// One after the other: what an apply has just made, and its kinds in the set's parent,
	// are news to a prune of the manifests before.
	if l.applyAgain && !l.applying && !l.pruning && !l.providing && l.objects != nil {
		l.apply()
		l.look()
	}
	if l.ready && !l.pruned && !l.pruning && !l.applying && !l.applyAgain {
		l.prune()
	}
}

// renderDone is the manifests, rendered.
type renderDone struct {
	manifests *deploy.Manifests
	unapplied []*deploy.Object  // taken out of the manifests
	live      map[string]string // service → image reference that runs now
	err       error
	took      time.Duration
}

func (l *loop) render() {
	if l.rendering {
		l.rerender = true
		return
	}
	if l.unrendered = l.generatesManifests() != ""; l.unrendered {
		return
	}
	l.rendering = true
	first := l.objects == nil
	images := l.images()
	l.work.Go(func() {
		start := time.Now()
		e := renderDone{}
		e.manifests, e.err = deploy.Render(l.ctx, l.s.opts.Project.Root, deploy.Sources(l.s.opts.Project.Manifests, l.s.opts.Project.Namespace, l.s.parts.Kube))
		if e.err == nil {
			e.err = deploy.MoveNamespace(e.manifests.Objects, l.s.opts.Project.Namespace)
		}
		if e.err == nil {
			e.manifests.Objects, e.unapplied = l.s.withoutGateways(e.manifests.Objects)
		}
		if e.err == nil && first {
			e.live, e.err = l.s.parts.Deployer.Live(l.ctx, e.manifests.Objects, images)
		}
		e.took = time.Since(start)
		l.s.post(l.ctx, e)
	})
}

func (e renderDone) apply(l *loop) {
	l.rendering = false
	again := l.rerender
	l.rerender = false
	l.manifests = e.manifests
	if e.err != nil {
		l.rendered = asProblem(e.err, "render-failed", "")
		l.s.tell(Notice{Level: Fail, Code: "render-failed", Text: "the manifests do not render", Problem: l.rendered})
		l.deploying = nil
		if again {
			l.render()
		}
		return
	}
	l.rendered = l.nameTaken(e.manifests.Objects)
	if l.rendered != nil {
		l.s.tell(Notice{Level: Fail, Code: "render-failed", Text: "the manifests cannot be used", Problem: l.rendered})
		l.deploying = nil
		if again {
			l.render()
		}
		return
	}
	first := l.objects == nil
	was := l.objects
	l.objects, l.unapplied = e.manifests.Objects, e.unapplied
	if l.deploying != nil {
		l.deploying.Made = time.Now()
	}
	l.findUses()
	if err := l.choose(); err != nil {
		l.fatal <- err
		return
	}
	l.freeze(was)
	l.tellUnapplied()
	l.route()
	l.tellNotTCP()
	l.provide()
	if first {
		l.tellUnknown()
		l.s.tell(Notice{Level: Done, Code: "rendered", Text: counted(len(l.objects), "object") + " rendered", Took: Millis(e.took)})
		for _, svc := range l.services {
			if svc.built && svc.plan != nil && !svc.off {
				svc.undecided, svc.live = true, e.live[svc.Name]
			}
		}
	}
	l.applyAgain, l.pruned = true, false
	if again {
		l.render()
	}
}

// decided is the outcome of choose for one service.
type decided struct {
	service string
	choice  choice
	err     error
}

// decide asks whether what runs can go on running.
func (l *loop) decide(svc *service, live string) {
	svc.deciding = true
	name := svc.Name
	if svc.here != nil || svc.back {
		if c, ok := l.leaves(svc, live); ok {
			l.work.Go(func() { l.s.post(l.ctx, decided{name, c, nil}) })
			return
		}
	}
	q := question{
		spec: svc.spec, plan: svc.plan, live: live, settled: svc.ref == live, seen: sight(l.s.parts.Live.Pods(), live),
		syncs: !svc.Sync.Off && !l.s.opts.NoSync, compiles: l.compiles(svc), builds: !l.s.opts.NoBuild,
		registry: l.s.parts.Registry, imageID: l.s.parts.ImageID,
	}
	l.work.Go(func() {
		c, err := choose(l.ctx, l.s.parts.Store, l.s.parts.Index, q)
		l.s.post(l.ctx, decided{name, c, err})
	})
}

func (e decided) apply(l *loop) {
	svc := l.byName[e.service]
	svc.deciding = false
	if svc.redecide {
		svc.redecide = false
		l.decide(svc, svc.ref)
		return
	}
	if e.err != nil {
		svc.problem = asProblem(e.err, "build-inputs", svc.Name)
		svc.track.end(Failed)
		l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "build-failed", Text: "cannot be built", Problem: svc.problem})
		return
	}
	if e.choice.keep != "" {
		if svc.ref != e.choice.keep || !svc.admitted {
			l.applyAgain = true // else its objects name the image already
		}
		svc.ref, svc.record, svc.admitted = e.choice.keep, e.choice.record, true
		l.holdImages()
		if svc.files == nil {
			svc.outputs = svc.record.Outputs
		}
		for _, path := range e.choice.ahead {
			svc.ahead[path] = true
		}
		if !svc.unread && !e.choice.compile {
			svc.problem = nil // of a build that nobody needs any more
		}
		if e.choice.compile || !svc.syncsInstead(e.choice.ahead) {
			svc.track.end(Nothing)
		}
		l.containersChanged(svc) // with the recipe as it is now, they may be its own again
		l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "image-kept", Text: "image kept: " + e.choice.why})
		if e.choice.compile {
			l.swap(svc, nil, time.Now())
			if svc.files == nil {
				return // what the containers should hold is known only then
			}
		}
		l.desire(svc)
		return
	}
	if l.s.opts.NoBuild {
		svc.problem = &problem.Problem{Code: "no-build", Where: svc.Name, Summary: "it needs an image that is not there, and nothing is built here: " + e.choice.why, Hint: "leave out --no-build"}
		svc.track.end(Failed)
		l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "no-build", Text: "its image is not built", Problem: svc.problem})
		return
	}
	svc.dirty = e.choice.why
}

// buildDone is the end of one build.
type buildDone struct {
	service string
	id      int
	result  *build.Result
	err     error
}

func (l *loop) startBuild(svc *service) {
	svc.dropSwap()
	svc.builds++
	ctx, cancel := context.WithCancel(l.ctx)
	svc.build = &buildRun{id: svc.builds, why: svc.dirty, start: time.Now(), cancel: cancel}
	svc.last = &Build{Number: svc.builds, Phase: BuildRunning, Why: svc.dirty, Started: svc.build.start}
	svc.dirty = ""
	name, id, spec := svc.Name, svc.builds, svc.spec
	l.s.tell(Notice{Level: Info, Service: name, Code: "build-started", Text: "building: " + svc.build.why})
	progress := func(e build.Event) { l.s.post(ctx, buildProgress{name, id, e}) }
	l.work.Go(func() {
		defer cancel()
		result, err := l.s.parts.Builder.Build(ctx, spec, progress)
		l.s.post(l.ctx, buildDone{name, id, result, err})
	})
}

// buildProgress is a line or a step of a build.
type buildProgress struct {
	service string
	id      int
	event   build.Event
}

func (e buildProgress) apply(l *loop) {
	svc := l.byName[e.service]
	if svc.build == nil || svc.build.id != e.id {
		return
	}
	svc.last = svc.last.with(e.event)
	switch b := e.event; {
	case b.Warning != "":
		l.s.tell(Notice{Level: Warn, Service: e.service, Code: "build-warning", Text: b.Warning})
	case b.Line != "":
		l.s.tell(Notice{Level: Info, Service: e.service, Code: "build-output", Text: b.Line})
	case b.Done:
		l.s.tell(Notice{Level: Info, Service: e.service, Code: "build-step", Text: b.Step, Took: Millis(b.Took), Step: &Step{Name: b.Step, Cached: b.Cached, Bytes: b.Bytes}})
	}
}

func (e buildDone) apply(l *loop) {
	if e.result == nil || !e.result.Cached {
		l.recheck() // its commands may have written to the tree, through a memory map
	}
	svc := l.byName[e.service]
	if svc.build == nil || svc.build.id != e.id {
		return // superseded: a newer one is under way or waiting
	}
	took := time.Since(svc.build.start)
	svc.build = nil
	if e.err != nil {
		svc.last = svc.last.ended(BuildFailed, took)
		svc.track.end(Failed)
		svc.problem = asProblem(e.err, "build-failed", svc.Name)
		l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "build-failed", Text: "build failed", Took: Millis(took), Problem: svc.problem})
		return
	}
	svc.last = svc.last.ended(BuildDone, took)
	svc.last.Cached, svc.last.Rung = e.result.Cached, rung(e.result)
	if c := svc.track.under(ActBuild); c != nil {
		c.Made = time.Now()
	}
	svc.problem = nil
	svc.learn()
	svc.ref, svc.record = e.result.Ref, e.result.Record
	l.holdImages()
	svc.outputs = svc.record.Outputs
	clear(svc.ahead)
	maps.DeleteFunc(svc.behind, func(_ string, before int) bool { return before < e.id })
	text := "built"
	if e.result.Cached {
		text = "image found in the store"
	}
	if e.result.Why != "" {
		text += " (" + e.result.Why + ")"
	}
	l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "build-done", Text: text, Took: Millis(took)})
	l.applyAgain, l.pruned = true, false
	l.desire(svc)
}

// needBuild marks that svc needs a new image because of a saved path, and ends
// the build that this supersedes. Where one was under way or wanted already,
// the whole tree is compared with the image that runs: what was changed and put
// back asks for nothing.
func (l *loop) needBuild(svc *service, path, why string, batch watch.Batch) {
	if l.s.opts.NoBuild {
		l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "no-build", Text: why + "; nothing is built here"})
		return
	}
	svc.changed(ActBuild, path, batch)
	wanted := svc.build != nil || svc.dirty != ""
	l.supersede(svc)
	switch {
	case svc.deciding:
		svc.redecide = true
	case wanted && svc.ref != "":
		l.decide(svc, svc.ref)
	default:
		svc.dirty = why
	}
}

// supersede ends a build whose result nobody wants any more.
func (l *loop) supersede(svc *service) {
	svc.dirty = ""
	svc.dropSwap()
	if svc.build != nil {
		svc.build.cancel()
		svc.last = svc.last.ended(BuildCancelled, time.Since(svc.build.start))
		svc.build = nil
	}
}

// notice is something that another goroutine has to tell.
type notice struct{ Notice }

func (e notice) apply(l *loop) { l.s.tell(e.Notice) }

// asProblem gives every error the form that faces show.
func asProblem(err error, code, where string) *problem.Problem {
	if p := problem.As(err); p != nil {
		return p
	}
	return &problem.Problem{Code: code, Summary: err.Error(), Where: where}
}
