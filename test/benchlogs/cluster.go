package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kdev-io/kdev/internal/cluster"
	"github.com/kdev-io/kdev/internal/cluster/clustertest"
	"github.com/kdev-io/kdev/internal/kube"
)

// A world is the cluster that is measured on.
type world struct {
	b         *bench
	client    *kube.Client
	config    string // kubeconfig
	namespace string
	dir       string
}

// onCluster measures what only a real kubelet can show.
func (b *bench) onCluster(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "benchlogs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	opts := cluster.Options{Name: b.cluster, Context: "kind-" + b.cluster, Kubeconfig: filepath.Join(dir, "kubeconfig"),
		Progress: func(s string) { fmt.Fprintln(os.Stderr, s) }}
	c, err := cluster.Ensure(ctx, opts)
	if err != nil {
		return err
	}
	if !b.keep {
		defer func() {
			_, gone := cluster.Delete(context.WithoutCancel(ctx), opts)
			err = errors.Join(err, gone)
		}()
	}
	if err := clustertest.Load(ctx, c); err != nil {
		return err
	}
	config, err := current(c, dir)
	if err != nil {
		return err
	}
	client, err := kube.New(config, c.Context)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, part := range []struct {
		name    string
		measure func(*world, context.Context) error
	}{{"file", (*world).file}, {"latency", (*world).latency}, {"first", (*world).first}, {"open", (*world).open}} {
		if !b.wants(part.name) {
			continue
		}
		if err := b.inNamespace(ctx, &world{b: b, client: client, config: config, dir: dir}, part.measure); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// current writes a kubeconfig whose current context is the cluster's, for every tool that
// is measured: the one that made the cluster has none.
func current(made *cluster.Cluster, dir string) (file string, err error) {
	c, err := clientcmd.LoadFromFile(made.Kubeconfig)
	if err != nil {
		return "", err
	}
	c.CurrentContext = made.Context
	file = filepath.Join(dir, "current")
	return file, clientcmd.WriteToFile(*c, file)
}

func (b *bench) inNamespace(ctx context.Context, w *world, measure func(*world, context.Context) error) (err error) {
	ns, err := w.client.Core.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	w.namespace = ns.Name
	defer func() {
		now := int64(0)
		err = errors.Join(err, w.client.Core.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), ns.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	}()
	return measure(w, ctx)
}

// pod makes a pod whose containers all run the same script.
func (w *world) pod(ctx context.Context, name, script string, containers int) error {
	now, off := int64(0), false
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &now, EnableServiceLinks: &off, AutomountServiceAccountToken: &off}}
	for i := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: clustertest.Image,
			ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"sh", "-c", script}})
	}
	_, err := w.client.Core.CoreV1().Pods(w.namespace).Create(ctx, pod, metav1.CreateOptions{})
	return err
}

// await waits until ok is true of the pods.
func (w *world) await(ctx context.Context, ok func([]corev1.Pod) bool) error {
	for {
		list, err := w.client.Core.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if ok(list.Items) {
			return nil
		}
		changes, err := w.client.Core.CoreV1().Pods(w.namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			return err
		}
		select {
		case <-changes.ResultChan():
		case <-ctx.Done():
		}
		changes.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func allRun(n int) func([]corev1.Pod) bool {
	return func(pods []corev1.Pod) bool {
		run := 0
		for _, p := range pods {
			for _, cs := range p.Status.ContainerStatuses {
				if cs.State.Running == nil {
					return false
				}
			}
			if len(p.Status.ContainerStatuses) == len(p.Spec.Containers) {
				run++
			}
		}
		return run == n
	}
}

// A follower is a `kdev logs` that runs beside.
type follower struct {
	*arrivals
	cmd *exec.Cmd
	err strings.Builder
}

// follow starts the command; its lines are time-stamped as they come.
func (w *world) follow(ctx context.Context, args ...string) (*follower, error) {
	f := &follower{arrivals: &arrivals{changed: make(chan struct{}, 1)}}
	f.cmd = exec.CommandContext(ctx, w.b.kdev, append([]string{"logs", "--kubeconfig", w.config, "-n", w.namespace, "--color=never", "--timezone=UTC"}, args...)...)
	f.cmd.Stdout, f.cmd.Stderr, f.cmd.Dir = f.arrivals, &f.err, w.dir
	return f, f.cmd.Start()
}

// stop ends it as Ctrl-C does.
func (f *follower) stop() {
	_ = f.cmd.Process.Signal(os.Interrupt)
	_ = f.cmd.Wait()
}
