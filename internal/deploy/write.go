package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/problem"
)

// An outcome is what became of one object.
type outcome struct {
	now       *unstructured.Unstructured // nil for a job that stays away
	created   bool
	changed   bool
	recreated bool
	why       string // of what was recreated
	note      string // for a person: what of the manifest was not applied
}

// write brings one object to what the manifest says, with as few requests as
// that takes: none when it is so already.
func (d *Deployer) write(ctx context.Context, t target, was *unstructured.Unstructured) (outcome, error) {
	if was != nil {
		if set := was.GetLabels()[partOfLabel]; set != "" && set != d.id {
			return outcome{}, &problem.Problem{
				Class: problem.Rollout, Code: "object-taken", Where: at(RefOf(t.Object).String(), t.Origin),
				Summary: "it is already a member of another ApplySet (" + set + ")",
				Hint:    "give this project another `namespace:`, or remove the object from the other project first",
			}
		}
		if was.GetDeletionTimestamp() != nil {
			// Applied now it would go all the same, and nothing can be made in a Namespace.
			if err := d.awaitGone(ctx, []member{d.memberOf(was, t.key.GroupKind, t.mapping.Resource)}, d.tell); err != nil {
				return outcome{}, placedAt(err, t.Object)
			}
			was = nil
		}
	}
	switch {
	case was == nil && t.key.GroupKind == jobKind && d.jobs.ran(t):
		// It ran, and its time to live is over: only another render runs it again.
		return outcome{}, nil
	case was == nil && t.key.GroupKind == namespaceKind:
		if err := d.makeNamespace(ctx, t.key.name); err != nil {
			return outcome{}, err
		}
	case was != nil && current(t.Unstructured, was):
		note := scaled(t.Object, was)
		if note == "" {
			note = d.widened(ctx, t.Object, was)
		}
		return outcome{now: was, note: note}, nil
	case was != nil:
		if err := d.adopt(ctx, t, was); err != nil {
			return outcome{}, err
		}
	}
	now, note, err := d.apply(ctx, t)
	if err != nil && was != nil && isImmutable(err) {
		return d.recreate(ctx, t, was, err)
	}
	if err != nil {
		return outcome{}, err
	}
	d.jobs.note(t)
	return outcome{now: now, created: was == nil, changed: was != nil && differs(was, now), note: note}, nil
}

// placedAt gives the problem of a removal the place of the object that cannot be made before.
func placedAt(err error, o *Object) error {
	p := problem.As(err)
	if p == nil || p.Code != "removal-stuck" {
		return err
	}
	c := *p
	c.Where = at(RefOf(o).String(), o.Origin)
	return &c
}

// apply sends one server-side apply. Conflicts with a person's kubectl are
// kdev's to win; those with a controller are told, but for replicas, which an
// autoscaler or a person may set as they like.
func (d *Deployer) apply(ctx context.Context, t target) (now *unstructured.Unstructured, note string, err error) {
	now, note, held, err := d.send(ctx, t, metav1.ApplyOptions{FieldManager: fieldManager})
	if err == nil && held != nil {
		return nil, "", held.problem(t.Object)
	}
	return now, note, err
}

// try is apply in a dry run. Fields that a controller holds are as if they were taken over.
func (d *Deployer) try(ctx context.Context, t target) (now *unstructured.Unstructured, held *conflict, err error) {
	now, _, held, err = d.send(ctx, t, metav1.ApplyOptions{FieldManager: fieldManager, DryRun: []string{metav1.DryRunAll}})
	return now, held, err
}

// send sends an apply until there is nothing left that it may take over or leave out. What a
// controller holds is held, and nothing is written then; a dry run takes it over.
func (d *Deployer) send(ctx context.Context, t target, o metav1.ApplyOptions) (now *unstructured.Unstructured, note string, held *conflict, err error) {
	u := t.Unstructured
	for {
		now, err := t.resource.Apply(ctx, t.key.name, u, o)
		if err == nil {
			return now, note, held, nil
		}
		c := conflictOf(err)
		if c == nil || len(c.replicas) == 0 && o.Force {
			return nil, "", nil, &refusal{d.refusedProblem(err, t.Object), err}
		}
		switch {
		case len(c.replicas) > 0:
			u = u.DeepCopy()
			unstructured.RemoveNestedField(u.Object, "spec", "replicas")
			note = keepsReplicas(t.Object, c.replicas...)
		case slices.IndexFunc(c.managers, isForeign) < 0:
			o.Force = true
		default:
			if held = c; len(o.DryRun) == 0 {
				return nil, note, held, nil
			}
			o.Force = true
		}
	}
}

func keepsReplicas(o *Object, managers ...string) string {
	return fmt.Sprintf("%s keeps its number of replicas, which %s set", RefOf(o), strings.Join(managers, " and "))
}

// scaled says that somebody other than kdev sets the replicas of a live object
// to another number than the manifest. An autoscaler is expected to.
func scaled(o *Object, live *unstructured.Unstructured) string {
	want, ok, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "replicas")
	have, _, _ := unstructured.NestedFieldNoCopy(live.Object, "spec", "replicas")
	if !ok || podSpecPath(o) == nil || equalScalar(want, have) {
		return ""
	}
	if manager, ok := scaler(live); ok && manager != autoscaler {
		return keepsReplicas(o, manager)
	}
	return ""
}

// autoscaler is the manager as which the HorizontalPodAutoscaler's controller writes.
const autoscaler = "kube-controller-manager"

// scaler is who owns the replicas of a live object, others before the autoscaler.
func scaler(live *unstructured.Unstructured) (manager string, ok bool) {
	for _, entry := range live.GetManagedFields() {
		if entry.FieldsV1 == nil || entry.Subresource == "status" || !strings.Contains(string(entry.FieldsV1.GetRawBytes()), `"f:replicas"`) {
			continue
		}
		if manager, ok = entry.Manager, true; manager != autoscaler {
			return manager, true
		}
	}
	return manager, ok
}

// widened says that a workload whose manifest names no number of replicas, which means
// one, has another, and that no autoscaler is why. The API server does not note who
// scaled it, since nobody had set the field before.
func (d *Deployer) widened(ctx context.Context, o *Object, live *unstructured.Unstructured) string {
	kind := o.GroupVersionKind()
	if kind.Group != "apps" || kind.Kind != "Deployment" && kind.Kind != "StatefulSet" {
		return ""
	}
	_, named, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "replicas")
	have, there, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	if _, owned := scaler(live); named || owned || !there || have == 1 {
		return ""
	}
	all, err := d.client.Core.AutoscalingV2().HorizontalPodAutoscalers(live.GetNamespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "" // who may not see them is not told what may be theirs
	}
	for i := range all.Items {
		if t := all.Items[i].Spec.ScaleTargetRef; t.Kind == kind.Kind && t.Name == live.GetName() {
			return ""
		}
	}
	return fmt.Sprintf("%s keeps its number of replicas, %d: it was scaled by hand, and its manifest names none, which means 1", RefOf(o), have)
}

// A refusal keeps the API server's answer beside what a person reads.
type refusal struct {
	error        // the problem
	status error // what the API server said
}

func (r *refusal) Unwrap() error { return r.error }

// isImmutable says whether a change was refused because the field can only be
// set when an object is made, and for nothing else: what is refused for another field too
// could be deleted and not made again.
func isImmutable(err error) bool {
	var r *refusal
	if !errors.As(err, &r) || !apierrors.IsInvalid(r.status) {
		return false
	}
	found := faults(r.status)
	if len(found) == 0 {
		return saysImmutable(r.status.Error())
	}
	return !slices.ContainsFunc(found, func(f fault) bool { return !saysImmutable(f.text) })
}

func saysImmutable(text string) bool {
	return slices.ContainsFunc([]string{"immutable", "Forbidden: updates to", "cannot change roleRef", "may not change", "Forbidden: pod updates may not"},
		func(s string) bool { return strings.Contains(text, s) })
}

// losesNothing are the kinds whose objects hold nothing but what the manifest
// says: deleted and made anew they are the same. A Service is not among them: its
// address, and a load balancer's, would change.
var losesNothing = []schema.GroupKind{
	jobKind,
	{Kind: "Pod"}, {Kind: "ConfigMap"}, {Kind: "Secret"},
	{Group: "apps", Kind: "Deployment"}, {Group: "apps", Kind: "DaemonSet"}, {Group: "apps", Kind: "ReplicaSet"}, {Group: "apps", Kind: "StatefulSet"},
	{Group: "batch", Kind: "CronJob"},
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}, {Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"},
	{Group: "policy", Kind: "PodDisruptionBudget"},
}

// recreate deletes an object whose change the API server refuses, and makes it
// anew, where nothing is lost by that; elsewhere the refusal stands.
func (d *Deployer) recreate(ctx context.Context, t target, was *unstructured.Unstructured, refused error) (outcome, error) {
	if !isRecreated(t.key.GroupKind, was) {
		return outcome{}, refused
	}
	fields := immutableFields(refused)
	if d.options.NoRecreate && isRunning(was) {
		return outcome{}, &problem.Problem{
			Class: problem.Rollout, Code: "object-immutable", Where: at(RefOf(t.Object).String(), t.Origin),
			Summary: "it runs, and " + fields + " cannot be changed: it would have to be deleted and made anew",
			Hint:    "--recreate of kdev deploy allows that; its pods are away until the new ones are ready",
		}
	}
	m := d.memberOf(was, t.key.GroupKind, t.mapping.Resource)
	if err := d.delete(ctx, m); err != nil {
		return outcome{}, err
	}
	if err := d.awaitGone(ctx, []member{m}, d.tell); err != nil {
		return outcome{}, placedAt(err, t.Object)
	}
	now, _, err := d.apply(ctx, t)
	if err != nil {
		return outcome{}, err
	}
	d.jobs.note(t)
	return outcome{now: now, recreated: true, why: fields + " cannot be changed"}, nil
}

// isRecreated says whether an apply may delete an object and make it anew.
func isRecreated(gk schema.GroupKind, was *unstructured.Unstructured) bool {
	return slices.Contains(losesNothing, gk) && !deletesClaims(was)
}

// isRunning says whether an object has pods that are missed while it is made anew. A Job is
// made anew to run again.
func isRunning(u *unstructured.Unstructured) bool {
	gk := u.GroupVersionKind().GroupKind()
	if podSpecs[gk] == nil || gk.Group == jobKind.Group {
		return false
	}
	if phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); gk == podKind && (phase == "Succeeded" || phase == "Failed") {
		return false
	}
	replicas, ok, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "replicas")
	return !ok || !equalScalar(replicas, int64(0))
}

// immutableFields names the fields that a refusal says cannot be changed.
func immutableFields(err error) string {
	var fields []string
	var r *refusal
	if errors.As(err, &r) {
		err = r.status
	}
	for _, f := range faults(err) {
		if f.path != "" && !slices.Contains(fields, f.path) {
			fields = append(fields, f.path)
		}
	}
	return orElse(strings.Join(fields, ", "), "a field of it")
}

// deletesClaims says whether a StatefulSet takes its volumes along when it goes.
func deletesClaims(u *unstructured.Unstructured) bool {
	policy, _, _ := unstructured.NestedString(u.Object, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted")
	return policy == "Delete"
}

// A conflict is who owns the fields that an apply would change.
type conflict struct {
	managers []string // of all of them
	replicas []string // who scaled it, where .spec.replicas is among them
	fields   string
}

// conflictOf reads the causes of a conflict; nil where err is none.
func conflictOf(err error) *conflict {
	if !apierrors.IsConflict(err) {
		return nil
	}
	c := &conflict{fields: err.Error()}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		c.managers = []string{"another manager"}
		return c
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		fields = append(fields, strings.TrimPrefix(cause.Field, "."))
		manager := "another manager"
		// conflict with "kubectl-edit" using apps/v1
		if _, rest, ok := strings.Cut(cause.Message, `"`); ok {
			manager, _, _ = strings.Cut(rest, `"`)
		}
		if !slices.Contains(c.managers, manager) {
			c.managers = append(c.managers, manager)
		}
		// kubectl create made the object as it was written; that is no scaling.
		if cause.Field == ".spec.replicas" && manager != "kubectl-create" && !slices.Contains(c.replicas, manager) {
			c.replicas = append(c.replicas, manager)
		}
	}
	if c.fields = strings.Join(fields, ", "); len(c.managers) == 0 {
		c.managers = []string{"another manager"}
	}
	return c
}

func (c *conflict) String() string {
	return "fields of it belong to " + strings.Join(c.managers, " and ")
}

func (c *conflict) problem(o *Object) error {
	return &problem.Problem{
		Class: problem.Rollout, Code: "object-conflict", Where: at(RefOf(o).String(), o.Origin),
		Summary: c.String(), Err: errors.New(c.fields),
		Hint: "take the fields out of the manifests, or out of what " + c.managers[0] + " writes",
	}
}

// isForeign says whether a field manager is more than a person's kubectl.
func isForeign(manager string) bool {
	return !strings.HasPrefix(manager, "kubectl") && manager != "before-first-apply" && manager != fieldManager
}
