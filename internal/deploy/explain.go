package deploy

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kdev-io/kdev/internal/problem"
)

// Explain says in plain words why a pod does not get ready, nil while nothing
// is known to be wrong. events are those about the pod, oldest first. What may
// well be over in a moment (a first failed pull, a probe that fails while the
// process starts) is not a problem yet.
func Explain(pod *corev1.Pod, events []*corev1.Event) *problem.Problem {
	where := "Pod/" + pod.Name
	if p := unschedulable(pod); p != nil {
		return p
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, st := range list {
			at := where + " container " + st.Name
			if w := st.State.Waiting; w != nil {
				if p := waiting(at, st, w, events); p != nil {
					return p
				}
			}
			if t := st.State.Terminated; t != nil && t.ExitCode != 0 && st.RestartCount > 0 {
				return terminated(at, st.Name, t)
			}
		}
	}
	if p := volumes(where, events); p != nil && pod.Status.Phase == corev1.PodPending {
		return p
	}
	return probes(pod, where, events)
}

func failure(code, where, summary, hint string) *problem.Problem {
	return &problem.Problem{Class: problem.Rollout, Code: code, Where: where, Summary: summary, Hint: hint}
}

func unschedulable(pod *corev1.Pod) *problem.Problem {
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse || c.Reason != corev1.PodReasonUnschedulable {
			continue
		}
		hint := "`kubectl describe pod " + pod.Name + " -n " + pod.Namespace + "` lists what each node lacks"
		switch {
		case strings.Contains(c.Message, "Insufficient"):
			hint = "lower resources.requests, or give the cluster more room"
		case strings.Contains(c.Message, "taint"):
			hint = "add a toleration, or remove the taint from the node"
		case strings.Contains(c.Message, "PersistentVolumeClaim") || strings.Contains(c.Message, "persistentvolumeclaim"):
			hint = "`kubectl get pvc -n " + pod.Namespace + "` shows which claim is not bound"
		}
		return failure("unschedulable", "Pod/"+pod.Name, "no node can take it: "+firstSentence(c.Message), hint)
	}
	return nil
}

// firstSentence drops the scheduler's second half, which speaks of preemption.
func firstSentence(s string) string {
	s, _, _ = strings.Cut(s, " preemption:")
	return strings.TrimSuffix(strings.TrimSpace(s), ".")
}

func waiting(at string, st corev1.ContainerStatus, w *corev1.ContainerStateWaiting, events []*corev1.Event) *problem.Problem {
	switch w.Reason {
	case "ImagePullBackOff", "ErrImagePull":
		// The first failure of a pull is often the network's; the second is not.
		if w.Reason == "ErrImagePull" && !definite(w.Message) {
			return nil
		}
		return pull(at, st.Image, pullMessage(w.Message, events))
	case "InvalidImageName":
		return failure("image-name", at, "the image reference is not valid: "+w.Message, "correct `image:` in the manifest")
	case "CreateContainerConfigError":
		return failure("container-config", at, "it cannot be created: "+w.Message, "create what it names, or correct the reference in the manifest")
	case "CreateContainerError", "RunContainerError":
		return command(at, w.Message)
	case "CrashLoopBackOff":
		if t := st.LastTerminationState.Terminated; t != nil {
			return terminated(at, st.Name, t)
		}
		return failure("crash", at, "it crashes again and again", "`kdev logs` shows what it printed")
	}
	return nil
}

// definite says whether a pull's error will not mend itself.
func definite(message string) bool {
	for _, s := range []string{"not found", "manifest unknown", "unauthorized", "authentication required", "access denied", "no match for platform"} {
		if strings.Contains(strings.ToLower(message), s) {
			return true
		}
	}
	return false
}

// pullMessage finds the cause: the back-off repeats it only sometimes.
func pullMessage(message string, events []*corev1.Event) string {
	for _, e := range slices.Backward(events) {
		if e.Reason == "Failed" && strings.Contains(e.Message, "Failed to pull image") {
			return e.Message
		}
	}
	return message
}

func pull(at, image, message string) *problem.Problem {
	lower := strings.ToLower(message)
	switch {
	case strings.Contains(lower, "unauthorized") || strings.Contains(lower, "authentication required") || strings.Contains(lower, "access denied"):
		return failure("image-unauthorized", at, "the registry does not let this cluster pull "+image, "add a pull secret for it (imagePullSecrets)")
	case strings.Contains(lower, "not found") || strings.Contains(lower, "manifest unknown"):
		return failure("image-not-found", at, "there is no image "+image, "check its name and tag in the manifest")
	case strings.Contains(lower, "no match for platform"):
		return failure("image-platform", at, "image "+image+" is not made for this node's architecture", "build or choose one for it")
	}
	p := failure("image-pull", at, "image "+image+" cannot be pulled", "check the network and the registry; the node tries again by itself")
	p.Output = message
	return p
}

// command explains why a container's process could not be started.
func command(at, message string) *problem.Problem {
	lower := strings.ToLower(message)
	switch {
	case strings.Contains(lower, "executable file not found") || strings.Contains(lower, "no such file or directory"):
		return failure("command-not-found", at, "its command is not in the image: "+quotedTail(message), "correct `command:` in the manifest, or the ENTRYPOINT of the Dockerfile")
	case strings.Contains(lower, "permission denied"):
		return failure("command-not-executable", at, "its command may not be executed: "+quotedTail(message), "`chmod +x` it in the Dockerfile")
	case strings.Contains(lower, "exec format error"):
		return failure("exec-format", at, "its command is for another architecture, or a script without #!", "build it for the node's architecture")
	}
	p := failure("container-start", at, "it cannot be started", "the message is the container runtime's")
	p.Output = message
	return p
}

// quotedTail keeps the end of a runtime's long chain of causes, which is the cause.
func quotedTail(message string) string {
	if i := strings.LastIndex(message, "exec: "); i >= 0 {
		message = message[i+len("exec: "):]
	}
	return strings.TrimSuffix(strings.TrimSpace(message), ": unknown")
}

func terminated(at, container string, t *corev1.ContainerStateTerminated) *problem.Problem {
	var p *problem.Problem
	switch {
	case t.Reason == "OOMKilled":
		return failure("out-of-memory", at, "it used more memory than resources.limits.memory allows and was killed", "raise the limit, or find what uses the memory")
	case t.Reason == "StartError" || t.Reason == "ContainerCannotRun":
		return command(at, t.Message)
	case t.ExitCode == 137:
		p = failure("killed", at, "it was killed (SIGKILL)", "a liveness probe, the node or somebody did it; `kubectl describe pod` says more")
	case t.ExitCode == 127:
		p = failure("command-not-found", at, "it exited with 127: a command in it was not found", "the last lines name it: `kdev logs`")
	case t.ExitCode == 255 && strings.Contains(t.Message, "exec format error"):
		return command(at, t.Message)
	default:
		p = failure("crash", at, fmt.Sprintf("%s exited with %d", container, t.ExitCode), "the last lines say why: `kdev logs`")
	}
	p.Output = strings.TrimSpace(t.Message)
	return p
}

// volumes explains what keeps a pod from getting its volumes.
func volumes(where string, events []*corev1.Event) *problem.Problem {
	for _, e := range slices.Backward(events) {
		if e.Reason == "FailedMount" || e.Reason == "FailedAttachVolume" {
			return failure("volume", where, "a volume of it cannot be mounted: "+e.Message, "create what it names, or correct `volumes:` in the manifest")
		}
	}
	return nil
}

// probes tells of a probe that fails again and again.
func probes(pod *corev1.Pod, where string, events []*corev1.Event) *problem.Problem {
	for _, e := range slices.Backward(events) {
		if e.Reason != "Unhealthy" || e.Count < 5 && (e.Series == nil || e.Series.Count < 5) {
			continue
		}
		if podReady(pod) {
			return nil
		}
		kind, _, _ := strings.Cut(e.Message, " ")
		return failure("probe-failed", where, strings.TrimSpace(e.Message), "correct the "+strings.ToLower(kind)+" probe in the manifest, or what answers it")
	}
	return nil
}

// creationProblem explains why a controller cannot create pods.
func creationProblem(ref Ref, message string) *problem.Problem {
	switch {
	case strings.Contains(message, "exceeded quota"):
		return failure("quota-exceeded", ref.String(), "a quota of the namespace allows no more pods: "+message, "raise the quota or lower resources.requests")
	case strings.Contains(message, "PodSecurity"):
		return failure("pod-security", ref.String(), "the namespace's Pod Security level does not allow its pods: "+message, "set the fields that the message names in the pod template's securityContext")
	}
	return failure("pod-refused", ref.String(), "its pods cannot be created: "+message, "correct the pod template")
}
