package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kdev-io/kdev/internal/problem"
)

// stuckAfter is how long an object may take to go before a person hears what
// holds it: more than the default grace period of a pod.
const stuckAfter = 40 * time.Second

// delete removes one object and, for workloads, in the foreground what it
// controls. Everything else goes at once: the garbage collector, which ends each
// foreground deletion, sends but 20 requests a second, and learns of a new CRD
// only every 30 seconds.
func (d *Deployer) delete(ctx context.Context, m member) error {
	uid, policy := m.GetUID(), metav1.DeletePropagationBackground
	if podSpecs[m.key.GroupKind] != nil {
		policy = metav1.DeletePropagationForeground
	}
	err := m.resource.Delete(ctx, m.GetName(), metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid}, // not a namesake that came since
		PropagationPolicy: &policy,
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return d.apiProblem(err, m.label(), "")
	}
	return nil
}

// awaitGone waits until none of the objects exists any more, with one watch for
// each kind and namespace. tell hears of what holds them up; it may be nil.
func (d *Deployer) awaitGone(ctx context.Context, going []member, tell func(string)) error {
	return d.awaitEach(ctx, going, tell, nil)
}

// awaitEach is awaitGone that notes in r, which may be nil, how each of them fares.
func (d *Deployer) awaitEach(ctx context.Context, going []member, tell func(string), r *removal) error {
	type place struct {
		gvr schema.GroupVersionResource
		ns  string
	}
	groups := map[place]map[types.UID]member{}
	for _, m := range going {
		p := place{m.gvr, m.GetNamespace()}
		if groups[p] == nil {
			groups[p] = map[types.UID]member{}
		}
		groups[p][m.GetUID()] = m
	}
	return each(slices.Collect(maps.Keys(groups)), func(p place) error {
		return d.awaitGroup(ctx, groups[p], tell, r)
	})
}

// awaitGroup waits for objects of one kind in one namespace.
func (d *Deployer) awaitGroup(ctx context.Context, left map[types.UID]member, tell func(string), r *removal) error {
	var some member
	for _, some = range left {
	}
	options := metav1.ListOptions{}
	if len(left) == 1 {
		options.FieldSelector = "metadata.name=" + some.GetName()
	}
	slow := time.NewTimer(stuckAfter)
	defer slow.Stop()
	for {
		if ctx.Err() != nil {
			return stuck(ctx, left)
		}
		list, err := some.resource.List(ctx, options)
		if ctx.Err() != nil {
			return stuck(ctx, left)
		}
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			r.goneAll(left) // the kind itself is gone
			return nil
		}
		if err != nil {
			return d.apiProblem(err, some.label(), "")
		}
		there := map[types.UID]member{}
		for i := range list.Items {
			if m, ok := left[list.Items[i].GetUID()]; ok {
				m.Unstructured = &list.Items[i]
				there[m.GetUID()] = m
				r.see(m)
				delete(left, m.GetUID())
			}
		}
		r.goneAll(left)
		if left = there; len(left) == 0 {
			return nil
		}
		w, err := some.resource.Watch(ctx, metav1.ListOptions{FieldSelector: options.FieldSelector, ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			if ctx.Err() != nil {
				return stuck(ctx, left)
			}
			return d.apiProblem(err, some.label(), "")
		}
		over := drainDeleted(ctx, w, left, slow.C, tell, r)
		w.Stop()
		if over {
			return nil
		}
		// The watch ended, or ctx did: look again.
	}
}

// drainDeleted takes deletions off left; it reports whether nothing is left.
func drainDeleted(ctx context.Context, w watch.Interface, left map[types.UID]member, slow <-chan time.Time, tell func(string), r *removal) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-slow:
			if tell != nil {
				tell(holders(left))
			}
		case e, ok := <-w.ResultChan():
			if !ok || e.Type == watch.Error {
				return false
			}
			u, isObject := e.Object.(*unstructured.Unstructured)
			if !isObject {
				continue
			}
			m, ours := left[u.GetUID()]
			if !ours {
				continue
			}
			if e.Type == watch.Deleted {
				r.gone(m)
				delete(left, u.GetUID())
				if len(left) == 0 {
					return true
				}
				continue
			}
			m.Unstructured = u
			left[u.GetUID()] = m
			r.see(m)
		}
	}
}

// stuck says what is still there when the time is up.
func stuck(ctx context.Context, left map[types.UID]member) error {
	if context.Cause(ctx) == context.Canceled {
		return context.Canceled
	}
	// Where has the object's name.
	return &problem.Problem{Class: problem.Timeout, Code: "removal-stuck", Where: firstOf(left).label(),
		Summary: "it" + strings.TrimPrefix(holders(left), firstOf(left).label()),
		Hint:    "`kubectl describe` says who should have removed the finalizers; the same command goes on from here"}
}

func firstOf(left map[types.UID]member) member {
	return slices.MinFunc(slices.Collect(maps.Values(left)), func(a, b member) int { return strings.Compare(a.label(), b.label()) })
}

// holders says what keeps objects from going.
func holders(left map[types.UID]member) string {
	m := firstOf(left)
	more := ""
	if len(left) > 1 {
		more = fmt.Sprintf(" and %d more", len(left)-1)
	}
	return fmt.Sprintf("%s%s is being deleted and waits for %s", m.label(), more, waitsFor(m))
}

// waitsFor says what keeps an object from going that is being deleted.
func waitsFor(m member) string {
	var waits []string
	for _, f := range m.GetFinalizers() {
		switch f {
		case metav1.FinalizerDeleteDependents:
			waits = append(waits, "what it controls")
		case "kubernetes.io/pvc-protection":
			waits = append(waits, "a pod that uses it")
		default:
			waits = append(waits, "finalizer "+f)
		}
	}
	if len(waits) == 0 {
		if m.GetKind() == "Namespace" {
			waits = namespaceConditions(m.Unstructured)
		} else {
			waits = []string{"its grace period"}
		}
	}
	return strings.Join(waits, ", ")
}

// namespaceConditions quotes what the namespace controller says.
func namespaceConditions(u *unstructured.Unstructured) []string {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	var out []string
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if message, _ := condition["message"].(string); condition["status"] == "True" && message != "" {
			out = append(out, message)
		}
	}
	if len(out) == 0 {
		out = []string{"the namespace controller"}
	}
	return out
}
