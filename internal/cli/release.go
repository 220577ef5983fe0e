package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/build/upstream"
	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/session"
)

// A release brings an environment to a cluster without a session, in steps that it
// tells and remembers: images, render, apply, rollout, prune.
type release struct {
	env     Env
	p       *config.Project
	e       config.Environment
	face    notifier
	timeout time.Duration // of the rollout
	reads   bool          // it writes nothing

	aim      aim  // of the hints that it tells
	recreate bool // workloads that run may be made anew, outside dev too

	cluster  *cluster.Cluster
	kube     *kube.Client
	live     *kube.Namespace
	deployer *deploy.Deployer
	through  *pullThrough           // nil: no node asks this machine
	waits    atomic.Pointer[string] // what was waited for last; nil for nothing
	steps    []releaseStep
	closers  []func()
}

// A releaseStep is one thing that was done, for a report.
type releaseStep struct {
	name    string // "build web", "apply", "rollout web"
	took    time.Duration
	problem *problem.Problem
}

// named is an environment's name, "" for dev.
func named(e config.Environment) string {
	if e.Name == config.Dev {
		return ""
	}
	return e.Name
}

// open connects a release with the environment's cluster. What it opened, close closes,
// also after an error.
func (r *release) open(ctx context.Context, flags *environmentFlags, create bool) error {
	var err error
	if r.cluster, err = flags.ensure(ctx, r.p, r.e, create, r.progress); err != nil {
		return err
	}
	if !r.reads {
		if err := flags.apartIn(ctx, r.p, r.e, r.cluster); err != nil {
			return err
		}
	}
	if r.kube, err = kube.New(r.cluster.Kubeconfig, r.cluster.Context); err != nil {
		return err
	}
	r.closers = append(r.closers, r.kube.Close)
	store, err := openStore()
	if err != nil {
		return err
	}
	// A session would put back what goes, and take back what comes.
	at := *r.p
	at.Namespace = r.e.Namespace
	unlock, err := onlyOne(ctx, store, r.cluster.Context, &at, leaving)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, unlock)
	watched, stop := context.WithCancel(ctx)
	if r.live, err = kube.Watch(watched, r.kube, r.e.Namespace); err != nil {
		stop()
		return err
	}
	r.closers = append(r.closers, func() { stop(); r.live.Wait() })
	r.deployer = deploy.New(r.kube, deploy.Options{Project: r.p.Name, Namespace: r.e.Namespace, Root: r.p.Root, Progress: r.progress, HookTimeout: r.timeout,
		NoRecreate: r.e.Name != config.Dev && !r.recreate, Environment: named(r.e)})
	r.closers = append(r.closers, r.deployer.Close)
	// What a container says before it dies may be what it was given.
	r.closers = append(r.closers, hideSecrets(ctx, r.p, r.e.Manifests, r.kube, r.e.Namespace, r.deployer))
	return nil
}

func (r *release) close() {
	for _, f := range slices.Backward(r.closers) {
		f()
	}
}

func (r *release) progress(text string) {
	r.waits.Store(&text)
	r.tell(session.Info, "progress", "", text, 0)
}

func (r *release) tell(level session.Level, code, service, text string, took time.Duration) {
	r.face.notice(session.Notice{Time: time.Now(), Level: level, Code: code, Service: service, Text: r.aim.text(text), Took: session.Millis(took)})
}

// warn tells what looks wrong and fails nothing.
func (r *release) warn(p *problem.Problem, text string) {
	r.face.notice(session.Notice{Time: time.Now(), Level: session.Warn, Code: p.Code, Text: text, Problem: r.aim.problem(p)})
}

// ignored says what is not waited for, by `ready: ignore`.
func ignored(p *config.Project, services []serviceView) func(deploy.Ref) bool {
	owner := map[deploy.Ref]string{}
	for _, s := range services {
		for _, ref := range s.workloads {
			owner[ref] = s.name
		}
	}
	return func(ref deploy.Ref) bool { return session.Ignored(p, ref, owner[ref]) }
}

// step does one thing and remembers how it ended.
func (r *release) step(name string, do func() error) error {
	start := time.Now()
	err := do()
	s := releaseStep{name: name, took: time.Since(start)}
	if err != nil {
		s.problem = r.aim.problem(asProblem(err, "deploy-failed"))
	}
	r.steps = append(r.steps, s)
	return err
}

// run does all of it. refs are the images by service; where they are nil, the
// production images are built.
func (r *release) run(ctx context.Context, refs map[string]string) error {
	var objects []*deploy.Object
	err := r.step("render", func() (err error) {
		objects, err = render(ctx, r.env, r.p, r.e, r.kube)
		return err
	})
	if err != nil {
		return err
	}
	images := projectImages(r.p)
	found := deploy.Inject(deploy.Copy(objects), images)
	bases := session.Bases(r.p)
	for _, service := range found.Unused {
		if bases[service] {
			continue
		}
		r.tell(session.Warn, "image-unused", service, "no manifest uses its image", 0)
	}
	for _, look := range found.Lookalikes {
		r.tell(session.Warn, "image-lookalike", "", look, 0)
	}
	for _, text := range unknownNeeds(r.p, objects) {
		r.tell(session.Warn, "needs-unknown", "", text, 0)
	}
	for _, text := range deploy.Forgotten(objects, r.p.Unlisted, images) {
		r.tell(session.Warn, "service-unlisted", "", text, 0)
	}
	switch {
	case r.cluster.Provider != "":
		if refs, err = r.provide(ctx, objects, found, refs); err != nil {
			return err
		}
	case refs == nil && len(found.Uses) > 0:
		return &problem.Problem{Class: problem.Usage, Code: "deploy-images", Where: "environment " + r.e.Name,
			Summary: "its cluster " + r.cluster.Context + " is not local, so it cannot pull images from this machine",
			Hint:    "`kdev build --push REGISTRY --out images.json`, then --images images.json"}
	}
	if err := r.known(found, refs); err != nil {
		return err
	}
	deploy.Inject(objects, put(r.p, images, refs, false))
	if r.cluster.Provider != "" {
		if objects, err = withPullSecret(ctx, r.p, r.e.Namespace, objects, r.through); err != nil {
			return err
		}
	}
	if err := r.roll(ctx, objects); err != nil {
		return err
	}
	return r.finish(ctx, objects, used(found, refs))
}

// used are the references that manifests name.
func used(found *deploy.Injection, refs map[string]string) map[string]string {
	out := map[string]string{}
	for service := range found.Uses {
		if refs[service] != "" {
			out[service] = refs[service]
		}
	}
	return out
}

// provide makes the production images that the manifests use, unless they are
// named, and lets the nodes of a local cluster pull these and what of others this
// machine holds.
func (r *release) provide(ctx context.Context, objects []*deploy.Object, found *deploy.Injection, refs map[string]string) (map[string]string, error) {
	platform, err := nodePlatform(ctx, r.kube)
	if err != nil {
		return nil, err
	}
	target, silent, err := targetOf(ctx, r.p, r.cluster, r.kube, r.face.notice)
	if err != nil {
		return nil, err
	}
	m, done, err := (&buildOptions{env: r.env, platforms: []string{platform}, kube: r.kube, silent: silent}).open(ctx, r.p, r.face)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := rememberPulls(m.store, r.p.Root, r.cluster.Context, target); err != nil {
		return nil, err
	}
	if target != nil {
		m.builder = build.Sent(m.builder, m.store, m.endpoint, *target)
	}
	switch {
	case len(r.cluster.Nodes) == 0:
	case r.cluster.Unaided != nil:
		if m.endpoint, err = unaided(ctx, m.store, r.cluster, r.kube, target != nil); err == nil && !m.endpoint.Shared {
			err = r.cluster.Unaided // what is built would have to be sent there
		}
		tellUnaided(r.cluster, r.face.notice)
	case target != nil:
		err = m.endpoint.Accompany(ctx, m.docker, r.cluster.Nodes)
	default:
		err = besides(m.endpoint.Connect(ctx, m.docker, r.cluster.Nodes, r.kube.Core.CoreV1()), silent)
	}
	if err != nil {
		return nil, err
	}
	r.through = newPullThrough(m.endpoint, r.cluster, r.p.Root, r.e.Namespace, r.face.notice)
	if refs == nil {
		services := slices.DeleteFunc(slices.Clone(r.p.Services), func(s config.Service) bool { return s.Build == nil || len(found.Uses[s.Name]) == 0 })
		err := r.step("build", func() error {
			images, err := m.all(ctx, services)
			refs = made(images)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if err := upstream.New(m.docker, m.store, m.endpoint).Provide(ctx, foreign(r.p, objects), r.progress); err != nil {
		// Not the end: the nodes may be able to pull them. If not, the rollout says so.
		r.tell(session.Warn, "image-copy-failed", "", "images of this machine could not be handed to the cluster: "+err.Error(), 0)
	}
	return refs, nil
}

// known refuses to deploy a service whose image nobody named.
func (r *release) known(found *deploy.Injection, refs map[string]string) error {
	var missing []string
	for service := range found.Uses {
		if refs[service] == "" {
			missing = append(missing, service)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &problem.Problem{Class: problem.Usage, Code: "deploy-images", Summary: "the file of images has none for " + strings.Join(sorted(missing), ", "),
		Hint: "`kdev build --push REGISTRY --out images.json` makes all of them"}
}

// roll applies objects and waits until they are ready, each as long as --timeout says.
func (r *release) roll(ctx context.Context, objects []*deploy.Object) error {
	err := r.step("apply", func() error {
		limited, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		err := r.apply(limited, objects)
		if limited.Err() != nil && ctx.Err() == nil {
			return r.late(err)
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.await(ctx, objects)
}

// late is the problem of an apply that was not done in time: the one that says so, else what
// it waited for.
func (r *release) late(err error) error {
	for _, one := range each(err) {
		if p := problem.As(one); p != nil && p.Class == problem.Timeout {
			return p
		}
	}
	if own := problem.As(err); err == nil || own != nil && own.Code != "cluster-unreachable" {
		return err
	}
	p := &problem.Problem{Class: problem.Timeout, Code: "not-ready", Summary: "the manifests were not applied within " + r.timeout.String(),
		Hint: "the same command goes on from here; --timeout gives it longer"}
	if waits := r.waits.Load(); waits != nil {
		p.Output = *waits
	}
	return p
}

// apply applies objects and tells what became of them.
func (r *release) apply(ctx context.Context, objects []*deploy.Object) error {
	start := time.Now()
	doubts, err := r.deployer.Missing(ctx, objects, r.e.Manifests)
	for _, p := range doubts {
		r.warn(p, "something that pods read is missing")
	}
	if err != nil {
		return err
	}
	applied, err := r.deployer.Apply(ctx, deploy.Copy(objects))
	if applied != nil {
		for _, note := range applied.Notes {
			r.tell(session.Warn, "apply-note", "", note, 0)
		}
		for _, line := range applied.Anew {
			r.tell(session.Info, "recreated", "", line, 0)
		}
		for _, line := range applied.Rolled {
			r.tell(session.Info, "data-changed", "", line, 0)
		}
	}
	if err == nil {
		r.tell(session.Done, "applied", "", fmt.Sprintf("%d objects: %s", len(objects), applied.Counts()), time.Since(start))
	}
	if err != nil {
		return err
	}
	return r.deployer.Follow(ctx, r.live, objects)
}

// await waits for the rollout; each service is a step of the report.
func (r *release) await(ctx context.Context, objects []*deploy.Object) error {
	start := time.Now()
	ready, failing := map[string]time.Duration{}, map[string]*problem.Problem{}
	services := servicesOf(r.p, objects)
	doubted := map[string]bool{}
	note := func(all []deploy.ObjectStatus) {
		for _, s := range all {
			if s.Ready && s.Problem != nil && !doubted[s.Problem.Error()] {
				doubted[s.Problem.Error()] = true
				r.warn(s.Problem, s.Ref.String()+" looks wrong")
			}
		}
	}
	look := func(all []deploy.WorkloadStatus) {
		for _, s := range services {
			whole, p, unwatched := true, (*problem.Problem)(nil), []string(nil)
			for _, st := range all {
				if slices.Contains(s.workloads, st.Ref) {
					whole = whole && st.Ready
					unwatched = append(unwatched, deploy.Unwatched([]deploy.WorkloadStatus{st})...)
					if st.Problem != nil {
						p = st.Problem
					}
				}
			}
			_, known := ready[s.name]
			switch {
			case whole && !known:
				ready[s.name] = time.Since(start)
				if len(unwatched) > 0 {
					r.tell(session.Warn, "unwatched", s.name, strings.Join(unwatched, "; "), 0)
				} else {
					r.tell(session.Done, "service-ready", s.name, "ready", ready[s.name])
				}
			case !whole:
				delete(ready, s.name)
			}
			if p != nil && failing[s.name] == nil && !session.Ignored(r.p, deploy.Ref{}, s.name) {
				r.tell(session.Warn, "rollout-failing", s.name, p.Summary, 0)
			}
			failing[s.name] = p
		}
	}
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	err := r.deployer.Await(limited, r.live, objects, deploy.AwaitOptions{Patience: rolloutPatience, Confirm: confirmation, Ignored: ignored(r.p, services), Changed: look, Noted: note})
	for _, s := range services {
		step := releaseStep{name: "rollout " + s.name, took: time.Since(start), problem: failing[s.name]}
		took, ok := ready[s.name]
		switch {
		case ok:
			step.took = took
		case session.Ignored(r.p, deploy.Ref{}, s.name):
			continue // it was not waited for: there is nothing to report
		case step.problem == nil && err != nil:
			step.problem = asProblem(err, "deploy-failed")
		}
		r.steps = append(r.steps, step)
	}
	return err
}

// finish removes what left the manifests and remembers the images that are ready. Both want
// proof: a workload that is not watched gives none.
func (r *release) finish(ctx context.Context, objects []*deploy.Object, refs map[string]string) error {
	if n := len(deploy.Unwatched(r.deployer.Status(r.live, objects))); n > 0 {
		r.tell(session.Warn, "unwatched", "", fmt.Sprintf("nothing that left the manifests is removed: whether all is ready is not known while workloads are not watched (%d)", n), 0)
		return nil
	}
	return r.step("prune", func() error {
		limited, cancel := context.WithTimeoutCause(ctx, r.timeout, &problem.Problem{
			Class: problem.Timeout, Code: "prune-failed", Summary: "what left the manifests was not removed within " + r.timeout.String(), Hint: "the same command goes on from here; --timeout gives it longer"})
		defer cancel()
		pruned, err := r.deployer.PruneReport(limited, objects)
		if pruned != nil {
			for _, what := range pruned.Removed {
				r.tell(session.Done, "pruned", "", "removed "+what+": it left the manifests", 0)
			}
			for _, going := range pruned.Going {
				r.tell(session.Info, "going", "", going.Object+" left the manifests and is not gone yet: "+going.Why, 0)
			}
			for _, kept := range pruned.Kept {
				r.tell(session.Info, "kept", "", kept.Object+" left the manifests and stays: "+kept.Why, 0)
			}
			if len(pruned.Unseen) > 0 {
				r.tell(session.Info, "kept", "", "not looked at, since this user may not list it: "+strings.Join(pruned.Unseen, ", ")+"; where kdev made any that left the manifests, it stays", 0)
			}
			if len(pruned.Volumes) > 0 {
				r.tell(session.Info, "volumes-kept", "", session.KeptVolumes(pruned.Volumes), 0)
			}
		}
		if err == nil {
			err = r.deployer.Record(limited, refs)
		}
		if late := problem.As(context.Cause(limited)); err != nil && late != nil {
			return late
		}
		return err
	})
}

// fail tells a program that listens how it ended; people read it from the error.
func (r *release) fail(err error) {
	if f, ok := r.face.(*jsonFace); ok && err != nil {
		f.notice(session.Notice{Level: session.Fail, Code: "failed", Text: "not deployed", Problem: asProblem(err, "deploy-failed")})
	}
}

// releaseFace is how deploy, ci and rollback speak.
func releaseFace(env Env, p *config.Project, output string, colour bool) notifier {
	if output == "json" {
		return &jsonFace{out: env.Out}
	}
	return &plain{out: env.Out, width: nameWidth(p), colour: colour}
}
