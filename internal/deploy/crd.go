package deploy

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/kdev-io/kdev/internal/problem"
)

// established waits until new CRDs are served.
func (d *Deployer) established(ctx context.Context, objects []*Object) error {
	served := false
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		served = true
		if err := d.awaitCRD(ctx, o); err != nil {
			return err
		}
	}
	if served {
		d.client.Mapper.Reset()
	}
	return nil
}

func (d *Deployer) awaitCRD(ctx context.Context, o *Object) error {
	ctx, cancel := context.WithTimeout(ctx, establishing)
	defer cancel()
	client := d.client.Dynamic.Resource(crds)
	list, err := client.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + o.GetName()})
	if err != nil {
		return d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	for i := range list.Items {
		if isEstablished(&list.Items[i]) {
			return nil
		}
	}
	w, err := client.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + o.GetName(), ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		return d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	_, err = watchtools.UntilWithoutRetry(ctx, w, func(e watch.Event) (bool, error) {
		u, ok := e.Object.(*unstructured.Unstructured)
		return ok && isEstablished(u), nil
	})
	if err != nil {
		return &problem.Problem{Class: problem.Rollout, Code: "crd-not-established", Where: at(RefOf(o).String(), o.Origin), Summary: "the cluster does not serve it", Err: err,
			Hint: "`kubectl describe crd " + o.GetName() + "` says why"}
	}
	return nil
}

func isEstablished(u *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		m, _ := c.(map[string]any)
		return m["type"] == "Established" && m["status"] == "True"
	})
}
