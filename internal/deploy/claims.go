package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// setLabel is on a volume claim that stays while what made it goes: the id of the set that
// it is of. It is not the ApplySet's own label: the claim is no member, so no prune sees it.
const setLabel = "kdev.dev/set"

var claimResource = corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")

// foundClaims are the volume claims that a down meets.
type foundClaims struct {
	ours    []member
	others  []Kept   // have the names of ours, and may be another set's
	unseen  []string // namespaces whose claims this user may not list
	limited bool     // this user may not look in namespaces that nothing names
}

// claims finds the PersistentVolumeClaims of the set: its own, those that StatefulSets
// among all made, which carry no label of the set, and those that a down or a prune left,
// in whatever namespace. The namespaces of all are looked through, and further ones.
func (d *Deployer) claims(ctx context.Context, all []member, further map[string]bool) (*foundClaims, error) {
	namespaces := map[string]bool{d.options.Namespace: true}
	for ns := range further {
		namespaces[ns] = true
	}
	for _, m := range all {
		if ns := m.GetNamespace(); ns != "" {
			namespaces[ns] = true
		}
	}
	found, prefixes, seen := &foundClaims{}, claimPrefixes(all), map[types.UID]bool{}
	look := func(ns string, o metav1.ListOptions) error {
		list, err := d.client.Dynamic.Resource(claimResource).Namespace(ns).List(ctx, o)
		if err != nil {
			return err
		}
		for i := range list.Items {
			if c := d.memberOf(&list.Items[i], claimKind, claimResource); !seen[c.GetUID()] {
				seen[c.GetUID()] = true
				d.assign(found, c, madeBy(prefixes, c.GetNamespace()+"/"+c.GetName()))
			}
		}
		return nil
	}
	for ns := range namespaces {
		err := look(ns, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			found.unseen = append(found.unseen, ns)
			continue
		}
		if err != nil {
			return nil, d.apiProblem(err, "PersistentVolumeClaim", "")
		}
	}
	err := look("", metav1.ListOptions{LabelSelector: setLabel + "=" + d.id})
	switch {
	case apierrors.IsForbidden(err):
		found.limited = true
	case err != nil:
		return nil, d.apiProblem(err, "PersistentVolumeClaim", "")
	}
	byPlace := func(a, b member) int {
		return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	}
	slices.Sort(found.unseen)
	slices.SortFunc(found.ours, byPlace)
	return found, nil
}

// assign puts a claim where it belongs. made says that it has the name which a StatefulSet of
// the set gives: several sets may have one, by manifests that say their namespace.
func (d *Deployer) assign(found *foundClaims, c member, made bool) {
	labels := c.GetLabels()
	set, home := cmp.Or(labels[partOfLabel], labels[setLabel]), c.GetNamespace() == d.options.Namespace
	switch {
	case set == d.id:
		found.ours = append(found.ours, c)
	case set != "":
		if made {
			found.others = append(found.others, Kept{c.label(), "it is of another set of objects than this one"})
		}
	case labels[projectLabel] == "":
		if made {
			found.ours = append(found.ours, c)
		}
	// An earlier kdev labelled what it kept with the project alone, which is the same for
	// every checkout, environment and run of `kdev ci`.
	case labels[projectLabel] == d.options.Project && home:
		found.ours = append(found.ours, c)
	case made:
		found.others = append(found.others, Kept{c.label(), fmt.Sprintf("an earlier kdev kept it, and does not say for which set; `kubectl delete pvc %s -n %s` removes it and its data", c.GetName(), c.GetNamespace())})
	}
}

// claimPrefixes are what the names of claims begin with that StatefulSets among all make:
// "namespace/template-set-".
func claimPrefixes(all []member) (prefixes []string) {
	for _, m := range all {
		if m.GetKind() != "StatefulSet" {
			continue
		}
		templates, _, _ := unstructured.NestedSlice(m.Object, "spec", "volumeClaimTemplates")
		for _, t := range templates {
			if tm, ok := t.(map[string]any); ok {
				name, _, _ := unstructured.NestedString(tm, "metadata", "name")
				prefixes = append(prefixes, m.GetNamespace()+"/"+name+"-"+m.GetName()+"-")
			}
		}
	}
	return prefixes
}

// madeBy says whether a claim has the name that a StatefulSet gives:
// <template>-<set>-<ordinal>.
func madeBy(prefixes []string, claim string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		ordinal, ok := strings.CutPrefix(claim, p)
		return ok && ordinal != "" && strings.Trim(ordinal, "0123456789") == ""
	})
}

// goesWith says whether the garbage collector takes a claim when a StatefulSet among all
// goes: its persistentVolumeClaimRetentionPolicy wishes that (whenDeleted: Delete).
func goesWith(c member, all []member) bool {
	return slices.ContainsFunc(c.GetOwnerReferences(), func(o metav1.OwnerReference) bool {
		return slices.ContainsFunc(all, func(m member) bool { return m.GetUID() == o.UID })
	})
}

// claim labels a volume claim that stays as the set's: the StatefulSet that it could be
// told by is about to go, and a later `down --volumes` must still find it.
func (d *Deployer) claim(ctx context.Context, c member) error {
	if c.GetLabels()[projectLabel] == d.options.Project && c.GetLabels()[setLabel] == d.id {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{projectLabel: d.options.Project, setLabel: d.id}}})
	if err != nil {
		return err
	}
	_, err = c.resource.Patch(ctx, c.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return d.apiProblem(err, c.label(), "")
	}
	return nil
}

// keepVolumes labels the claims of StatefulSets that are about to be pruned, so that they
// can still be found, and names them.
func (d *Deployer) keepVolumes(ctx context.Context, going []member) (kept []string, err error) {
	sets := slices.DeleteFunc(slices.Clone(going), func(m member) bool { return m.GetKind() != "StatefulSet" })
	prefixes := claimPrefixes(sets)
	if len(prefixes) == 0 {
		return nil, nil
	}
	found, err := d.claims(ctx, sets, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range found.ours {
		if !madeBy(prefixes, c.GetNamespace()+"/"+c.GetName()) || goesWith(c, sets) || c.GetLabels()[partOfLabel] != "" {
			continue // another's, or a member, of which is told with the members
		}
		if err := d.claim(ctx, c); err != nil {
			return kept, err
		}
		kept = append(kept, d.volumeName(c))
	}
	return kept, nil
}

// volumeName is a claim as people are told of it.
func (d *Deployer) volumeName(c member) string {
	if c.GetNamespace() == d.options.Namespace {
		return c.GetName()
	}
	return c.GetNamespace() + "/" + c.GetName()
}

// removeClaims takes the volumes that an earlier down left, and the values that were
// made up for them.
func (d *Deployer) removeClaims(ctx context.Context, o DownOptions, report *DownReport) error {
	found, err := d.claims(ctx, nil, nil)
	if err != nil {
		return err
	}
	if found.limited && len(found.unseen) == 0 || len(found.unseen) > 0 && o.Volumes {
		report.Kept = append(report.Kept, Kept{"volumes of other namespaces than " + d.options.Namespace + ", where there are any",
			"this user may not list the volume claims of the cluster; `kubectl delete pvc` removes those that the down before named"})
	}
	claims := found.ours
	gvr := corev1.SchemeGroupVersion.WithResource("secrets")
	list, err := d.client.Dynamic.Resource(gvr).Namespace(d.options.Namespace).List(ctx, metav1.ListOptions{LabelSelector: partOfLabel + "=" + d.id})
	switch {
	case apierrors.IsForbidden(err):
		return d.remove(ctx, claims, o, report) // who may not see Secrets made none
	case err != nil:
		return d.apiProblem(err, "Secret", "")
	}
	for i := range list.Items {
		if s := &list.Items[i]; isMadeUp(s) {
			claims = append(claims, d.memberOf(s, schema.GroupKind{Kind: "Secret"}, gvr))
		}
	}
	return d.remove(ctx, claims, o, report)
}
