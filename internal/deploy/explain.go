package deploy

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/kube"
)

// How long a state may last before it counts as a problem. Everything that is
// not listed here is one at once, because nothing but a person mends it.
const (
	scheduleGrace  = 15 * time.Second // an old pod may be about to make room
	steadyAfter    = 10 * time.Second // a container that crashed before and runs again
	sandboxGrace   = 10 * time.Second // the network plug-in of a node that just started
	terminateGrace = 15 * time.Second // beyond the pod's own grace period
)

// explain says in plain words why a pod does not get ready, nil while nothing is
// known to be wrong. What may well be over in a moment is not a problem yet: a
// first failed pull for the network's sake, a first crash (the database may not
// be up), a probe that fails while the process starts.
func (e *evidence) explain() *finding {
	if f := e.gone(); f != nil {
		return f
	}
	if f := e.scheduling(); f != nil {
		return f
	}
	if f := e.node(); f != nil {
		return f
	}
	// In the order of starting: what comes later waits for what comes before.
	for _, r := range runs(e.pod) {
		if f := e.container(r); f != nil {
			f.container = r.word()
			return f
		}
		if r.init && (r.State.Terminated == nil || r.State.Terminated.ExitCode != 0) {
			break
		}
	}
	return e.beforeStart()
}

// container finds what is wrong with one container.
func (e *evidence) container(r containerRun) *finding {
	if w := r.State.Waiting; w != nil {
		switch w.Reason {
		case "", "ContainerCreating", "PodInitializing":
			return nil
		case "ImagePullBackOff", "ErrImagePull", "ImageInspectError", "ErrImageNeverPull", "RegistryUnavailable", "SignatureValidationFailed":
			return e.image(r, w)
		case "InvalidImageName":
			return &finding{code: "image-name", summary: "the image reference " + r.spec.Image + " is not valid",
				chain: []string{"the kubelet says: " + oneLine(w.Message, 200)}, hint: "correct `image:` in the manifest", known: []string{"InspectFailed", "Failed"}}
		case "CreateContainerConfigError":
			return e.config(w.Message)
		case "CreateContainerError", "RunContainerError", "CreateContainerFailed", "StartError", "PreCreateHookError", "PreStartHookError":
			return e.start(r, w.Message)
		case "PostStartHookError":
			return &finding{code: "hook-failed", summary: "its postStart hook fails", chain: []string{oneLine(w.Message, 200)}, lines: e.printed(r.Name, true),
				hint: "correct lifecycle.postStart in the manifest", known: []string{"FailedPostStartHook", "BackOff"}}
		case "CrashLoopBackOff":
			if t := r.LastTerminationState.Terminated; t != nil {
				return e.crash(r, t)
			}
			return nil
		}
	}
	if t := r.State.Terminated; t != nil {
		return e.crash(r, t)
	}
	if s, t := r.State.Running, r.LastTerminationState.Terminated; s != nil && t != nil {
		// Between two crashes: still the same problem until it has run for a while.
		again, _ := restless(e.pod)
		if (r.RestartCount > 1 && (!r.Ready || again == r.Name) || hopeless(t)) && !e.later(s.StartedAt.Time, steadyAfter) {
			return e.crash(r, t)
		}
	}
	return nil
}

// gone explains pods that were ended as a whole.
func (e *evidence) gone() *finding {
	p := e.pod
	if p.DeletionTimestamp != nil {
		return e.terminating()
	}
	if p.Status.Phase != corev1.PodFailed {
		return nil
	}
	said := oneLine(p.Status.Message, 200)
	switch p.Status.Reason {
	case "Evicted":
		f := &finding{code: "evicted", summary: "the node evicted its pod", chain: []string{said}, known: []string{"Evicted"},
			hint: "free what the message names on the node, or set resources.requests so that the pod goes where there is room"}
		switch {
		case strings.Contains(said, "exceeds the limit"), strings.Contains(said, "exceeds its local ephemeral storage limit"), strings.Contains(said, "exceeds the total limit"):
			f.summary = "its pod wrote more to disk than it may and was evicted"
			f.hint = "raise the volume's sizeLimit or limits.ephemeral-storage, or write less"
		case strings.Contains(said, "ephemeral-storage") || strings.Contains(said, "DiskPressure"):
			f.summary += ": its disk is full"
			f.hint = "free space on the machine: `docker system df` shows what takes it"
		}
		return f
	case "DeadlineExceeded":
		return &finding{code: "deadline", summary: "its pod ran longer than activeDeadlineSeconds allows", chain: []string{said},
			hint: "raise activeDeadlineSeconds, or find out why it takes so long", known: []string{"DeadlineExceeded"}}
	case "NodeLost", "NodeShutdown", "Terminated", "Shutdown":
		return &finding{code: "node-lost", summary: "its node went away", chain: []string{said}, hint: "`kdev cluster start` starts stopped nodes again"}
	case "NodeAffinity", "OutOfcpu", "OutOfmemory", "OutOfpods", "UnexpectedAdmissionError", "AppArmor":
		return &finding{code: "node-refused", summary: "the node did not admit its pod (" + p.Status.Reason + ")", chain: []string{said}, hint: "the message names what the node lacks"}
	}
	return nil
}

// terminating explains a pod that does not go although its time is over.
func (e *evidence) terminating() *finding {
	p := e.pod
	// The deletion's time already includes the grace period (metav1.ObjectMeta).
	if !e.later(p.DeletionTimestamp.Time, terminateGrace) {
		return nil
	}
	f := &finding{code: "stuck-terminating", summary: "an old pod does not go", hint: "kubectl delete pod " + p.Name + " -n " + p.Namespace + " --force, when nothing of it is needed",
		chain: []string{"it was to end " + age(e.now.Sub(p.DeletionTimestamp.Time)) + " ago"}, known: []string{"Killing"}}
	if gone := e.node(); gone != nil {
		f.summary += ": " + gone.summary
		f.chain, f.known = append(f.chain, gone.chain...), append(f.known, gone.known...)
	}
	if len(p.Finalizers) > 0 {
		f.summary += ": finalizers hold it"
		f.chain = append(f.chain, "finalizers: "+strings.Join(p.Finalizers, ", "))
		f.hint = "who set them should take them off; `kubectl describe pod " + p.Name + "` may say why not"
	}
	return f
}

// node explains a pod whose node does not answer. The node lifecycle controller then takes
// the status of the Ready condition away, and nothing else: no reason, and the containers
// stay as they were last told; an event of the pod says why (MarkPodsNotReady of
// k8s.io/kubernetes, pkg/controller/util/node). A kubelet always writes a reason.
func (e *evidence) node() *finding {
	told, whole := lastEvent(e.events, "NodeNotReady", ""), false
	for _, c := range e.pod.Status.Conditions {
		whole = whole || c.Type == corev1.ContainersReady && c.Status == corev1.ConditionTrue
	}
	for _, c := range e.pod.Status.Conditions {
		if c.Type != corev1.PodReady || c.Status != corev1.ConditionFalse {
			continue
		}
		// The event is made right after the condition, and is about this time then.
		if told != nil && !kube.EventTime(told).Time.Before(c.LastTransitionTime.Time) || whole && c.Reason == "" {
			return &finding{code: "node-not-ready", summary: "its node " + e.pod.Spec.NodeName + " does not answer", known: []string{"NodeNotReady"},
				chain: []string{"since " + age(e.now.Sub(c.LastTransitionTime.Time))}, hint: "`kdev cluster start` starts stopped nodes; `kubectl describe node " + e.pod.Spec.NodeName + "` says more"}
		}
	}
	return nil
}
