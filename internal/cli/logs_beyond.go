package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/level"
	"github.com/kdev-io/kdev/logs/past"
	"github.com/kdev-io/kdev/logs/pods"
	"github.com/kdev-io/kdev/logs/store"
)

// What kdev's logs do beyond stern's: leaving when something is reached, events,
// hidden secrets, lines that were kept.

// A chosen is one cluster with what is wanted of it.
type chosen struct {
	*logsCluster
	selector *pods.Selector
	live     logs.Pods
	missed   []string // queries that named no pod when it was opened
}

func (c *chosen) wantedPods() []*corev1.Pod {
	var out []*corev1.Pod
	for _, pod := range c.live.Pods() {
		if c.selector.Pod(pod) {
			out = append(out, pod)
		}
	}
	return out
}

// until waits for a state of the wanted pods, then for their lines to have come, and
// calls reached with what to leave with.
func (p *logsPlan) until(ctx context.Context, hub *logs.Hub, of []*chosen, reached func(error)) {
	wake := make(chan struct{}, 1)
	for _, c := range of {
		changed, stop := c.live.Subscribe()
		defer stop()
		go func() {
			for {
				select {
				case <-changed:
					select {
					case wake <- struct{}{}:
					default:
					}
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	seen := false
	for {
		var now []*corev1.Pod
		for _, c := range of {
			now = append(now, c.wantedPods()...)
		}
		done, err := untilStates[p.o.until](now, seen)
		seen = seen || len(now) > 0
		if done {
			p.settle(ctx, hub)
			reached(err)
			return
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// settle waits until the lines have come that were written before the news: those of
// containers that have ended to the last one, of the others until nothing has come for a
// moment.
func (p *logsPlan) settle(ctx context.Context, hub *logs.Hub) {
	const (
		quiet   = 300 * time.Millisecond
		busy    = 3 * time.Second  // for one that never stops writing
		endless = 10 * time.Second // for one that writes faster than it can be read
		stuck   = 10 * time.Second // for a log that cannot be read
	)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	began := time.Now()
	moved, next := began, hub.Store().Stats().Next
	var level time.Time // when all streams were open and waited for more for the first time
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
		// A store that is full waits for whoever reads our output.
		if s := hub.Store().Stats(); s.Next != next || s.Bytes > p.hub.StoreBytes {
			moved, next = time.Now(), s.Next
		}
		still, since := time.Since(moved), time.Since(began)
		switch {
		case hub.Behind(true):
			if still >= stuck {
				return
			}
		case hub.Behind(false):
			if still >= stuck || since >= endless {
				return
			}
		case level.IsZero():
			level = time.Now()
		case min(still, time.Since(level)) >= quiet || time.Since(level) >= busy:
			return
		}
	}
}

// untilStates are the words of --until. Each says whether the pods are there yet, and
// what to leave with; seen says that there were pods before.
var untilStates = map[string]func(now []*corev1.Pod, seen bool) (bool, error){
	"ready": func(now []*corev1.Pod, _ bool) (bool, error) {
		for _, pod := range now {
			if pod.Status.Phase != corev1.PodSucceeded && !podReady(pod) {
				return false, nil
			}
		}
		return len(now) > 0, nil
	},
	"done": func(now []*corev1.Pod, seen bool) (bool, error) {
		var failed []string
		for _, pod := range now {
			switch pod.Status.Phase {
			case corev1.PodSucceeded:
			case corev1.PodFailed:
				failed = append(failed, pod.Name)
			default:
				return false, nil
			}
		}
		if len(failed) > 0 {
			return true, &problem.Problem{Code: "logs-pod-failed", Summary: "done, but failed: " + strings.Join(failed, ", "),
				Hint: "the last lines above are theirs; --previous shows the run before"}
		}
		return len(now) > 0 || seen, nil
	},
	"failed": func(now []*corev1.Pod, _ bool) (bool, error) {
		for _, pod := range now {
			if podFailed(pod) {
				return true, nil
			}
		}
		return false, nil
	},
}

func podReady(pod *corev1.Pod) bool {
	return pods.Condition{Type: corev1.PodReady, Status: corev1.ConditionTrue}.Match(pod)
}

func podFailed(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodFailed {
		return true
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, cs := range list {
			if t := cs.State.Terminated; t != nil && t.ExitCode != 0 {
				return true
			}
			if w := cs.State.Waiting; w != nil && w.Reason == "CrashLoopBackOff" {
				return true
			}
		}
	}
	return false
}

// events mixes the events about what is wanted into the lines.
func (p *logsPlan) events(ctx context.Context, hub *logs.Hub, c *chosen) (wait func()) {
	oldest := time.Now()
	switch {
	case !p.from.Since.IsZero():
		oldest = p.from.Since
	case p.o.tail == 0:
	case p.o.since.ago > 0:
		oldest = oldest.Add(-p.o.since.ago)
	default:
		oldest = time.Time{}
	}
	return pods.Events(ctx, c.client.Core, c.namespaces, func(e *corev1.Event) {
		at := pods.EventTime(e)
		if at.Before(oldest) || !c.selector.Event(e, c.live.Pods()) {
			return
		}
		name := e.InvolvedObject.Name
		if e.InvolvedObject.Kind != "Pod" {
			name = strings.ToLower(e.InvolvedObject.Kind) + "/" + name
		}
		severity := level.Info
		if e.Type == corev1.EventTypeWarning {
			severity = level.Warn
		}
		hub.Events(c.name, e.Namespace, name).WriteAt(at, severity, pods.EventText(e))
	}, func(err error) { p.notices.say(fmt.Sprintf("events are not shown: %v", err)) })
}

// hideManifests masks the values of Secrets that the manifests of the project around
// hold, where there is one.
func (p *logsPlan) hideManifests(ctx context.Context) {
	flags := environmentFlags{env: p.o.environment}
	project, e, err := flags.load(p.o.env)
	if err != nil {
		return // none, or one that cannot be read: who needs it says so
	}
	if p.o.environment != "" {
		project.Manifests, project.Namespace = e.Manifests, e.Namespace
	}
	p.around = true
	p.hidden.ofManifests(ctx, project)
	if !p.o.noMask {
		p.hub.Mask = &p.hidden.mask
	}
}

// pastDir is where the lines of a project are kept.
func pastDir(env Env, project *config.Project) (string, error) {
	sum := sha256.Sum256([]byte(project.Root))
	return past.Dir(env.Getenv, project.Name+"-"+hex.EncodeToString(sum[:4]))
}

// keepLines writes the lines of a store to disk until ctx is done, without the values
// that hide holds.
func keepLines(ctx context.Context, env Env, project *config.Project, st *store.Store, hide *secrets) error {
	dir, err := pastDir(env, project)
	if err != nil {
		return err
	}
	w, err := past.Open(dir, past.Limit)
	if errors.Is(err, past.ErrBusy) {
		return nil // `kdev up`, or another `kdev logs`, keeps them
	}
	if err != nil {
		return err
	}
	w.Hide = hide.mask.Bytes
	err = w.Run(ctx, st)
	return errors.Join(err, w.Close())
}

// A wroteAny remembers whether anything was written.
type wroteAny struct {
	io.Writer
	any bool
}

// Write passes on.
func (w *wroteAny) Write(b []byte) (int, error) {
	w.any = w.any || len(b) > 0
	return w.Writer.Write(b)
}

// readPast feeds the hub with kept lines.
func (p *logsPlan) readPast(hub *logs.Hub) error {
	flags := projectFlags{}
	project, err := flags.load(p.o.env)
	if err != nil {
		return err
	}
	dir, err := pastDir(p.o.env, project)
	if err != nil {
		return err
	}
	kept, err := past.Any(dir)
	if err != nil {
		return err
	}
	if !kept {
		p.toldNone = true
		p.notices.say("no lines of project " + project.Name + " are kept yet: `kdev up` and `kdev logs` keep them")
	}
	oldest := int64(0)
	switch {
	case !p.o.since.at.IsZero():
		oldest = p.o.since.at.UnixNano()
	case p.o.since.ago > 0 && p.o.sinceGiven:
		oldest = time.Now().Add(-p.o.since.ago).UnixNano()
	}
	where := pods.KeptWhere{Namespaces: unique(p.o.namespaces), Node: p.o.node}
	if p.o.allNamespaces {
		where.Namespaces = nil
	}
	if where.Labels, err = labels.Parse(p.o.selector); err != nil {
		return err
	}
	want := func(src *store.Source, l store.Line) bool {
		return l.Time >= oldest && p.choice.Kept(src, where)
	}
	count, skip := map[string]int{}, map[string]int{}
	if p.o.tail >= 0 {
		if err := past.Read(dir, func(src *store.Source, l store.Line, _ []byte) error {
			if want(src, l) {
				count[keptName(src)]++
			}
			return nil
		}); err != nil {
			return err
		}
		for name, n := range count {
			skip[name] = max(0, n-int(p.o.tail))
		}
	}
	hub.Feed(func(add func(*store.Source, store.Line, []byte) error) error {
		return past.Read(dir, func(src *store.Source, l store.Line, msg []byte) error {
			if !want(src, l) {
				return nil
			}
			if name := keptName(src); skip[name] > 0 {
				skip[name]--
				return nil
			}
			return add(src, l, msg)
		})
	})
	return nil
}

func keptName(src *store.Source) string {
	return strings.Join([]string{src.Cluster, src.Namespace, src.Pod, src.Container, src.Name}, "/")
}
