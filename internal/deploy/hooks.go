package deploy

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/problem"
)

// Names of https://helm.sh/docs/topics/charts_hooks.
const (
	hookAnnotation   = "helm.sh/hook"
	weightAnnotation = "helm.sh/hook-weight"
	deleteAnnotation = "helm.sh/hook-delete-policy"
)

// hookPatience is how long a hook may take where nobody says otherwise; helm's default.
const hookPatience = 5 * time.Minute

// hookReserve is what a hook leaves of the time that an apply has.
const hookReserve = 5 * time.Second

var podKind = schema.GroupKind{Kind: "Pod"}

// A Hook says when an object of a chart has its turn: before the workloads or
// after them, the lighter ones first, each done before the next.
type Hook struct {
	// Before and after the workloads; of the first apply, and of later ones.
	PreInstall, PostInstall, PreUpgrade, PostUpgrade bool
	Weight                                           int

	// What is deleted once its time is over. That a changed hook is made anew, helm's
	// before-hook-creation, needs no word: it always is.
	WhenSucceeded, WhenFailed bool
}

// hooked marks a chart's hooks and leaves out those that no apply runs: tests, and
// what runs on deletion or rollback.
func hooked(objects []*Object) []*Object {
	return slices.DeleteFunc(objects, func(o *Object) bool {
		events := o.GetAnnotations()[hookAnnotation]
		if events == "" {
			return false
		}
		h := &Hook{}
		h.Weight, _ = strconv.Atoi(o.GetAnnotations()[weightAnnotation]) // helm takes what is no number for 0
		for event := range strings.SplitSeq(events, ",") {
			switch strings.TrimSpace(event) {
			case "pre-install":
				h.PreInstall = true
			case "pre-upgrade":
				h.PreUpgrade = true
			case "post-install":
				h.PostInstall = true
			case "post-upgrade":
				h.PostUpgrade = true
			case "crd-install":
				return false // helm 2's way: a CRD as any other
			}
		}
		if !h.due(true) && !h.due(false) {
			return true
		}
		for policy := range strings.SplitSeq(o.GetAnnotations()[deleteAnnotation], ",") {
			switch strings.TrimSpace(policy) {
			case "hook-succeeded":
				h.WhenSucceeded = true
			case "hook-failed":
				h.WhenFailed = true
			}
		}
		o.Hook = h
		return false
	})
}

// noteInputs gives each hook of a chart that runs the hash of what others of its hooks give
// it to read: a changed migration is most often in a ConfigMap, beside a Job that stays
// the same.
func noteInputs(objects []*Object) {
	data := map[readKey]*Object{}
	for _, o := range objects {
		if o.Hook != nil && isData(o) {
			data[readKey{o.GetKind(), o.GetNamespace(), o.GetName()}] = o
		}
	}
	for _, o := range objects {
		if o.Hook == nil || !isRunner(o) {
			continue
		}
		seen := map[string]bool{}
		for _, r := range reads(o) {
			if from := data[readKey{r.Kind, o.GetNamespace(), r.Name}]; from != nil {
				seen[r.String()+" "+renderHash(from)] = true
			}
		}
		o.inputs = strings.Join(slices.Sorted(maps.Keys(seen)), "\n")
	}
}

// due says whether a hook has its turn in this apply.
// The first lasts until everything was ready once.
func (h *Hook) due(first bool) bool {
	return h.before(first) || first && h.PostInstall || !first && h.PostUpgrade
}

// before says whether that is before the workloads: a migration that is for post-install
// and pre-upgrade runs after them at first, when they make its database.
func (h *Hook) before(first bool) bool { return first && h.PreInstall || !first && h.PreUpgrade }

// lasting are the hooks that an apply makes and leaves there.
func lasting(hooks []*Object, first bool) []*Object {
	return slices.DeleteFunc(slices.Clone(hooks), func(o *Object) bool { return !o.Hook.due(first) || o.Hook.WhenSucceeded })
}

// runHooks applies hooks one after the other; a Job or a Pod has to end well before the
// next one. One that ran and is unchanged is done, whether it is still there or its policy
// had it deleted.
func (d *Deployer) runHooks(ctx context.Context, hooks []*Object, first bool, save func() error, result *Applied) error {
	hooks, again, err := d.dueHooks(ctx, hooks, first)
	if err != nil {
		return err
	}
	for _, o := range hooks {
		if again[o] {
			if err := d.clearHook(ctx, o); err != nil {
				return err
			}
			// Who comes in between waits for what runs, and does not clear it again.
			if t, err := d.target(o); err == nil {
				d.jobs.noteBegin(t)
			}
			if err := save(); err != nil {
				return err
			}
		}
		if t, err := d.target(o); err == nil && isRunner(o) {
			d.jobs.forgetHook(t)
		}
		if err := d.runHook(ctx, o, save, result); err != nil {
			if p := problem.As(err); p == nil || p.Code != "hook-job" {
				return err // it did not fail, we did: it may be another's, or run still
			}
			if t, err := d.target(o); err == nil {
				d.jobs.noteFailure(t)
			}
			return errors.Join(err, d.deleteHooks(ctx, []*Object{o}, false))
		}
		// At once: what comes behind it may fail.
		if t, err := d.target(o); err == nil && o.inputs != "" && !o.Hook.WhenSucceeded {
			d.jobs.noteHook(t)
		}
	}
	for _, o := range hooks {
		if t, err := d.target(o); err == nil && o.Hook.WhenSucceeded {
			d.jobs.noteHook(t)
		}
	}
	// Before they are gone: a kdev that ends here must not have them run again.
	if err := save(); err != nil {
		return err
	}
	// As helm does, only now: what runs may need what was made before it.
	return d.deleteHooks(ctx, hooks, true)
}

// dueHooks are the hooks that have their turn, in their order. What is deleted when it
// succeeded and runs nothing itself, such as the ConfigMap that a Job reads, has its turn
// when something runs. again are those that ran, are there still, and have something else
// to read now.
func (d *Deployer) dueHooks(ctx context.Context, hooks []*Object, first bool) (due []*Object, again map[*Object]bool, _ error) {
	again = map[*Object]bool{}
	runs := false
	for _, o := range hooks {
		if !o.Hook.due(first) {
			continue
		}
		t, err := d.target(o)
		if err != nil {
			return nil, nil, err
		}
		ran := d.jobs.ran(t)
		if o.Hook.WhenSucceeded && ran && isRunner(o) {
			continue
		}
		due = append(due, o)
		if !isRunner(o) {
			continue
		}
		if d.jobs.stale(t) {
			again[o], runs = true, true
		}
		if runs {
			continue
		}
		was, err := t.resource.Get(ctx, t.key.name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, nil, d.apiProblem(err, RefOf(o).String(), o.Origin)
		}
		if err != nil {
			runs = !ran
			continue
		}
		keepLive(o, was)
		runs = !current(t.Unstructured, was)
	}
	if !runs {
		due = slices.DeleteFunc(due, func(o *Object) bool { return o.Hook.WhenSucceeded && !isRunner(o) })
	}
	slices.SortStableFunc(due, func(a, b *Object) int {
		return cmp.Or(cmp.Compare(a.Hook.Weight, b.Hook.Weight), cmp.Compare(stageOf(a.GroupVersionKind().GroupKind()), stageOf(b.GroupVersionKind().GroupKind())),
			strings.Compare(a.GetKind(), b.GetKind()), strings.Compare(a.GetName(), b.GetName()))
	})
	return due, again, nil
}

// clearHook deletes what is left of a hook's last run.
func (d *Deployer) clearHook(ctx context.Context, o *Object) error {
	t, err := d.target(o)
	if err != nil {
		return err
	}
	live, err := t.resource.Get(ctx, t.key.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	if live.GetLabels()[partOfLabel] != d.id {
		return nil // another's: applying it says so
	}
	m := d.memberOf(live, t.key.GroupKind, t.mapping.Resource)
	if err := d.delete(ctx, m); err != nil {
		return err
	}
	return d.awaitGone(ctx, []member{m}, d.tell)
}

// isRunner says whether a hook ends by itself.
func isRunner(o *Object) bool {
	gk := o.GroupVersionKind().GroupKind()
	return gk == jobKind || gk == podKind
}

// runHook applies one hook and waits for its end.
func (d *Deployer) runHook(ctx context.Context, o *Object, save func() error, result *Applied) error {
	if err := d.stage(ctx, []*Object{o}, save, result); err != nil {
		return err
	}
	patience := cmp.Or(d.options.HookTimeout, hookPatience)
	if end, ok := ctx.Deadline(); ok {
		// Short of it: that the hook took too long is still to be noted.
		left := time.Until(end)
		patience = min(patience, left-min(left/10, hookReserve))
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	namespace := orElse(o.GetNamespace(), d.options.Namespace)
	var err error
	stuck := &stuckHook{d: d, ref: RefOf(o), namespace: namespace}
	switch o.GroupVersionKind().GroupKind() {
	case jobKind:
		stuck.pods.LabelSelector = batchv1.JobNameLabel + "=" + o.GetName()
		err = d.awaitJob(waiting, stuck)
	case podKind:
		stuck.pods.FieldSelector = "metadata.name=" + o.GetName()
		err = d.awaitPod(waiting, stuck)
	}
	switch {
	case waiting.Err() == nil || ctx.Err() != nil:
	case stuck.found != nil:
		err = stuck.found
	default:
		err = &problem.Problem{Class: problem.Timeout, Code: "hook-job", Summary: "the chart's hook did not end within " + patience.Round(100*time.Millisecond).String(),
			Hint: "`kdev status` says what it waits for; what comes after it was not applied"}
	}
	if p := problem.As(err); p != nil && p.Code == "hook-job" {
		p.Where = at(RefOf(o).String(), o.Origin)
	}
	return err
}

// deleteHooks deletes what its policy says of hooks that ended, well or not.
func (d *Deployer) deleteHooks(ctx context.Context, hooks []*Object, well bool) error {
	for _, o := range hooks {
		if well && !o.Hook.WhenSucceeded || !well && !o.Hook.WhenFailed {
			continue
		}
		t, err := d.target(o)
		if err != nil {
			return err
		}
		live, err := t.resource.Get(ctx, t.key.name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return d.apiProblem(err, RefOf(o).String(), o.Origin)
		}
		if err == nil && live.GetLabels()[partOfLabel] == d.id { // else another's that has this name now
			if err := d.delete(ctx, d.memberOf(live, t.key.GroupKind, t.mapping.Resource)); err != nil {
				return err
			}
		}
		if well {
			d.note(t, nil)
		}
	}
	return nil
}

func hookFailed(message string, lines []string) error {
	p := &problem.Problem{Class: problem.Rollout, Code: "hook-job", Summary: "the chart's hook failed: " + oneLine(message, 200),
		Hint: "`kdev status` says why; what comes after it was not applied, and a changed render runs it again"}
	for _, line := range lines {
		p.Output += "> " + mask(line) + "\n"
	}
	return p
}

// lastWords are the last lines of the newest of some pods: a hook that is deleted when it
// failed leaves no other trace. Where they cannot be had, there are none.
func (d *Deployer) lastWords(ctx context.Context, namespace string, o metav1.ListOptions) []string {
	list, err := d.client.Core.CoreV1().Pods(namespace).List(ctx, o)
	if err != nil || len(list.Items) == 0 {
		return nil
	}
	pod := slices.MaxFunc(list.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for _, r := range runs(&pod) {
		if t := r.ended(); t != nil && t.ExitCode != 0 {
			lines := d.tails.fetch(ctx, &pod, r.Name, r.State.Terminated == nil)
			if d.hide != nil {
				for i := range lines {
					lines[i] = d.hide(lines[i])
				}
			}
			return lines
		}
	}
	return nil
}

// waitsForHook says that there is something to wait for: most hooks ran before.
func (d *Deployer) waitsForHook(what string) {
	if d.options.Progress != nil {
		d.options.Progress("waiting for hook " + what)
	}
}

// awaitJob waits until a Job is done.
func (d *Deployer) awaitJob(ctx context.Context, stuck *stuckHook) error {
	namespace, name := stuck.namespace, stuck.ref.Name
	ticker := time.NewTicker(hookLooks)
	defer ticker.Stop()
	tell := sync.OnceFunc(func() { d.waitsForHook("Job/" + name) })
	jobs := d.client.Core.BatchV1().Jobs(namespace)
	for {
		job, err := jobs.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil // it ran, and its time to live is over
		}
		if err != nil {
			return d.apiProblem(err, "Job/"+name, "")
		}
		for _, c := range job.Status.Conditions {
			switch {
			case c.Status != corev1.ConditionTrue:
			case c.Type == batchv1.JobComplete, c.Type == batchv1.JobSuspended:
				return nil
			case c.Type == batchv1.JobFailed:
				return hookFailed(c.Message, d.lastWords(ctx, namespace, stuck.pods))
			}
		}
		tell()
		if p := stuck.look(ctx); p != nil {
			return p
		}
		w, err := jobs.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: job.ResourceVersion})
		if err != nil {
			return d.apiProblem(err, "Job/"+name, "")
		}
		select {
		case <-w.ResultChan(): // changed, or the watch ended: look again
		case <-ticker.C:
		case <-ctx.Done():
		}
		w.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// awaitPod waits until a Pod has ended.
func (d *Deployer) awaitPod(ctx context.Context, stuck *stuckHook) error {
	namespace, name := stuck.namespace, stuck.ref.Name
	ticker := time.NewTicker(hookLooks)
	defer ticker.Stop()
	tell := sync.OnceFunc(func() { d.waitsForHook("Pod/" + name) })
	pods := d.client.Core.CoreV1().Pods(namespace)
	for {
		pod, err := pods.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return d.apiProblem(err, "Pod/"+name, "")
		}
		switch pod.Status.Phase {
		case corev1.PodSucceeded:
			return nil
		case corev1.PodFailed:
			return hookFailed(orElse(pod.Status.Message, "its container ended with an error"), d.lastWords(ctx, namespace, stuck.pods))
		}
		tell()
		if p := stuck.look(ctx); p != nil {
			return p
		}
		w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: pod.ResourceVersion})
		if err != nil {
			return d.apiProblem(err, "Pod/"+name, "")
		}
		select {
		case <-w.ResultChan():
		case <-ticker.C:
		case <-ctx.Done():
		}
		w.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
