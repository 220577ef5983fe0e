package pods

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// An Owner is one controller in the chain above a pod.
type Owner struct {
	schema.GroupKind
	Name   string
	UID    types.UID
	Labels map[string]string // nil where it could not be read
}

// Owners finds the chains of controllers above pods. It asks the API once for each
// controller and keeps the answer: who controls an object does not change while the
// object lives. It is safe for concurrent use.
type Owners struct {
	client dynamic.Interface
	mapper meta.RESTMapper

	mu    sync.Mutex
	known map[types.UID]*node
	err   error // why the last one could not be read
}

// A node is a controller and the one above it.
type node struct {
	owner Owner
	above *metav1.OwnerReference
}

// NewOwners makes a finder.
func NewOwners(client dynamic.Interface, mapper meta.RESTMapper) *Owners {
	return &Owners{client: client, mapper: mapper, known: map[types.UID]*node{}}
}

// Chain returns the controllers of a pod, the nearest first. Where one may not be
// read, the chain ends with it; but a replica set's name is its deployment's with the
// hash of the template behind, which the pod carries too, and a cron job names its
// jobs after itself and the minute, counted from 1970, that they stand for.
func (o *Owners) Chain(ctx context.Context, pod *corev1.Pod) []Owner {
	chain := o.chain(ctx, pod.Namespace, metav1.GetControllerOfNoCopy(pod))
	if len(chain) != 1 || chain[0].Labels != nil {
		return chain
	}
	switch hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; {
	case chain[0].Kind == "ReplicaSet" && hash != "":
		if name, ok := strings.CutSuffix(chain[0].Name, "-"+hash); ok {
			chain = append(chain, Owner{GroupKind: schema.GroupKind{Group: appsv1.GroupName, Kind: "Deployment"}, Name: name})
		}
	case chain[0].Kind == "Job":
		if name, ok := scheduled(chain[0].Name); ok {
			chain = append(chain, Owner{GroupKind: schema.GroupKind{Group: batchv1.GroupName, Kind: "CronJob"}, Name: name})
		}
	}
	return chain
}

// scheduled takes the minute off the name of a cron job's job. Minutes have had eight
// digits since 1989 and will have until 2160.
func scheduled(job string) (cronJob string, ok bool) {
	i := strings.LastIndexByte(job, '-')
	if i <= 0 || len(job)-i-1 != 8 {
		return "", false
	}
	_, err := strconv.ParseUint(job[i+1:], 10, 32)
	return job[:i], err == nil
}

func (o *Owners) chain(ctx context.Context, namespace string, ref *metav1.OwnerReference) []Owner {
	var chain []Owner
	// Chains are two or three long; the bound guards against references in a circle.
	for range 8 {
		if ref == nil {
			break
		}
		n := o.node(ctx, namespace, ref)
		chain = append(chain, n.owner)
		ref = n.above
	}
	return chain
}

// Err says why a controller could not be read, if one could not.
func (o *Owners) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *Owners) node(ctx context.Context, namespace string, ref *metav1.OwnerReference) *node {
	o.mu.Lock()
	n := o.known[ref.UID]
	o.mu.Unlock()
	if n != nil {
		return n
	}
	gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	n = &node{owner: Owner{GroupKind: gvk.GroupKind(), Name: ref.Name, UID: ref.UID}}
	obj, err := o.get(ctx, gvk, namespace, ref.Name)
	switch {
	case err == nil && obj.GetUID() == ref.UID:
		n.owner.Labels = obj.GetLabels()
		n.above = metav1.GetControllerOf(obj)
	case err == nil || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || meta.IsNoMatchError(err):
		// Gone, or not ours to see: what the reference says is all there is to know.
	default:
		return n // a failure of the moment: asked again at the next change
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil && !apierrors.IsNotFound(err) {
		o.err = err
	}
	o.known[ref.UID] = n
	return n
}

func (o *Owners) get(ctx context.Context, gvk schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	gvr, err := o.resource(gvk)
	if err != nil {
		return nil, err
	}
	return o.client.Resource(gvr).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
}

// resource finds the plural of a kind, without discovery where it is a usual one.
func (o *Owners) resource(gvk schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	for _, k := range kinds {
		if k.Kind == gvk.Kind && k.Group == gvk.Group {
			return k.GroupVersionResource, nil
		}
	}
	mapping, err := o.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return schema.GroupVersionResource{}, fmt.Errorf("find the resource of %s: %w", gvk.Kind, err)
	}
	return mapping.Resource, nil
}

// discover finds a kind by any of the words that the cluster knows it by: plural,
// singular or short name, with the group behind a dot or without.
func (o *Owners) discover(word string) (Known, error) {
	gvr, err := o.mapper.ResourceFor(schema.ParseGroupResource(word).WithVersion(""))
	if err != nil {
		return Known{}, err
	}
	gvk, err := o.mapper.KindFor(gvr)
	if err != nil {
		return Known{}, err
	}
	return Known{GroupVersionResource: gvr, Kind: gvk.Kind}, nil
}
