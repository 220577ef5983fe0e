package cli

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"github.com/kdev-io/kdev/internal/config"
	"github.com/kdev-io/kdev/internal/deploy"
	"github.com/kdev-io/kdev/internal/kube"
	"github.com/kdev-io/kdev/internal/problem"
)

type staticMapper struct{ *meta.DefaultRESTMapper }

func (staticMapper) Reset() {}

// A rollback of one service keeps what runs of another one in the same pods, and leaves
// alone what does its work once.
func TestRollbackKeepsTheImagesOfOthers(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	pods := func(images ...string) map[string]any {
		var containers []any
		for i, image := range images {
			containers = append(containers, map[string]any{"name": []string{"api", "worker"}[i], "image": image})
		}
		return map[string]any{"template": map[string]any{"spec": map[string]any{"containers": containers}}}
	}
	object := func(kind string, spec map[string]any) *deploy.Object {
		return &deploy.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": kind,
			"metadata": map[string]any{"name": "api", "namespace": "shop"}, "spec": spec}}}
	}
	const runs, back = "registry:5000/shop/worker:1@sha256:a", "registry:5000/shop/api:1@sha256:b"
	p := &config.Project{Services: []config.Service{{Name: "api", Build: &config.Build{}}, {Name: "worker", Build: &config.Build{}}}}
	for _, tc := range []struct{ name, live, want, code string }{
		{"one that runs", runs, runs, ""},
		{"nothing runs yet", "", "", "rollback-unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			gvr := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
			mapper := staticMapper{meta.NewDefaultRESTMapper(nil)}
			mapper.AddSpecific(gvr.GroupVersion().WithKind("Deployment"), gvr, gvr, meta.RESTScopeNamespace)
			var live []runtime.Object
			if tc.live != "" {
				live = append(live, object("Deployment", pods("registry:5000/shop/api:1@sha256:new", tc.live)).Unstructured)
			}
			client := &kube.Client{Mapper: mapper, Dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
				map[schema.GroupVersionResource]string{gvr: "DeploymentList"}, live...)}
			r := &release{p: p, deployer: deploy.New(client, deploy.Options{Project: "shop", Namespace: "shop"})}
			defer r.deployer.Close()
			now := object("Deployment", pods(back, "worker"))
			err := (&rollbackOptions{}).keepOthers(t.Context(), r, []*deploy.Object{now}, "api")
			if code := ""; err != nil || tc.code != "" {
				if p := problem.As(err); p != nil {
					code = p.Code
				}
				if code != tc.code {
					t.Fatalf("%v", err)
				}
				return
			}
			containers, _, _ := unstructured.NestedSlice(now.Object, "spec", "template", "spec", "containers")
			if a, b := containers[0].(map[string]any)["image"], containers[1].(map[string]any)["image"]; a != back || b != tc.want {
				t.Errorf("api runs %v, worker %v", a, b)
			}
		})
	}
	hook := object("Pod", nil)
	hook.Hook = &deploy.Hook{}
	if !hasItsTime(object("Job", nil)) || !hasItsTime(hook) || hasItsTime(object("Deployment", nil)) {
		t.Error("what does its work once is not told from what runs")
	}
}
