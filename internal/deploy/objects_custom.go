package deploy

import (
	"slices"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kdev-io/kdev/internal/problem"
)

// serverGrace is how long an APIService may be unavailable: its pods are only just
// being started.
const serverGrace = 20 * time.Second

// custom judges an object that says itself how it is, by the rules of kstatus: a newer
// generation than its controller has looked at, the conditions Reconciling, Stalled and
// Ready, and, as APIServices have it, Available. One whose controller says nothing is
// ready: there is nothing to wait for.
func (w *world) custom(o *Object, s *ObjectStatus) {
	w.d.applied.mu.Lock()
	kind, ok := w.d.applied.kinds[o.GroupVersionKind().GroupKind()]
	w.d.applied.mu.Unlock()
	switch {
	case !ok:
		return // nothing was applied yet
	case kind.unknown:
		s.Ready, s.Waiting = false, "its kind, which the cluster does not know"
		return
	}
	namespace := ""
	if kind.namespaced {
		namespace = w.d.options.Namespace
	}
	u, known := w.live.Followed(kind.resource, namespace, s.Name)
	if !known {
		if plural := kind.resource.GroupResource().String(); slices.Contains(w.live.Denied(), plural) {
			s.Note = "this user may not read " + plural + ", so that nobody can say how it is"
			return
		}
		s.Ready, s.Waiting = false, "the API server to list "+kind.resource.Resource
		return
	}
	made, applied := w.d.made(madeKeyOf(o))
	switch {
	case u == nil || applied && u.GetUID() != made.uid:
		s.Ready, s.Waiting = false, "its creation"
		return
	case applied && u.GetGeneration() < made.generation:
		s.Ready, s.Waiting = false, "its controller"
		return
	}
	result, err := status.Compute(u)
	if err != nil {
		return // a status of another form than everybody's
	}
	failed := &problem.Problem{Class: problem.Rollout, Code: "object-failed", Where: at(s.Ref.String(), o.Origin), Summary: "its controller gives it up",
		Output: mask(oneLine(result.Message, 300)), Hint: "the message is its controller's own"}
	switch result.Status {
	case status.FailedStatus:
		s.Ready, s.Problem = false, failed
		if u.GroupVersionKind().GroupKind() == crdKind {
			failed.Code, failed.Summary = "crd-not-established", "the cluster does not serve it"
			failed.Hint = "`kubectl describe crd " + s.Name + "` says more: most often its names are another CRD's already"
		}
	case status.InProgressStatus:
		s.Ready, s.Waiting = false, "its controller"
		if result.Message != "" {
			s.Waiting += ": " + mask(oneLine(result.Message, 160))
		}
	case status.TerminatingStatus:
		s.Ready, s.Waiting = false, "its removal"
	default:
		w.available(u, s, failed)
	}
}

// available looks at the condition by which objects without Ready say that they serve.
// An APIService has it from the first look of the API server on.
func (w *world) available(u *unstructured.Unstructured, s *ObjectStatus, failed *problem.Problem) {
	isAPI := u.GroupVersionKind().Group == "apiregistration.k8s.io"
	conditions := conditionsOf(u)
	if conditions["Ready"] != nil {
		return // kstatus has looked at it
	}
	c := conditions["Available"]
	if c == nil {
		if isAPI {
			s.Ready, s.Waiting = false, "its server to answer"
		}
		return
	}
	if c["status"] != "False" {
		return
	}
	said, _ := c["message"].(string)
	reason, _ := c["reason"].(string)
	said = mask(oneLine(orElse(said, reason), 160))
	s.Ready, s.Waiting = false, "its server to answer: "+said
	if isAPI && w.later(unavailableSince(u, c), serverGrace) {
		failed.Code, failed.Summary = "apiservice-unavailable", "what serves this API does not answer"
		failed.Output, failed.Hint = said, "look at the Service that it names, and at the pods behind it"
		s.Problem = failed
	}
}

// unavailableSince is when an object stopped serving: its pods may be replaced long after
// it was made.
func unavailableSince(u *unstructured.Unstructured, condition map[string]any) time.Time {
	text, _ := condition["lastTransitionTime"].(string)
	changed, err := time.Parse(time.RFC3339, text)
	if made := u.GetCreationTimestamp().Time; err != nil || changed.Before(made) {
		return made
	}
	return changed
}

// conditionsOf are the conditions of an object by their type.
func conditionsOf(u *unstructured.Unstructured) map[string]map[string]any {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	all := map[string]map[string]any{}
	for _, item := range list {
		if c, ok := item.(map[string]any); ok {
			kind, _ := c["type"].(string)
			all[kind] = c
		}
	}
	return all
}
