package pods

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/logs"
	"github.com/kdev-io/kdev/logs/store"
)

// A Choice says which containers are wanted.
type Choice struct {
	Queries []Query // any of them; none is every pod
	// OwnedWith wants pods whose chain of controllers, or which themselves, carry a
	// label: the members of a project. Empty wants any. It holds beside Queries.
	OwnedWith map[string]string
	// Owned wants pods besides those of OwnedWith, and only these where that is empty; nil
	// wants none besides. What it says of a pod may change.
	Owned func(*corev1.Pod) bool

	ExcludePods       []*regexp.Regexp
	Container         *regexp.Regexp // nil is all
	ExcludeContainers []*regexp.Regexp
	NoInit            bool
	NoEphemeral       bool
}

// A Selector applies a Choice to pods. It is for one goroutine.
type Selector struct {
	choice Choice
	owners *Owners
	ctx    context.Context
	byKind map[int]target // of queries KIND/NAME, by index
}

// A target is what KIND/NAME came to.
type target struct {
	kind   schema.GroupKind
	labels labels.Selector // of pods, where owners do not lead to them; nil elsewhere
}

// NewSelector resolves the choice's queries: an object that none of the namespaces
// has is an error, as in stern.
//
// Problems: logs-not-found, logs-kind.
func NewSelector(ctx context.Context, choice Choice, owners *Owners, namespaces []string) (*Selector, error) {
	s := &Selector{choice: choice, owners: owners, ctx: ctx, byKind: map[int]target{}}
	for i, q := range choice.Queries {
		if q.Name != nil || q.Kind.Kind == "Pod" {
			continue
		}
		t, err := s.resolve(ctx, q, namespaces)
		if err != nil {
			return nil, err
		}
		s.byKind[i] = t
	}
	return s, nil
}

func (s *Selector) resolve(ctx context.Context, q Query, namespaces []string) (target, error) {
	known := q.Kind.Known
	if known.Kind == "" {
		gvk, err := s.owners.discover(q.Kind.Word)
		if err != nil {
			return target{}, &problem.Problem{Class: problem.Usage, Code: "logs-kind",
				Summary: fmt.Sprintf("resource type %s is not supported", q.Kind.Word), Err: err,
				Hint: "kubectl api-resources lists the kinds that the cluster knows"}
		}
		known = gvk
	}
	t := target{kind: schema.GroupKind{Group: known.Group, Kind: known.Kind}}
	var obj *unstructured.Unstructured
	var errs []error
	for _, namespace := range namespaces {
		o, err := s.find(ctx, known, namespace, q.Object)
		if err == nil {
			obj = o
			break
		}
		errs = append(errs, err)
	}
	switch err := errors.Join(errs...); {
	case obj != nil:
	case allForbidden(errs) && known.Kind == "Service":
		return target{}, &problem.Problem{Code: "logs-not-found", Summary: fmt.Sprintf("this user may not read %s", q), Err: err,
			Hint: "a Role needs the verb get on services; -l with the service's selector needs none"}
	case allForbidden(errs):
		// Who may read pods and not their owners: the references of pods and the names
		// in them are enough.
		return t, nil
	default:
		return target{}, &problem.Problem{Code: "logs-not-found", Summary: fmt.Sprintf("there is no %s", q), Err: err,
			Hint: "check the namespace with -n, or use -A for all"}
	}
	if known.Kind == "Service" {
		selector, _, _ := unstructured.NestedStringMap(obj.Object, "spec", "selector")
		if len(selector) == 0 {
			return target{}, &problem.Problem{Code: "logs-not-found",
				Summary: fmt.Sprintf("resource %s has no labels to select", q),
				Hint:    "name the workload behind the service instead"}
		}
		t.labels = labels.SelectorFromSet(selector)
	}
	return t, nil
}

// find gets an object from a namespace, or from any.
func (s *Selector) find(ctx context.Context, known Known, namespace, name string) (*unstructured.Unstructured, error) {
	client := s.owners.client.Resource(known.GroupVersionResource)
	if namespace != "" {
		return client.Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	}
	list, err := client.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, apierrors.NewNotFound(known.GroupResource(), name)
	}
	return &list.Items[0], nil
}

func allForbidden(errs []error) bool {
	return len(errs) > 0 && !slices.ContainsFunc(errs, func(err error) bool { return !apierrors.IsForbidden(err) })
}

// Select says whether a container is wanted; it has the form that logs.Selection
// takes.
func (s *Selector) Select(pod *corev1.Pod, name string, kind logs.ContainerType) bool {
	c := &s.choice
	if c.NoInit && kind == logs.InitContainer || c.NoEphemeral && kind == logs.EphemeralContainer {
		return false
	}
	if c.Container != nil && !c.Container.MatchString(name) || matchAny(c.ExcludeContainers, name) {
		return false
	}
	return s.Pod(pod)
}

// Pod says whether a pod is wanted.
func (s *Selector) Pod(pod *corev1.Pod) bool {
	if matchAny(s.choice.ExcludePods, pod.Name) || !s.owned(pod) {
		return false
	}
	if len(s.choice.Queries) == 0 {
		return true
	}
	for i := range s.choice.Queries {
		if s.matches(i, pod) {
			return true
		}
	}
	return false
}

// matches says whether a query names a pod.
func (s *Selector) matches(query int, pod *corev1.Pod) bool {
	q, t := s.choice.Queries[query], s.byKind[query]
	switch {
	case q.Name != nil:
		return q.Name.MatchString(pod.Name)
	case q.Kind.Kind == "Pod":
		return pod.Name == q.Object
	case t.labels != nil:
		return t.labels.Matches(labels.Set(pod.Labels))
	}
	return slices.ContainsFunc(s.owners.Chain(s.ctx, pod), func(o Owner) bool { return o.GroupKind == t.kind && o.Name == q.Object })
}

// Unmatched are the queries that name none of the pods.
func (s *Selector) Unmatched(now []*corev1.Pod) []string {
	var out []string
	for i, q := range s.choice.Queries {
		if !slices.ContainsFunc(now, func(pod *corev1.Pod) bool { return s.matches(i, pod) }) {
			out = append(out, q.String())
		}
	}
	return out
}

func (s *Selector) owned(pod *corev1.Pod) bool {
	if s.choice.Owned != nil && s.choice.Owned(pod) {
		return true
	}
	if len(s.choice.OwnedWith) == 0 {
		return s.choice.Owned == nil
	}
	want := labels.SelectorFromSet(s.choice.OwnedWith)
	if want.Matches(labels.Set(pod.Labels)) {
		return true
	}
	for _, o := range s.owners.Chain(s.ctx, pod) {
		if want.Matches(labels.Set(o.Labels)) {
			return true
		}
	}
	return false
}

func matchAny(res []*regexp.Regexp, s string) bool {
	return slices.ContainsFunc(res, func(re *regexp.Regexp) bool { return re.MatchString(s) })
}

// Names lists the names of the objects of a kind, for completion.
func Names(ctx context.Context, owners *Owners, word string, namespaces []string) ([]string, error) {
	kind, ok := KindByWord(word)
	if !ok {
		known, err := owners.discover(word)
		if err != nil {
			return nil, err
		}
		kind.Known = known
	}
	var out []string
	for _, namespace := range namespaces {
		list, err := owners.client.Resource(kind.GroupVersionResource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			out = append(out, list.Items[i].GetName())
		}
	}
	return out, nil
}

// KeptWhere is what a [Where] can ask of a source that was kept on disk. Empty fields
// ask nothing.
type KeptWhere struct {
	Namespaces []string
	Labels     labels.Selector
	Node       string
}

// Kept is Select for a source that was kept on disk, of which the cluster may know
// nothing any more.
func (c *Choice) Kept(src *store.Source, where KeptWhere) bool {
	if where.Labels == nil {
		where.Labels = labels.Everything()
	}
	if src.Kind == store.Local {
		return c.keptLocal(src, where)
	}
	if len(where.Namespaces) > 0 && !slices.Contains(where.Namespaces, src.Namespace) ||
		where.Node != "" && src.Node != where.Node || !where.Labels.Matches(labels.Set(src.Labels)) {
		return false
	}
	if matchAny(c.ExcludePods, src.Pod) || matchAny(c.ExcludeContainers, src.Container) ||
		c.Container != nil && !c.Container.MatchString(src.Container) {
		return false
	}
	if len(c.Queries) == 0 {
		return true
	}
	return slices.ContainsFunc(c.Queries, func(q Query) bool {
		if q.Name != nil {
			return q.Name.MatchString(src.Pod)
		}
		if q.Kind.Kind == "Pod" {
			return src.Pod == q.Object
		}
		return keptOwner(src, q)
	})
}

// keptOwner says whether KIND/NAME owns the pod of a source. Of a pod of a ReplicaSet its
// Workload has the name without the hash of the template, which is the Deployment's.
func keptOwner(src *store.Source, q Query) bool {
	is := func(kind, name string) bool {
		return strings.EqualFold(src.Workload, src.Namespace+"/"+kind+"/"+name)
	}
	hash := src.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	switch q.Kind.Kind {
	case "Deployment":
		return hash != "" && is("ReplicaSet", q.Object)
	case "ReplicaSet":
		name, ok := strings.CutSuffix(q.Object, "-"+hash)
		return ok && hash != "" && is("ReplicaSet", name) || hash == "" && is("ReplicaSet", q.Object)
	case "CronJob":
		job, _ := strings.CutPrefix(src.Workload, src.Namespace+"/Job/")
		name, ok := scheduled(job)
		return ok && name == q.Object
	case "":
		return is(q.Kind.Word, q.Object)
	}
	return is(q.Kind.Kind, q.Object)
}

// keptLocal is for what ran on this machine, which has neither a pod nor a place.
func (c *Choice) keptLocal(src *store.Source, where KeptWhere) bool {
	if len(where.Namespaces) > 0 || where.Node != "" || !where.Labels.Empty() || c.Container != nil {
		return false
	}
	work, ok := strings.CutPrefix(src.Name, "local/")
	if ok && matchAny(c.ExcludePods, work) {
		return false
	}
	return len(c.Queries) == 0 || ok && slices.ContainsFunc(c.Queries, func(q Query) bool {
		return q.Name != nil && q.Name.MatchString(work) || q.Name == nil && q.Kind.Word == "local" && q.Object == work
	})
}
