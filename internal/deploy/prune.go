package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kept is an object that was not removed, and why.
type Kept struct {
	Object string // "Kind/name"
	Why    string
}

// Pruned says what Prune did.
type Pruned struct {
	Removed []string // "Kind/name"
	Going   []Kept   // their deletion was accepted and waits for finalizers
	Kept    []Kept   // left the manifests, and stay in the set
	Unseen  []string // of the set, what this user may not list: "Secret in namespace shop"
	Volumes []string // claims of StatefulSets that were removed, as KeptVolumes of a DownReport
}

// Prune is [Deployer.PruneReport] without what was kept.
func (d *Deployer) Prune(ctx context.Context, objects []*Object) ([]string, error) {
	pruned, err := d.PruneReport(ctx, objects)
	if pruned == nil {
		return nil, err
	}
	return pruned.Removed, err
}

// PruneReport removes what is in the set but not among objects, the whole render:
// call it when the rollout of that render is ready. It never removes a
// Namespace, a volume claim, a CRD that has instances, what carries
// kdev.dev/keep or helm's word for it, what a controller owns, nor a ConfigMap or Secret that a pod still reads.
func (d *Deployer) PruneReport(ctx context.Context, objects []*Object) (*Pruned, error) {
	cm, err := d.parent(ctx)
	if err != nil || cm == nil {
		return nil, err
	}
	wanted := map[objectKey]bool{}
	left := members{map[schema.GroupKind]bool{}, map[string]bool{}}
	for _, o := range Copy(objects) {
		t, err := d.target(o)
		if err != nil {
			return nil, err
		}
		wanted[t.key] = true
		left.add(t.key, d.options.Namespace)
	}
	d.jobs.keep(wanted)
	d.data.forget(slices.DeleteFunc(slices.Clone(objects), func(o *Object) bool { return !isRerolled(o) || o.Hook != nil || d.elsewhere(o) }))
	have := parseMembers(cm.Annotations)
	all, hidden, err := d.visible(ctx, have.union(left))
	if err != nil {
		return nil, err
	}
	pruned := &Pruned{}
	for _, u := range hidden {
		// Something may be there: it is for who may look at it.
		left.add(objectKey{GroupKind: u.gk, namespace: u.namespace}, d.options.Namespace)
		if have.kinds[u.gk] {
			pruned.Unseen = append(pruned.Unseen, u.String())
		}
	}
	var going []member
	readers := d.readers(ctx)
	for _, m := range all {
		if wanted[m.key] {
			continue
		}
		why, err := d.precious(ctx, m, readers)
		if err != nil {
			return pruned, err
		}
		if why != "" {
			pruned.Kept = append(pruned.Kept, Kept{m.label(), why})
			left.add(m.key, d.options.Namespace)
			continue
		}
		going = append(going, m)
	}
	if pruned.Volumes, err = d.keepVolumes(ctx, going); err != nil {
		return pruned, err
	}
	for _, m := range going {
		if err := d.delete(ctx, m); err != nil {
			return pruned, err
		}
		if len(m.GetFinalizers()) > 0 { // before a deletion in the foreground added its own
			pruned.Going = append(pruned.Going, Kept{m.label(), "it is being deleted and waits for " + waitsFor(m)})
			continue
		}
		pruned.Removed = append(pruned.Removed, m.label())
	}
	// Only what is surely empty leaves the parent: an object that is still
	// terminating is found again by the next prune or down.
	for _, m := range going {
		left.add(m.key, d.options.Namespace)
	}
	first := !d.installed && slices.ContainsFunc(objects, func(o *Object) bool { return o.Hook != nil })
	d.installed = d.installed || first
	if first || d.data.changed() || !left.equal(have) {
		return pruned, d.writeParent(ctx, left)
	}
	return pruned, nil
}

// precious says why an object is not removed although it left the manifests.
func (d *Deployer) precious(ctx context.Context, m member, readers func(objectKey) (string, error)) (string, error) {
	switch {
	case keeps(m.Unstructured) != "":
		return keeps(m.Unstructured), nil
	case metav1.GetControllerOf(m) != nil:
		owner := metav1.GetControllerOf(m)
		return "it belongs to " + owner.Kind + "/" + owner.Name, nil
	case m.key.GroupKind == claimKind:
		return "it holds data", nil
	case isMadeUp(m.Unstructured):
		return "its values were made up and may lock a volume", nil
	case m.key.GroupKind == namespaceKind:
		return "other objects may live in it", nil
	case m.key.GroupKind == crdKind:
		instance, err := d.instance(ctx, m)
		if err != nil {
			return "", err
		}
		if instance != "" {
			return "there are instances of it: " + instance, nil
		}
	case m.key.GroupKind == schema.GroupKind{Kind: "ConfigMap"}, m.key.GroupKind == schema.GroupKind{Kind: "Secret"}:
		pod, err := readers(m.key)
		if err != nil {
			return "", err
		}
		if pod != "" {
			return "pod " + pod + " still reads it", nil
		}
	}
	return "", nil
}

// keeps says why an object stays by its own word, "" where it says nothing. A chart's word
// for helm counts (helm.sh/docs, "Tell Helm Not To Uninstall a Resource").
func keeps(u *unstructured.Unstructured) string {
	switch annotations := u.GetAnnotations(); {
	case annotations[keepAnnotation] != "" && annotations[keepAnnotation] != "false":
		return "it carries " + keepAnnotation
	case strings.EqualFold(strings.TrimSpace(annotations[helmKeepAnnotation]), "keep"):
		return "it carries " + helmKeepAnnotation + ": keep"
	}
	return ""
}

// instance names one instance of a CRD anywhere in the cluster, "" when there is none.
func (d *Deployer) instance(ctx context.Context, crd member) (string, error) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		if served, _ := version["served"].(bool); !served || name == "" {
			continue
		}
		list, err := d.client.Dynamic.Resource(schema.GroupVersionResource{Group: group, Version: name, Resource: plural}).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return "", d.apiProblem(err, crd.label(), "")
		}
		if len(list.Items) == 0 {
			return "", nil
		}
		return fmt.Sprintf("%s in namespace %s", list.Items[0].GetName(), orElse(list.Items[0].GetNamespace(), "(none)")), nil
	}
	return "", nil
}

// readers answers which pod of a namespace reads a ConfigMap or Secret. The pods
// are listed at the first question.
func (d *Deployer) readers(ctx context.Context) func(objectKey) (string, error) {
	type read struct{ kind, namespace, name string }
	pods := map[read]string{}
	listed := map[string]bool{}
	return func(key objectKey) (string, error) {
		if !listed[key.namespace] {
			list, err := d.client.Core.CoreV1().Pods(key.namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return "", d.apiProblem(err, "Pods", "")
			}
			listed[key.namespace] = true
			for i := range list.Items {
				for _, ref := range dataRefs(&list.Items[i].Spec) {
					pods[read{ref.Kind, key.namespace, ref.Name}] = list.Items[i].Name
				}
			}
		}
		return pods[read{key.Kind, key.namespace, key.name}], nil
	}
}
