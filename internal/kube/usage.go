package kube

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Usage is what a container takes now.
type Usage struct {
	CPU    int64 // thousandths of a core, rounded up
	Memory int64 // bytes of its working set, which is what counts against its limit
}

// A UsageKey names a container of a namespace.
type UsageKey struct{ Pod, Container string }

// Usage reads what the containers of a namespace take: from the metrics API where
// the cluster has one, else from the kubelets of the nodes, which a local cluster's
// user may ask. Figures are those of the last ten to sixty seconds.
func (c *Client) Usage(ctx context.Context, namespace string, nodes []string) (map[UsageKey]Usage, error) {
	b, err := c.Core.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces", namespace, "pods").DoRaw(ctx)
	if err == nil {
		return usageOfMetrics(b)
	}
	if !apierrors.IsNotFound(err) && !apierrors.IsServiceUnavailable(err) && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("read the metrics of %s: %w", namespace, err)
	}
	all := map[UsageKey]Usage{}
	for _, node := range nodes {
		b, err := c.Core.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").
			Suffix("stats/summary").Param("only_cpu_and_memory", "true").DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the usage of node %s: %w", node, err)
		}
		if err := usageOfKubelet(b, namespace, all); err != nil {
			return nil, fmt.Errorf("read the usage of node %s: %w", node, err)
		}
	}
	return all, nil
}

// usageOfMetrics reads a PodMetricsList (metrics.k8s.io/v1beta1).
func usageOfMetrics(b []byte) (map[UsageKey]Usage, error) {
	var list struct {
		Items []struct {
			Metadata   struct{ Name string }
			Containers []struct {
				Name  string
				Usage struct{ CPU, Memory resource.Quantity }
			}
		}
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	all := map[UsageKey]Usage{}
	for _, pod := range list.Items {
		for _, ct := range pod.Containers {
			all[UsageKey{pod.Metadata.Name, ct.Name}] = Usage{CPU: ct.Usage.CPU.MilliValue(), Memory: ct.Usage.Memory.Value()}
		}
	}
	return all, nil
}

// usageOfKubelet reads a Summary (k8s.io/kubelet/pkg/apis/stats/v1alpha1), of
// which all pods of the node are a part.
func usageOfKubelet(b []byte, namespace string, all map[UsageKey]Usage) error {
	var summary struct {
		Pods []struct {
			PodRef     struct{ Name, Namespace string }
			Containers []struct {
				Name   string
				CPU    struct{ UsageNanoCores int64 }
				Memory struct{ WorkingSetBytes int64 }
			}
		}
	}
	if err := json.Unmarshal(b, &summary); err != nil {
		return err
	}
	for _, pod := range summary.Pods {
		if pod.PodRef.Namespace != namespace {
			continue
		}
		for _, ct := range pod.Containers {
			all[UsageKey{pod.PodRef.Name, ct.Name}] = Usage{CPU: (ct.CPU.UsageNanoCores + 999_999) / 1_000_000, Memory: ct.Memory.WorkingSetBytes}
		}
	}
	return nil
}
