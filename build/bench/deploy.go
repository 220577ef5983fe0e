package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (b *bench) deploy(ctx context.Context, s *service, ref string) error {
	labels := map[string]string{"app": s.name}
	one, none := int32(1), int64(0)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: s.name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &none,
					Containers:                    []corev1.Container{{Name: s.name, Image: ref}},
				},
			},
		},
	}
	_, err := b.kube.Core.AppsV1().Deployments("default").Create(ctx, d, metav1.CreateOptions{})
	return err
}

// patch sets the image, and a variable that makes a new pod of the same image.
func (b *bench) patch(ctx context.Context, s *service, ref, run string) error {
	patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q,"env":[{"name":"KDEV_BENCH_RUN","value":%q}]}]}}}}`, s.name, ref, run)
	_, err := b.kube.Core.AppsV1().Deployments("default").Patch(ctx, s.name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// settled waits until the pod before is gone: two rollouts at once would
// measure each other.
func (b *bench) settled(ctx context.Context, s *service) error {
	for {
		pods, err := b.kube.Core.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=" + s.name})
		if err != nil {
			return err
		}
		d, err := b.kube.Core.AppsV1().Deployments("default").Get(ctx, s.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(pods.Items) == 1 && d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == 1 && d.Status.UpdatedReplicas == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sent is how many bytes the registry's container has sent so far.
func (b *bench) sent(ctx context.Context) (int64, error) {
	r, err := b.docker.ContainerStats(ctx, b.ep.Container, client.ContainerStatsOptions{})
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	var stats container.StatsResponse
	if err := json.NewDecoder(r.Body).Decode(&stats); err != nil {
		return 0, err
	}
	total := int64(0)
	for _, n := range stats.Networks {
		total += int64(n.TxBytes)
	}
	return total, nil
}
