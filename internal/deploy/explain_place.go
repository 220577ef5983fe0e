package deploy

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scheduling explains a pod that no node takes.
func (e *evidence) scheduling() *finding {
	for _, c := range e.pod.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse || c.Reason != corev1.PodReasonUnschedulable {
			continue
		}
		f := e.unschedulable(c.Message)
		f.known = append(f.known, "FailedScheduling")
		// A volume claim that is missing does not come by itself; everything else
		// may be room that an old pod is about to make.
		if f.code != "missing-claim" && !e.later(since(e.pod, c.LastTransitionTime), scheduleGrace) {
			return nil
		}
		return f
	}
	return nil
}

// since is when a condition began; a new pod's has no time yet.
func since(pod *corev1.Pod, t metav1.Time) time.Time {
	if t.IsZero() {
		return pod.CreationTimestamp.Time
	}
	return t.Time
}

// persistentvolumeclaim "data" not found
var noClaim = regexp.MustCompile(`persistentvolumeclaim "([^"]+)" not found`)

func (e *evidence) unschedulable(message string) *finding {
	said, _, _ := strings.Cut(oneLine(message, 300), ". ") // the rest speaks of what would not help either
	said = strings.TrimSuffix(said, ".")
	f := &finding{code: "unschedulable", summary: "no node takes its pod", chain: []string{said}, hint: "`kubectl describe pod " + e.pod.Name + " -n " + e.pod.Namespace + "` lists what each node lacks"}
	switch {
	case noClaim.MatchString(message):
		name := noClaim.FindStringSubmatch(message)[1]
		return &finding{code: "missing-claim", summary: "there is no PersistentVolumeClaim " + name, hint: "add it to the manifests, or correct `volumes:`"}
	case strings.Contains(message, "unbound immediate PersistentVolumeClaims"), strings.Contains(message, "didn't find available persistent volumes"), strings.Contains(message, "volume node affinity"):
		f.code, f.summary = "unschedulable-volume", "no node takes its pod: a volume claim of it is not bound"
		f.hint = "`kubectl get pvc,storageclass -n " + e.pod.Namespace + "` shows which claim and which classes there are"
		for name, events := range e.claims {
			if ev := lastEvent(events, "ProvisioningFailed", ""); ev != nil {
				f.chain = append(f.chain, "claim "+name+": "+oneLine(ev.Message, 160))
			}
		}
	case strings.Contains(message, "didn't have free ports"):
		f.code, f.summary, f.hint = "unschedulable-port", "no node has its host port free", "use a Service instead of hostPort, or another port"
	case strings.Contains(message, "Insufficient"):
		f.code, f.summary, f.hint = "unschedulable-resources", "no node has room for what it requests: "+requested(e.pod), "lower resources.requests, or give the cluster more room"
	case strings.Contains(message, "Too many pods"):
		f.code, f.summary, f.hint = "unschedulable-resources", "the node takes no more pods", "remove something; clusters that kdev makes take 250 pods a node"
	case strings.Contains(message, "taint"):
		f.code, f.summary, f.hint = "unschedulable-taint", "every node has a taint that its pod does not tolerate", "kubectl describe nodes | grep Taints shows them: tolerate one, or take it off with kubectl taint node NODE KEY-"
	case strings.Contains(message, "node affinity/selector"), strings.Contains(message, "node selector"), strings.Contains(message, "affinity"), strings.Contains(message, "topology spread"):
		f.code, f.summary, f.hint = "unschedulable-selector", "no node matches its nodeSelector, affinity or spread rules", "kubectl get nodes --show-labels shows what they have"
		if len(e.pod.Spec.NodeSelector) > 0 {
			f.chain = append(f.chain, "nodeSelector: "+labelsText(e.pod.Spec.NodeSelector))
		}
	}
	return f
}

// beforeStart explains a pod that is on a node and has not started: volumes, its
// sandbox. The kubelet says that in events alone.
func (e *evidence) beforeStart() *finding {
	if e.pod.Status.Phase != corev1.PodPending || e.pod.Spec.NodeName == "" {
		return nil
	}
	for i := len(e.events) - 1; i >= 0; i-- {
		ev := e.events[i]
		switch ev.Reason {
		case "FailedMount", "FailedAttachVolume", "FailedMapVolume":
			if isTransient(ev.Message) {
				continue
			}
			if f := missingObject(ev.Message); f != nil {
				f.summary += ", which a volume names"
				f.known = []string{"FailedMount"}
				return f
			}
			return &finding{code: "volume-mount", summary: "a volume of it cannot be mounted", chain: []string{innermost(ev.Message)}, known: []string{ev.Reason},
				hint: "correct `volumes:` in the manifest; the message names the volume"}
		case "FailedCreatePodSandBox", "FailedPodSandBoxStatus", "NetworkNotReady":
			if !e.later(e.pod.CreationTimestamp.Time, sandboxGrace) {
				return nil
			}
			return &finding{code: "pod-network", summary: "the node cannot make a network for its pod", chain: []string{innermost(ev.Message)}, known: []string{ev.Reason},
				hint: "the node's network plug-in is at fault: `kubectl get pods -n kube-system` shows whether it runs"}
		case "Started", "Created", "Pulled":
			return nil // it got past that
		}
	}
	return nil
}

// requested writes what a pod asks of a node.
func requested(pod *corev1.Pod) string {
	var parts []string
	for _, c := range pod.Spec.Containers {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if q, ok := c.Resources.Requests[name]; ok {
				parts = append(parts, string(name)+" "+q.String())
			}
		}
	}
	if len(parts) == 0 {
		return "nothing but its place"
	}
	return strings.Join(parts, ", ")
}

func labelsText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, ", ")
}
