package deploy

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

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
)

var podKind = schema.GroupKind{Kind: "Pod"}

// A Hook says when an object of a chart has its turn: before the workloads or
// after them, the lighter ones first, each done before the next.
type Hook struct {
	Before, After    bool
	Install, Upgrade bool // on the first apply; on later ones
	Weight           int
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
				h.Before, h.Install = true, true
			case "pre-upgrade":
				h.Before, h.Upgrade = true, true
			case "post-install":
				h.After, h.Install = true, true
			case "post-upgrade":
				h.After, h.Upgrade = true, true
			case "crd-install":
				return false // helm 2's way: a CRD as any other
			}
		}
		if !h.Before && !h.After {
			return true
		}
		o.Hook = h
		return false
	})
}

// due says whether a hook has its turn in this apply.
// The first lasts until everything was ready once.
func (h *Hook) due(first bool) bool { return first && h.Install || !first && h.Upgrade }

// runHooks applies hooks one after the other; a Job or a Pod has to end well before the
// next one. One that ran and is unchanged is done.
func (d *Deployer) runHooks(ctx context.Context, hooks []*Object, first bool, result *Applied) error {
	hooks = slices.DeleteFunc(slices.Clone(hooks), func(o *Object) bool { return !o.Hook.due(first) })
	slices.SortStableFunc(hooks, func(a, b *Object) int {
		return cmp.Or(cmp.Compare(a.Hook.Weight, b.Hook.Weight), cmp.Compare(stageOf(a.GroupVersionKind().GroupKind()), stageOf(b.GroupVersionKind().GroupKind())),
			strings.Compare(a.GetKind(), b.GetKind()), strings.Compare(a.GetName(), b.GetName()))
	})
	for _, o := range hooks {
		if err := d.stage(ctx, []*Object{o}, result); err != nil {
			return err
		}
		namespace := orElse(o.GetNamespace(), d.options.Namespace)
		var err error
		switch o.GroupVersionKind().GroupKind() {
		case jobKind:
			err = d.awaitJob(ctx, namespace, o.GetName())
		case podKind:
			err = d.awaitPod(ctx, namespace, o.GetName())
		}
		if p := problem.As(err); p != nil && p.Code == "hook-job" {
			p.Where = at(RefOf(o).String(), o.Origin)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func hookFailed(message string) error {
	return &problem.Problem{Class: problem.Rollout, Code: "hook-job", Summary: "the chart's hook failed: " + oneLine(message, 200),
		Hint: "`kdev status` says why; what comes after it was not applied, and a changed render runs it again"}
}

// awaitJob waits until a Job is done.
func (d *Deployer) awaitJob(ctx context.Context, namespace, name string) error {
	if d.options.Progress != nil {
		d.options.Progress("waiting for hook Job/" + name)
	}
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
				return hookFailed(c.Message)
			}
		}
		w, err := jobs.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: job.ResourceVersion})
		if err != nil {
			return d.apiProblem(err, "Job/"+name, "")
		}
		select {
		case <-w.ResultChan(): // changed, or the watch ended: look again
		case <-ctx.Done():
		}
		w.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// awaitPod waits until a Pod has ended.
func (d *Deployer) awaitPod(ctx context.Context, namespace, name string) error {
	if d.options.Progress != nil {
		d.options.Progress("waiting for hook Pod/" + name)
	}
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
			return hookFailed(orElse(pod.Status.Message, "its container ended with an error"))
		}
		w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: pod.ResourceVersion})
		if err != nil {
			return d.apiProblem(err, "Pod/"+name, "")
		}
		select {
		case <-w.ResultChan():
		case <-ctx.Done():
		}
		w.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
