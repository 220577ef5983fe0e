package deploy

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestKindHint(t *testing.T) {
	kinds := []schema.GroupVersionKind{
		{Version: "v1", Kind: "Pod"}, {Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "apps", Version: "v1", Kind: "DaemonSet"},
		{Group: "autoscaling", Version: "v1", Kind: "HorizontalPodAutoscaler"}, {Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"},
	}
	for _, c := range []struct{ apiVersion, kind, want string }{
		{"apps/v1", "Deploymint", "did you mean Deployment?"},
		{"apps/v1", "daemonset", "did you mean DaemonSet?"},
		{"extensions/v1beta1", "Deployment", "the cluster has Deployment in apps/v1:"},
		{"apps/v1", "Pod", "the cluster has Pod in v1:"},
		{"autoscaling/v2beta2", "HorizontalPodAutoscaler", "the cluster has HorizontalPodAutoscaler in autoscaling/v"},
		{"example.com/v1", "Gizmo", "install its CustomResourceDefinition"},
		{"example.com/v1", "Pods", "install its CustomResourceDefinition"}, // another group's names say nothing
	} {
		if got := kindHint(schema.FromAPIVersionAndKind(c.apiVersion, c.kind), kinds); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s of %s: %q", c.kind, c.apiVersion, got)
		}
	}
}

// A Service whose pods are those of a kind with a mistake in its name has one fault, not two.
func TestAKindThatNoClusterHasMayMake(t *testing.T) {
	object := func(apiVersion, kind string) *Object {
		return &Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "rng"},
			"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "rng"}}}}}}}
	}
	for kind, want := range map[string]bool{"Deployment": false, "Deploymint": true} {
		if got := makersOf([]*Object{object("apps/v1", kind)}).custom("rng"); got != want {
			t.Errorf("%s may make rng's pods: %v", kind, got)
		}
	}
}
