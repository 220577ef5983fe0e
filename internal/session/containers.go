package session

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/build"
	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/dockerfile"
	"github.com/kdev-io/kdev/internal/tree"
	"github.com/kdev-io/kdev/sync/engine"
	"github.com/kdev-io/kdev/sync/mirror"
)

// containerKey names a container for as long as its pod lives.
type containerKey struct{ pod, container string }

// clusterChanged says that the informers hold something new.
type clusterChanged struct{}

func (clusterChanged) apply(l *loop) {
	for _, svc := range l.services {
		l.containersChanged(svc)
	}
}

// containersChanged hands the mirror the containers of svc that run an image
// of ours made from the Dockerfile as it is now. Others are about to be
// replaced: their files belong to another mapping.
func (l *loop) containersChanged(svc *service) {
	if !svc.built || svc.plan == nil || svc.here != nil || l.s.opts.NoSync || !l.deployed && !l.s.opts.Attach || l.taken {
		return
	}
	if svc.back {
		clear(svc.sync)
		clear(svc.syncErr)
		l.s.mirror.SetContainers(svc.Name, nil)
		return
	}
	var list []mirror.Container
	var behind []string
	for rel := range svc.behind {
		behind = append(behind, l.indexPath(svc, rel))
	}
	seen, digests := map[containerKey]bool{}, map[string]bool{}
	for _, pod := range l.pods(svc) {
		for _, c := range syncable(pod) {
			held, ok := l.heldBy(svc, c.image)
			if !ok && l.s.opts.Attach {
				ok = svc.runsImage(c.image) // what it holds is asked
			}
			if !ok {
				l.tellOther(svc, pod, c)
				continue
			}
			digests[digestOf(c.image)] = true
			key := containerKey{pod.Name, c.name}
			seen[key] = true
			delete(svc.toldOther, key)
			if svc.sync[key] == nil {
				svc.sync[key] = &Sync{Pod: pod.Name, Container: c.name}
				if n := len(svc.saved); n > 0 {
					l.s.tell(Notice{Level: Info, Service: svc.Name, Code: "started-behind",
						Text: fmt.Sprintf("%s gets the files that the others have; saved since then and waiting: %d", pod.Name, n)})
				}
			}
			list = append(list, mirror.Container{
				Service: svc.Name, Namespace: pod.Namespace, Pod: pod.Name, PodUID: string(pod.UID),
				Name: c.name, ID: c.id, HasAgent: true, Image: held.files, Perhaps: held.perhaps, Behind: behind,
				MayHold: !c.init && pod.Spec.RestartPolicy == corev1.RestartPolicyAlways,
			})
		}
	}
	for key := range svc.sync {
		if !seen[key] {
			delete(svc.sync, key)
			delete(svc.syncErr, key)
		}
	}
	if len(svc.sync) == 0 {
		svc.lastBatch = nil
		svc.land()
	}
	maps.DeleteFunc(svc.held, func(digest string, _ heldFiles) bool { return !digests[digest] })
	l.s.mirror.SetContainers(svc.Name, list)
}

// podContainer is a container of a pod that runs, or is about to.
type podContainer struct {
	name, image string
	id          string // of the runtime; empty before it runs
	init        bool   // a native sidecar too
	running     bool
}

// syncable lists the containers of a pod that can be given files: those that run
// or will. An init container that has ended well does not run again.
func syncable(pod *corev1.Pod) []podContainer {
	if pod.DeletionTimestamp != nil || pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	var list []podContainer
	add := func(specs []corev1.Container, statuses []corev1.ContainerStatus, init bool) {
		for _, c := range specs {
			if len(c.Command) > 1 && c.Command[0] == build.AgentCommand()[0] && c.Command[1] == "seed" {
				continue // kdev's own, which only fills volumes
			}
			one := podContainer{name: c.Name, image: c.Image, init: init}
			i := slices.IndexFunc(statuses, func(st corev1.ContainerStatus) bool { return st.Name == c.Name })
			if i >= 0 {
				one.id, one.running = statuses[i].ContainerID, statuses[i].State.Running != nil
				if init && statuses[i].State.Terminated != nil {
					continue
				}
			}
			list = append(list, one)
		}
	}
	add(pod.Spec.InitContainers, pod.Status.InitContainerStatuses, true)
	add(pod.Spec.Containers, pod.Status.ContainerStatuses, false)
	return list
}

// tellOther tells once of a container that runs an image of the service that was
// built by another recipe, where no new one is on its way: saves do not reach it.
func (l *loop) tellOther(svc *service, pod *corev1.Pod, c podContainer) {
	if svc.build != nil || svc.dirty != "" || svc.deciding || svc.ref == "" || digestOf(c.image) != digestOf(svc.ref) {
		return // about to be replaced, or none of ours
	}
	key := containerKey{pod.Name, c.name}
	if svc.toldOther[key] == svc.options {
		return
	}
	if svc.toldOther == nil {
		svc.toldOther = map[containerKey]string{}
	}
	svc.toldOther[key] = svc.options
	l.s.tell(Notice{Level: Warn, Service: svc.Name, Code: "sync-other-recipe",
		Text: fmt.Sprintf("%s/%s runs an image of another Dockerfile or of other build options: saved files do not reach it until a build has worked", pod.Name, c.name)})
}

// heldBy returns what the image behind ref holds under the paths that can be
// synced, by container path.
func (l *loop) heldBy(svc *service, ref string) (heldFiles, bool) {
	digest := digestOf(ref)
	if digest == "" {
		return heldFiles{}, false
	}
	if h, ok := svc.held[digest]; ok && h.options == svc.options {
		return h, true
	}
	record, ok := build.LoadRecord(l.s.parts.Store, digest)
	if !ok || record.Service != svc.Name || record.Options != svc.options {
		return heldFiles{}, false
	}
	h := svc.plan.held(record)
	h.options = svc.options
	if !svc.Sync.Off {
		maps.Copy(h.files, outputFiles(record.Outputs))
	}
	if svc.held == nil {
		svc.held = map[string]heldFiles{}
	}
	svc.held[digest] = h
	return h, true
}

// held lists what an image that was made from a record's inputs holds under the paths that
// can be synced.
func (m *mapping) held(record *build.Record) heldFiles {
	h := heldFiles{files: map[string]engine.File{}, perhaps: map[string]engine.File{}}
	for _, in := range record.Inputs {
		v := m.explain(in.Path)
		if v.Action != dockerfile.Sync {
			continue
		}
		sum, known := parseSum(in)
		if !known {
			continue // the image's content is not known: the container is asked
		}
		for _, dest := range v.Dests {
			file := withMode(engine.File{Mode: in.Mode, Size: in.Size, Digest: sum, Link: in.Link}, v.Modes, dest)
			if !m.imageHas(in.Path, dest) {
				h.files[dest], h.perhaps[dest] = engine.Uncertain(), file
				continue
			}
			h.files[dest] = file
		}
	}
	return h
}

// withMode gives a file the mode that --chmod gives it at dest.
func withMode(file engine.File, modes map[string]fs.FileMode, dest string) engine.File {
	if mode, ok := modes[dest]; ok && file.Mode.IsRegular() {
		file.Mode = file.Mode&^(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) | mode
	}
	return file
}

// heldFiles is the content of one image for one state of the Dockerfile.
type heldFiles struct {
	options string
	files   map[string]engine.File
	perhaps map[string]engine.File // where files says that it is uncertain
}

// syncStarted says that a batch was handed to the mirror.
type syncStarted struct {
	service string
	batch   batchTimes
}

func (e syncStarted) apply(l *loop) {
	svc := l.byName[e.service]
	if svc.lastBatch = nil; len(svc.sync) > 0 {
		svc.lastBatch = &e.batch
	} else {
		svc.land() // there is no container to wait for: one that comes gets all at once
	}
	for _, path := range e.batch.paths {
		if l.unchanged(svc, path) {
			delete(svc.ahead, path)
		} else {
			svc.ahead[path] = true
		}
	}
	if len(svc.sync) > 0 {
		c := svc.track.begin(Change{
			Action: ActSync, Generation: e.batch.generation, Paths: e.batch.paths,
			Saved: e.batch.saved, Batched: e.batch.batched, Made: time.Now(),
		})
		c.restarts = e.batch.restarts || svc.restartsFor(e.batch.paths)
	}
	for _, st := range svc.sync {
		st.Wanted, st.Paths = e.batch.generation, e.batch.paths[:min(len(e.batch.paths), namedPaths)]
	}
	l.tellSynced(svc)
}

// restartsFor says whether a sync of these paths restarts the process.
func (svc *service) restartsFor(paths []string) bool {
	for _, rule := range svc.OnSync {
		if rule.Restart && slices.ContainsFunc(paths, rule.Matches) {
			return true
		}
	}
	return false
}

// syncHappened is an event of the mirror.
type syncHappened struct{ event mirror.Event }

func (e syncHappened) apply(l *loop) {
	svc := l.byName[e.event.Service]
	if svc == nil {
		return
	}
	key := containerKey{e.event.Pod, e.event.Container}
	st := svc.sync[key]
	if st == nil {
		return // its pod went in the meantime
	}
	switch e.event.Kind {
	case mirror.Connected:
		st.Connected, st.alone = true, e.event.Alone
		st.started = st.started || e.event.Starts > 0 // what is started then is started again
	case mirror.Lost:
		st.Connected, st.reached = false, false
	case mirror.Synced:
		st.Connected = true
		st.Generation = e.event.Generation
		st.reached = true
		st.files += e.event.Files
		st.Lag, st.At = Millis(e.event.Took), time.Now()
		st.Held, st.Problem = false, nil
		st.Wanted = max(st.Wanted, st.Generation)
		st.Files, st.Bytes = e.event.Files, e.event.Bytes
		st.AllFiles += e.event.Files
		st.AllBytes += e.event.Bytes
		delete(svc.syncErr, key)
		if svc.lastBatch == nil && e.event.Files > 0 { // saved while nobody looked, or before its pod came
			l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "caught-up", Text: "brought up to date in " + e.event.Pod + ": " + counted(e.event.Files, "file"), Took: Millis(e.event.Took)})
		}
		svc.catchUp(time.Now())
		l.tellSynced(svc)
	case mirror.Hooked:
		l.tellHook(svc, e.event)
	case mirror.Started:
		if st.started {
			l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "restarted", Text: "process restarted in " + e.event.Pod})
		}
		st.started, st.Held, st.Problem = true, false, nil
		st.startedWith, st.startedAt = max(st.startedWith, e.event.Generation), time.Now()
		delete(svc.syncErr, key)
	case mirror.Failed, mirror.Held:
		p := e.event.Problem
		if e.event.Kind == mirror.Failed && !l.runs(svc, key) {
			return // a container that does not run has no files to be behind with
		}
		if old := svc.syncErr[key]; old != nil && old.Error() == p.Error() {
			return // told already; the mirror tries again
		}
		svc.syncErr[key] = p
		st.Problem, st.Held = p, e.event.Kind == mirror.Held
		if c := svc.track.now; st.Held && c != nil && c.restarts {
			svc.track.end(Failed) // what it restarted is no more
		}
		l.s.tell(Notice{Level: Fail, Service: svc.Name, Code: "sync-failed", Text: fmt.Sprintf("%s/%s is not current", e.event.Pod, e.event.Container), Problem: p})
	}
}

// runs says whether a container runs now, as far as its pod's status says.
func (l *loop) runs(svc *service, key containerKey) bool {
	for _, pod := range l.pods(svc) {
		if pod.Name != key.pod {
			continue
		}
		for _, st := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			if st.Name == key.container {
				return st.State.Running != nil
			}
		}
	}
	return false
}

// tellHook tells how a command that follows a sync ended.
func (l *loop) tellHook(svc *service, e mirror.Event) {
	n := Notice{Level: Done, Service: svc.Name, Code: "hook-done", Text: fmt.Sprintf("ran %s in %s", strings.Join(e.Command, " "), e.Pod), Took: Millis(e.Took)}
	if e.Problem != nil {
		what := strings.Join(e.Command, " ")
		if what == "" {
			what = "what follows a sync"
		}
		n.Level, n.Code, n.Text, n.Problem = Fail, "hook-failed", fmt.Sprintf("%s failed in %s", what, e.Pod), e.Problem
	}
	l.s.tell(n)
}

// tellSynced tells once that the newest batch is in every container.
func (l *loop) tellSynced(svc *service) {
	b := svc.lastBatch
	if b == nil || len(svc.sync) == 0 {
		return
	}
	files := 0
	for _, st := range svc.sync {
		if st.Generation < b.generation {
			return
		}
		files += st.files
		st.files = 0
	}
	svc.lastBatch = nil
	svc.land()
	if files == 0 {
		if svc.track.under(ActSync) != nil {
			svc.track.end(Nothing)
		}
		return // the containers held it already
	}
	if c := svc.track.under(ActSync); c != nil {
		c.Acknowledged = time.Now()
	}
	where := counted(len(svc.sync), "container")
	l.s.tell(Notice{Level: Done, Service: svc.Name, Code: "synced", Text: b.kinds.say(b.paths) + " " + where, Took: Millis(time.Since(b.saved))})
}

// pods lists the pods that the workloads of svc own.
func (l *loop) pods(svc *service) []*corev1.Pod {
	if l.s.opts.Attach {
		return l.attached(svc)
	}
	var pods []*corev1.Pod
	for _, pod := range l.s.parts.Live.Pods() {
		owner := l.s.parts.Live.Owner(pod)
		for _, w := range svc.workloads {
			if owner.Kind == w.Kind && owner.Name == w.Name {
				pods = append(pods, pod)
			}
		}
	}
	return pods
}

// parseSum reads the content hash of an input; links and folders have none.
func parseSum(in build.Input) (sum tree.Digest, ok bool) {
	if !in.Mode.IsRegular() {
		return sum, true
	}
	n, err := hex.Decode(sum[:], []byte(in.Digest))
	return sum, err == nil && n == len(sum)
}

// digestOf returns the digest of a reference, empty where it has none.
func digestOf(ref string) string {
	_, digest, _ := strings.Cut(ref, "@")
	return digest
}

func parseDigest(s string) (v1.Hash, error) { return v1.NewHash(s) }

// hooks turns the configuration's onSync rules into the mirror's. context is
// the build context's path in the index, whose paths the mirror knows.
func hooks(rules []config.OnSync, context string) []mirror.Hook {
	var hooks []mirror.Hook
	for _, r := range rules {
		hooks = append(hooks, mirror.Hook{
			Paths: r.Paths, Run: r.Run, Restart: r.Restart, Container: r.Container, Signal: r.Signal,
			Match: func(_, local string) bool {
				rel, ok := strings.CutPrefix(local, context+"/")
				if context == "." {
					rel, ok = local, local != ""
				}
				return ok && r.Matches(rel)
			},
		})
	}
	return hooks
}
