package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/moby/moby/client"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kdev-io/kdev/build/upstream"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
	"github.com/kdev-io/kdev/internal/registry"
)

// besidePatience is how long an ephemeral container may take to start.
const besidePatience = time.Minute

// besideLife is how long it waits for commands: an ephemeral container cannot be
// removed from its pod, but it can end.
const besideLife = "86400"

// beside is an ephemeral container beside a pod's own, for images without a shell.
type beside struct {
	kc                     *kube.Client
	namespace, pod, target string
	image                  string
}

// container returns the name of one that runs, which it makes where there is none.
func (b *beside) container(ctx context.Context, env Env) (string, error) {
	pods := b.kc.Core.CoreV1().Pods(b.namespace)
	pod, err := pods.Get(ctx, b.pod, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("look at pod %s: %w", b.pod, err)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		if c.TargetContainerName == b.target && c.Image == b.image && running(pod, c.Name) {
			return c.Name, nil
		}
	}
	fmt.Fprintf(env.Err, "%s has no shell: starting %s beside it; its files are below /proc/1/root\n", b.target, b.image)
	b.provide(ctx)
	c := b.spec(pod)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{c}}})
	if err != nil {
		return "", err
	}
	if _, err := pods.Patch(ctx, b.pod, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kdev-exec"}, "ephemeralcontainers"); err != nil {
		return "", fmt.Errorf("start a container beside %s: %w", b.target, err)
	}
	return c.Name, b.await(ctx, c.Name)
}

// spec is the container: the target's user and privileges, in sight of its
// processes.
func (b *beside) spec(pod *corev1.Pod) corev1.EphemeralContainer {
	c := corev1.EphemeralContainer{TargetContainerName: b.target}
	c.Name = fmt.Sprintf("kdev-shell-%d", len(pod.Spec.EphemeralContainers)+1)
	c.Image, c.ImagePullPolicy = b.image, corev1.PullIfNotPresent
	c.Command = []string{"sleep", besideLife}
	for i := range pod.Spec.Containers {
		if t := &pod.Spec.Containers[i]; t.Name == b.target {
			c.SecurityContext = t.SecurityContext.DeepCopy()
		}
	}
	if c.SecurityContext == nil {
		c.SecurityContext = &corev1.SecurityContext{}
	}
	// The user that an image names is in no spec, but in the status: the kubelet
	// reports it since Kubernetes 1.31 (KEP-3619).
	for _, st := range pod.Status.ContainerStatuses {
		if st.Name == b.target && st.User != nil && st.User.Linux != nil {
			c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup = &st.User.Linux.UID, &st.User.Linux.GID
		}
	}
	c.SecurityContext.ReadOnlyRootFilesystem = nil
	return c
}

// provide hands the image to the cluster where this machine's engine holds it.
// Where that cannot be done, the nodes pull it themselves, or the pod says why not.
func (b *beside) provide(ctx context.Context) {
	docker, err := client.New(client.FromEnv)
	if err != nil {
		return
	}
	defer docker.Close()
	store, err := openStore()
	if err != nil {
		return
	}
	endpoint, err := registry.Ensure(ctx, docker, store, func(string) {})
	if err != nil {
		return
	}
	_ = upstream.New(docker, store, endpoint).Provide(ctx, []string{b.image}, func(string) {})
}

// await returns when the container runs, or says why it does not.
func (b *beside) await(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, besidePatience)
	defer cancel()
	pods := b.kc.Core.CoreV1().Pods(b.namespace)
	events, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", b.pod).String()})
	if err != nil {
		return fmt.Errorf("wait for container %s: %w", name, err)
	}
	defer events.Stop()
	why := "the kubelet has not started it"
	for {
		var e watch.Event
		var more bool
		select {
		case e, more = <-events.ResultChan():
		case <-ctx.Done():
		}
		pod, is := e.Object.(*corev1.Pod)
		if !more || !is || e.Type == watch.Deleted {
			return b.failed(name, why)
		}
		if running(pod, name) {
			return nil
		}
		for _, st := range pod.Status.EphemeralContainerStatuses {
			switch {
			case st.Name != name:
			case st.State.Terminated != nil:
				return b.failed(name, fmt.Sprintf("it ended with code %d: %s", st.State.Terminated.ExitCode, st.State.Terminated.Message))
			case st.State.Waiting != nil && st.State.Waiting.Message != "":
				why = st.State.Waiting.Reason + ": " + st.State.Waiting.Message
				if st.State.Waiting.Reason == "ImagePullBackOff" || st.State.Waiting.Reason == "InvalidImageName" {
					return b.failed(name, why)
				}
			}
		}
	}
}

func (b *beside) failed(name, why string) error {
	return &problem.Problem{Code: "shell-failed", Where: b.pod + "/" + name, Summary: "the container for a shell does not run: " + why,
		Hint: "name an image with a shell that the cluster can pull: `--image NAME`"}
}

func running(pod *corev1.Pod, name string) bool {
	for _, st := range pod.Status.EphemeralContainerStatuses {
		if st.Name == name {
			return st.State.Running != nil
		}
	}
	return false
}
