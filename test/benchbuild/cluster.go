package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kdev-io/kdev/internal/registry"
)

func (p *project) deployment(ctx context.Context, name string) (*appsv1.Deployment, error) {
	return p.kube.Core.AppsV1().Deployments(p.name).Get(ctx, name, metav1.GetOptions{})
}

// image is the reference that a service runs.
func (p *project) image(ctx context.Context, service string) (string, error) {
	d, err := p.deployment(ctx, service)
	if err != nil {
		return "", err
	}
	return d.Spec.Template.Spec.Containers[0].Image, nil
}

// layers are the layers of an image of the store, with their sizes.
func (p *project) layers(ref string) (map[string]int64, error) {
	name, digest, _ := strings.Cut(ref, "@")
	_, name, _ = strings.Cut(name, "/")
	repository, _, _ := strings.Cut(name, ":")
	im, err := p.store.Image(repository, digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	m, err := im.Manifest()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	all := map[string]int64{}
	for _, l := range m.Layers {
		all[l.Digest.String()] = l.Size
	}
	return all, nil
}

// newLayers are those that an image has and one before it has not.
func (p *project) newLayers(before, after string) (n int, size int64, err error) {
	had, err := p.layers(before)
	if err != nil {
		return 0, 0, err
	}
	has, err := p.layers(after)
	for digest, bytes := range has {
		if _, ok := had[digest]; !ok {
			n, size = n+1, size+bytes
		}
	}
	return n, size, err
}

// settled waits until each workload has its newest pods and no other: two rollouts at
// once would measure each other.
func (p *project) settled(ctx context.Context) error {
	for {
		pods, err := p.kube.Core.CoreV1().Pods(p.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		all, err := p.kube.Core.AppsV1().Deployments(p.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		still := len(pods.Items) == len(all.Items)
		for _, d := range all.Items {
			still = still && d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == 1 && d.Status.UpdatedReplicas == 1
		}
		if still {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// A floor is workloads of kdev's images that kdev does not know: what one request to
// the API server costs until the new process runs.
type floor struct {
	*project
	refs []string // that the nodes have
	runs int
}

// floor makes a copy of each service's workload, with other names.
func (p *project) floor(ctx context.Context, refs ...string) (*floor, error) {
	for _, svc := range p.services {
		d, err := p.deployment(ctx, svc)
		if err != nil {
			return nil, err
		}
		labels := map[string]string{"app": "floor-" + svc}
		d.ObjectMeta = metav1.ObjectMeta{Name: "floor-" + svc, Namespace: p.name, Labels: labels}
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		d.Spec.Template.Labels = labels
		d.Status = appsv1.DeploymentStatus{}
		if _, err := p.kube.Core.AppsV1().Deployments(p.name).Create(ctx, d, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	return &floor{project: p, refs: refs}, p.settled(ctx)
}

// rollout makes new pods for some services, and waits for the last process.
func (f *floor) rollout(ctx context.Context, services ...string) (time.Duration, error) {
	f.runs++
	type change struct {
		name, patch string
	}
	var changes []change
	var marks []string
	for _, svc := range services {
		d, err := f.deployment(ctx, "floor-"+svc)
		if err != nil {
			return 0, err
		}
		c := d.Spec.Template.Spec.Containers[0]
		ref := c.Image
		if len(f.refs) > 0 {
			ref = f.refs[f.runs%len(f.refs)]
		}
		mark := f.mark("floor-" + svc)
		marks = append(marks, "KDEV_BENCH_RUN="+mark)
		changes = append(changes, change{d.Name, fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q,"env":[{"name":"KDEV_BENCH_RUN","value":%q}]}]}}}}`, c.Name, ref, mark)})
	}
	start := time.Now()
	for _, c := range changes {
		if _, err := f.kube.Core.AppsV1().Deployments(f.name).Patch(ctx, c.name, types.StrategicMergePatchType, []byte(c.patch), metav1.PatchOptions{}); err != nil {
			return 0, err
		}
	}
	if err := running(ctx, marks...); err != nil {
		return 0, err
	}
	took := time.Since(start)
	return took, f.settled(ctx)
}

// remove takes the copies away.
func (f *floor) remove(ctx context.Context) error {
	for _, svc := range f.services {
		if err := f.kube.Core.AppsV1().Deployments(f.name).Delete(ctx, "floor-"+svc, metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return f.settled(ctx)
}

// sent is how many bytes the registry's container has sent so far.
func (b *bench) sent(ctx context.Context) (int64, error) {
	ep, err := registry.Ensure(ctx, b.docker, b.store, nil)
	if err != nil {
		return 0, err
	}
	r, err := b.docker.ContainerStats(ctx, ep.Container, client.ContainerStatsOptions{})
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
