package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

// waitReady waits until as many nodes are Ready as there should be and pods can
// be made. kind's own wait returns without an error when its time is up, and
// Ready nodes still refuse pods until the default service account is there.
func waitReady(ctx context.Context, client *kube.Client, nodes int, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errNotReady)
	defer cancel()
	// A new API server drops connections and answers 403 and 503 before it is
	// done, so watches would end as often as requests fail.
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		missing, err := notReady(ctx, client, nodes)
		if err == nil && missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) != errNotReady {
				return context.Cause(ctx)
			}
			if missing == "" {
				return fmt.Errorf("%w within %s: %w", errNotReady, limit, err)
			}
			return fmt.Errorf("%w within %s: %s", errNotReady, limit, missing)
		case <-ticker.C:
		}
	}
}

type notReadyError struct{}

func (notReadyError) Error() string { return "not ready" }

var errNotReady error = notReadyError{}

// notReady says what is still missing, "" when nothing is.
func notReady(ctx context.Context, client *kube.Client, want int) (string, error) {
	list, err := client.Core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	if len(list.Items) < want {
		return fmt.Sprintf("%d of %d nodes have joined", len(list.Items), want), nil
	}
	for _, n := range list.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				return fmt.Sprintf("node %s: %s", n.Name, strings.TrimSpace(c.Message)), nil
			}
		}
		if len(n.Status.Conditions) == 0 {
			return fmt.Sprintf("node %s has not reported", n.Name), nil
		}
	}
	_, err = client.Core.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "no default service account", nil
	}
	return "", err
}

func hasStorage(ctx context.Context, client *kube.Client) (bool, error) {
	list, err := client.Core.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	return len(list.Items) > 0, nil
}

// broken is the problem of a cluster that was whole and does not come to Ready.
// It may hold data, so deleting it is left to the person.
func (m *manager) broken(ctx context.Context, c *Cluster, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p := &problem.Problem{Class: problem.Timeout, Code: "cluster-broken", Where: "context " + c.Context,
		Summary: fmt.Sprintf("cluster %q runs, but does not become ready", c.Name), Err: err,
		Hint: "kdev cluster delete " + c.Name + " and kdev up make it anew, without its data"}
	if len(c.Nodes) > 0 && m.engine != nil {
		out, err := m.engine.exec(ctx, c.Nodes[0], "journalctl", "--no-pager", "-n", "15", "-u", "kubelet.service", "-o", "cat")
		if err == nil {
			p.Output = lastLines(string(out), 15)
		}
	}
	return p
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
