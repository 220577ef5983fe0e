package deploy

import (
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Live reads which reference each service's workloads run now, for the image
// of record. A service that nothing runs, or that several workloads run in
// different versions, is not in the result.
func (d *Deployer) Live(ctx context.Context, objects []*Object, images []Image) (map[string]string, error) {
	byRef := map[Ref]*Object{}
	for _, o := range objects {
		byRef[RefOf(o)] = o
	}
	found := map[string]string{}
	mixed := map[string]bool{}
	for service, uses := range Inject(Copy(objects), withoutRefs(images)).Uses {
		for _, use := range uses {
			o := byRef[use.Object]
			if use.Container == "" || o == nil {
				continue
			}
			ref, err := d.liveImage(ctx, o, use.Container)
			if err != nil {
				return nil, err
			}
			if old, ok := found[service]; ok && old != ref {
				mixed[service] = true
			}
			found[service] = ref
		}
	}
	for service, ref := range found {
		if mixed[service] || ref == "" {
			delete(found, service)
		}
	}
	return found, nil
}

// Deployed are the live objects of the set, sorted: for when the manifests cannot
// say what there is.
func (d *Deployer) Deployed(ctx context.Context) ([]*Object, error) {
	d = d.beside()
	cm, err := d.parent(ctx)
	if err != nil || cm == nil {
		return nil, err
	}
	all, err := d.members(ctx, parseMembers(cm.Annotations))
	if err != nil {
		return nil, err
	}
	objects := make([]*Object, len(all))
	for i, m := range all {
		objects[i] = &Object{Unstructured: m.Unstructured}
	}
	slices.SortFunc(objects, func(a, b *Object) int { return strings.Compare(RefOf(a).String(), RefOf(b).String()) })
	return objects, nil
}

func withoutRefs(images []Image) []Image {
	out := make([]Image, len(images))
	for i, im := range images {
		im.Ref = ""
		out[i] = im
	}
	return out
}

// liveImage reads the image of one container of a live workload.
func (d *Deployer) liveImage(ctx context.Context, o *Object, container string) (string, error) {
	gvk := o.GroupVersionKind()
	mapping, err := d.client.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return "", nil
	}
	if err != nil {
		return "", d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	ns := orElse(o.GetNamespace(), d.options.Namespace)
	live, err := d.client.Dynamic.Resource(mapping.Resource).Namespace(ns).Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", d.apiProblem(err, RefOf(o).String(), o.Origin)
	}
	ref := ""
	eachContainer(&Object{Unstructured: &unstructured.Unstructured{Object: live.Object}}, func(c map[string]any, _ string) {
		if c["name"] == container {
			ref, _ = c["image"].(string)
		}
	})
	return ref, nil
}
