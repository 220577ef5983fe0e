package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// look returns the pod that is ready, or what the newest one waits for. A state in
// which waiting does not help is a problem.
func (s *Server) look(ctx context.Context, kc *kube.Client, name string) (pod, state string, err error) {
	pods, err := kc.Core.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: nameLabel + "=" + name})
	if err != nil {
		return "", "", err
	}
	var newest *corev1.Pod
	for i, p := range pods.Items {
		if p.DeletionTimestamp != nil {
			continue
		}
		if condition(p.Status.Conditions, corev1.PodReady).Status == corev1.ConditionTrue {
			return p.Name, "", nil
		}
		if newest == nil || newest.CreationTimestamp.Before(&p.CreationTimestamp) {
			newest = &pods.Items[i]
		}
	}
	if newest == nil {
		return "", "its pod is being made", s.notMade(ctx, kc, name)
	}
	state, err = s.waits(ctx, kc, newest)
	return "", state, err
}

// notMade is why the cluster makes no pod at all; nil where it says nothing.
func (s *Server) notMade(ctx context.Context, kc *kube.Client, name string) error {
	d, err := kc.Core.AppsV1().Deployments(Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range d.Status.Conditions {
		if c.Type == "ReplicaFailure" && c.Status == corev1.ConditionTrue {
			return &problem.Problem{Code: "buildkit-forbidden", Where: where(name), Summary: "the cluster does not admit the pod of BuildKit", Err: errors.New(c.Message), Hint: s.admission(c.Message)}
		}
	}
	return nil
}

// admission is what helps against a refusal.
func (s *Server) admission(message string) string {
	const elsewhere = "`buildkit: tcp://HOST:1234` in kdev.yaml names a BuildKit elsewhere"
	switch {
	case strings.Contains(message, "PodSecurity"): // rootless BuildKit is no baseline either: its seccomp profile is not
		return "who may label namespaces can let it: `kubectl label namespace " + Namespace + " pod-security.kubernetes.io/enforce=privileged --overwrite`; or " + elsewhere
	case strings.Contains(message, "rivileged") && !s.o.Rootless:
		return "try it without privileges, `buildkit: {address: cluster, rootless: true}`; or " + elsewhere
	}
	return "what refuses it says why; " + elsewhere
}

// waits is what a pod waits for.
func (s *Server) waits(ctx context.Context, kc *kube.Client, pod *corev1.Pod) (state string, err error) {
	if c := condition(pod.Status.Conditions, corev1.PodScheduled); c.Status == corev1.ConditionFalse {
		return "no node takes it: " + c.Message, nil
	}
	for _, c := range pod.Status.ContainerStatuses {
		w := c.State.Waiting
		switch {
		case c.State.Terminated != nil:
			return "buildkitd has ended, and is started again", nil
		case w == nil && !c.Ready && c.State.Running != nil:
			return "buildkitd starts", nil
		case w == nil:
		case w.Reason == "ImagePullBackOff" || w.Reason == "InvalidImageName" || w.Reason == "ErrImageNeverPull":
			return "", &problem.Problem{Code: "buildkit-image", Where: where(pod.Name), Summary: "the nodes cannot pull " + s.o.image(), Err: errors.New(w.Message),
				Hint: "name an image that they can pull: `buildkit: {address: cluster, image: REGISTRY/moby/buildkit:" + version + "}` in kdev.yaml"}
		case w.Reason == "CrashLoopBackOff":
			p := &problem.Problem{Code: "buildkit-not-ready", Where: where(pod.Name), Summary: "buildkitd ends as soon as it is started", Output: s.printed(ctx, kc, pod.Name),
				Hint: "the output above is its own; `kdev buildkit rm` removes it"}
			if s.o.Rootless {
				p.Hint = "the output above is its own: rootless BuildKit needs user namespaces on the nodes, and an image whose tag ends in -rootless"
			}
			return "", p
		case w.Reason == "CreateContainerError" || w.Reason == "CreateContainerConfigError" || w.Reason == "RunContainerError":
			return w.Reason + ": " + w.Message, nil
		case w.Reason == "ErrImagePull":
			return "the image cannot be pulled yet: " + w.Message, nil
		}
	}
	return "its image " + s.o.image() + " is being pulled", nil
}

// printed is the end of what the daemon printed before it ended.
func (s *Server) printed(ctx context.Context, kc *kube.Client, pod string) string {
	lines := int64(20)
	for _, previous := range []bool{true, false} {
		r, err := kc.Core.CoreV1().Pods(Namespace).GetLogs(pod, &corev1.PodLogOptions{Container: daemon, TailLines: &lines, Previous: previous}).Stream(ctx)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(r, 8<<10))
		r.Close()
		if err == nil && len(b) > 0 {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

func condition(all []corev1.PodCondition, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range all {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

func where(name string) string { return fmt.Sprintf("%s in namespace %s", name, Namespace) }

func foreign(kc *kube.Client) error {
	return &problem.Problem{Class: problem.Usage, Code: "buildkit-foreign", Where: "context " + kc.Context, Summary: "the namespace " + Namespace + " is not kdev's", Err: errForeign,
		Hint: "name a BuildKit by its address: `buildkit: kube-pod://POD?namespace=…` or `buildkit: tcp://HOST:1234` in kdev.yaml"}
}

// refused is the problem of an API server that did not take what is needed.
func (s *Server) refused(ctx context.Context, kc *kube.Client, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case problem.As(err) != nil:
		return err
	case errors.Is(err, errForeign):
		return foreign(kc)
	case apierrors.IsForbidden(err):
		return &problem.Problem{Code: "buildkit-forbidden", Where: "context " + kc.Context, Summary: "BuildKit may not be started in this cluster", Err: err,
			Hint: "it takes the right to make a namespace, " + Namespace + ", and a Deployment in it; `buildkit: tcp://HOST:1234` in kdev.yaml names a BuildKit elsewhere"}
	case apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return fmt.Errorf("start BuildKit in namespace %s: %w", Namespace, err)
	}
	return kc.Unreachable(err)
}
