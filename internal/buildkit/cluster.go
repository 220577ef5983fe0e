package buildkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

const (
	// Namespace holds all that kdev starts in a cluster to build with, and nothing else.
	Namespace = "kdev-buildkit"

	workload  = "kdev-buildkit" // name of the Deployment; with settings of its own a hash follows
	daemon    = "buildkitd"     // name of the container
	nameLabel = "app.kubernetes.io/name"
	byLabel   = "app.kubernetes.io/managed-by"
	by        = "kdev"
	specMark  = "kdev.dev/spec" // annotation: hash of what the Deployment was made from

	configMount = "/etc/kdev-buildkit"
	configName  = "buildkitd.toml"
)

// readyLimit is how long the image may take to be pulled and the daemon to start.
const readyLimit = 4 * time.Minute

// lookEvery is the time between looks at a pod that is not ready.
const lookEvery = 300 * time.Millisecond

// image is the one that is started.
func (o Options) image() string {
	if o.Image != "" {
		return o.Image
	}
	image := "docker.io/moby/buildkit:" + version
	if o.Rootless {
		image += "-rootless"
	}
	return image
}

// version is that of the client which is linked in, as go.mod has it.
const version = "v0.33.0"

// start makes sure that BuildKit runs in the cluster, and returns the pod that it
// runs in. It starts one at most, whoever else asks at the same time.
//
// Problems: buildkit-foreign, buildkit-forbidden, buildkit-image, buildkit-not-ready.
func (s *Server) start(ctx context.Context, kc *kube.Client) (pod string, err error) {
	// Builds side by side wait for one start, which is told once.
	select {
	case s.one <- struct{}{}:
		defer func() { <-s.one }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	d, err := s.apply(limited, kc)
	if err != nil {
		return "", s.refused(ctx, kc, err)
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	told := ""
	for {
		pod, state, err := s.look(limited, kc, d.Name)
		if pod != "" {
			if told != "" {
				s.o.Progress("BuildKit in the cluster is ready")
			}
			return pod, nil
		}
		if problem.As(err) != nil {
			return "", err
		}
		if err != nil && limited.Err() == nil {
			state = "the API server does not answer: " + err.Error()
		}
		if state != "" && state != told {
			told = state
			s.o.Progress("waiting for BuildKit in the cluster: " + state)
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			if told != "" {
				err = errors.New(told)
			}
			return "", &problem.Problem{Class: problem.Timeout, Code: "buildkit-not-ready", Where: "Deployment/" + d.Name + " in namespace " + Namespace, Err: err,
				Summary: "BuildKit in the cluster is not ready after " + s.limit.String(),
				Hint:    "`kubectl -n " + Namespace + " describe pods` says what it waits for; `kdev buildkit rm` removes it"}
		case <-ticker.C:
		}
	}
}

// errForeign says that somebody else has made the namespace.
var errForeign = errors.New("it has no label " + byLabel + ": " + by)

// apply makes what is missing. The Deployment of the default settings follows the
// kdev that was used last; other settings have one of their own, so that two
// projects do not end each other's builds.
func (s *Server) apply(ctx context.Context, kc *kube.Client) (*appsv1.Deployment, error) {
	wanted, config, err := s.objects()
	if err != nil {
		return nil, err
	}
	deployments := kc.Core.AppsV1().Deployments(Namespace)
	d, err := deployments.Get(ctx, wanted.Name, metav1.GetOptions{})
	if err == nil && d.Labels[byLabel] != by {
		return nil, errForeign
	}
	if err == nil && d.Annotations[specMark] == wanted.Annotations[specMark] {
		return d, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	s.o.Progress("starting BuildKit in the cluster: " + s.o.image())
	if err := ownNamespace(ctx, kc); err != nil {
		return nil, err
	}
	if config != nil {
		if _, err := kc.Core.CoreV1().ConfigMaps(Namespace).Create(ctx, config, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
	}
	if d != nil && d.Name != "" {
		wanted.ResourceVersion = d.ResourceVersion
		updated, err := deployments.Update(ctx, wanted, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			return deployments.Get(ctx, wanted.Name, metav1.GetOptions{}) // another kdev did it
		}
		return updated, err
	}
	d, err = deployments.Create(ctx, wanted, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return deployments.Get(ctx, wanted.Name, metav1.GetOptions{})
	}
	return d, err
}

// ownNamespace makes the namespace, or checks that it is kdev's.
func ownNamespace(ctx context.Context, kc *kube.Client) error {
	wanted := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace, Labels: map[string]string{
		byLabel: by,
		// Where it may be said, pods that build may do what building takes.
		"pod-security.kubernetes.io/enforce": "privileged",
	}}}
	_, err := kc.Core.CoreV1().Namespaces().Create(ctx, wanted, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	there, err := kc.Core.CoreV1().Namespaces().Get(ctx, Namespace, metav1.GetOptions{})
	if err == nil && there.Labels[byLabel] != by {
		return errForeign
	}
	return err
}

// objects are what runs BuildKit, with upstream's own settings for either kind.
func (s *Server) objects() (*appsv1.Deployment, *corev1.ConfigMap, error) {
	var config []byte
	if s.o.Config != "" {
		var err error
		if config, err = os.ReadFile(s.o.Config); err != nil {
			return nil, nil, &problem.Problem{Class: problem.Usage, Code: "buildkit-config", Summary: "the configuration of BuildKit cannot be read", Err: err, Hint: "write the file, or take buildkit.config out of kdev.yaml"}
		}
	}
	name := workload
	if s.o.Image != "" || s.o.Rootless || config != nil {
		name += "-" + hash(s.o.image(), fmt.Sprint(s.o.Rootless), string(config))
	}
	c := corev1.Container{
		Name: daemon, Image: s.o.image(),
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"buildctl", "debug", "workers"}}},
			PeriodSeconds: 2, TimeoutSeconds: 5,
		},
	}
	cache := "/var/lib/buildkit"
	yes, user := true, int64(1000)
	c.SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	if s.o.Rootless {
		cache = "/home/user/.local/share/buildkit"
		// A pod that may not mount its own /proc needs the flag.
		c.Args = append(c.Args, "--oci-worker-no-process-sandbox")
		c.SecurityContext = &corev1.SecurityContext{
			RunAsUser: &user, RunAsGroup: &user,
			SeccompProfile:  &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
			AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
		}
	}
	pod := corev1.PodSpec{
		NodeSelector: map[string]string{"kubernetes.io/os": "linux"},
		Volumes:      []corev1.Volume{{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
	no := false
	pod.AutomountServiceAccountToken = &no
	c.VolumeMounts = []corev1.VolumeMount{{Name: "cache", MountPath: cache}}
	labels := map[string]string{nameLabel: name, byLabel: by}
	var file *corev1.ConfigMap
	if config != nil {
		file = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace, Labels: labels}, Data: map[string]string{configName: string(config)}}
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "config", MountPath: configMount, ReadOnly: true})
		c.Args = append(c.Args, "--config", configMount+"/"+configName)
	}
	pod.Containers = []corev1.Container{c}
	one := int32(1)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one,
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{nameLabel: name}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}
	raw, err := json.Marshal(d.Spec)
	if err != nil {
		return nil, nil, err
	}
	d.Annotations = map[string]string{specMark: hash(string(raw))}
	return d, file, nil
}

func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:5])
}

// Remove removes all that kdev has started in the cluster to build with, and waits
// until it is gone; found says whether there was something.
func Remove(ctx context.Context, kc *kube.Client) (found bool, err error) {
	namespaces := kc.Core.CoreV1().Namespaces()
	ns, err := namespaces.Get(ctx, Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, kc.Unreachable(err)
	}
	if ns.Labels[byLabel] != by {
		return false, foreign(kc)
	}
	err = namespaces.Delete(ctx, Namespace, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &ns.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return true, fmt.Errorf("remove namespace %s: %w", Namespace, err)
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if _, err := namespaces.Get(ctx, Namespace, metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-ticker.C:
		}
	}
}
