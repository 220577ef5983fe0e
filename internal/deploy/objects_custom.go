package deploy

import (
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
	if !ok {
		return
	}
	namespace := ""
	if kind.namespaced {
		namespace = w.d.options.Namespace
	}
	u, known := w.live.Followed(kind.resource, namespace, s.Name)
	if !known {
		return // nobody can say, as where RBAC forbids to look
	}
	made, applied := w.d.made(s.Ref)
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
		Output: oneLine(result.Message, 300), Hint: "the message is its controller's own"}
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
			s.Waiting += ": " + oneLine(result.Message, 160)
		}
	case status.TerminatingStatus:
		s.Ready, s.Waiting = false, "its removal"
	default:
		w.available(u, s, failed)
	}
}

// available looks at the condition by which objects without Ready say that they serve.
func (w *world) available(u *unstructured.Unstructured, s *ObjectStatus, failed *problem.Problem) {
	conditions, err := status.GetObjectWithConditions(u.Object)
	if err != nil {
		return
	}
	for _, c := range conditions.Status.Conditions {
		if c.Type == "Ready" {
			return // kstatus has looked at it
		}
	}
	for _, c := range conditions.Status.Conditions {
		if c.Type != "Available" || c.Status != "False" {
			continue
		}
		said := oneLine(orElse(c.Message, c.Reason), 160)
		s.Ready, s.Waiting = false, "its server to answer: "+said
		if u.GroupVersionKind().Group == "apiregistration.k8s.io" && w.later(u.GetCreationTimestamp().Time, serverGrace) {
			failed.Code, failed.Summary = "apiservice-unavailable", "what serves this API does not answer"
			failed.Output, failed.Hint = said, "look at the Service that it names, and at the pods behind it"
			s.Problem = failed
		}
	}
}
