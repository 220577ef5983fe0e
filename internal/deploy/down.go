package deploy

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// DownOptions say what Down may remove beyond the ordinary.
type DownOptions struct {
	Volumes  bool         // PersistentVolumeClaims too
	All      bool         // what carries kdev.dev/keep in the project's namespace too, which was for one run alone
	Progress func(string) // hears what a removal waits for, when it takes long; may be nil
}

// DownReport says what Down did, also beside an error.
type DownReport struct {
	Removed       []string // "Kind/name"
	Left          []Kept   // beside an error: what should have gone and has not, and what it waits for
	KeptVolumes   []string // PersistentVolumeClaims that still hold data: "data-db-0", of another namespace than the project's "NAMESPACE/data-db-0"
	Kept          []Kept   // other objects of the set that stay
	KeptNamespace string   // why the namespace stays; empty when it went or is not kdev's
	Namespace     bool     // the namespace went

	going *removal
}

// Down removes every member of the set, and nothing else, and waits until the
// objects and the pods under them are gone. Claims stay unless asked for, and
// so do what carries kdev.dev/keep, CRDs that have instances of others and namespaces that hold anything.
// The project's namespace goes when kdev made it and nothing of anybody is left
// in it. A second call finds nothing and says so in an empty report; a call
// after one that was cut short goes on.
func (d *Deployer) Down(ctx context.Context, o DownOptions) (*DownReport, error) {
	report := &DownReport{going: &removal{}}
	err := d.through(ctx, func() error {
		report.KeptVolumes, report.Kept = nil, nil // the last attempt knows them all
		report.going.begin()
		return d.downOnce(ctx, o, report)
	})
	report.Removed, report.Left = report.going.outcome()
	if err != nil && ctx.Err() != nil && context.Cause(ctx) == context.DeadlineExceeded {
		err = notGone(report.Left)
	}
	return report, err
}

func (d *Deployer) downOnce(ctx context.Context, o DownOptions, report *DownReport) error {
	cm, err := d.parent(ctx)
	if err != nil {
		return err
	}
	if cm != nil {
		hidden, err := d.removeMembers(ctx, parseMembers(cm.Annotations), o, report)
		if err != nil {
			return err
		}
		if len(hidden.kinds) > 0 {
			return d.leave(ctx, hidden)
		}
		err = d.client.Core.CoreV1().ConfigMaps(d.options.Namespace).Delete(ctx, cm.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return d.apiProblem(err, "ConfigMap/"+cm.Name, "")
		}
	} else if o.Volumes {
		if err := d.removeClaims(ctx, o, report); err != nil {
			return err
		}
	}
	if report.Namespace {
		return nil
	}
	why, err := d.removeNamespace(ctx, d.options.Namespace, o.Progress, nil, nil)
	switch {
	case err != nil:
		return err
	case why == "":
		report.Namespace = true
	case why != notOurs:
		report.KeptNamespace = why
	}
	return nil
}

// leave makes the parent name what this user could not look at, and nothing else: a down of
// somebody who may finds it.
func (d *Deployer) leave(ctx context.Context, hidden members) error {
	d.jobs.read(nil)
	d.data.read(nil)
	d.releases.read(nil)
	d.installed = false
	return d.writeParent(ctx, hidden)
}

// removeMembers removes what the user may list. It returns where of the set there may be more.
func (d *Deployer) removeMembers(ctx context.Context, m members, o DownOptions, report *DownReport) (hidden members, _ error) {
	hidden = members{map[schema.GroupKind]bool{}, map[string]bool{}}
	all, unlisted, err := d.visible(ctx, m)
	if err != nil {
		return hidden, err
	}
	for _, u := range unlisted {
		hidden.add(objectKey{GroupKind: u.gk, namespace: u.namespace}, d.options.Namespace)
		report.Kept = append(report.Kept, Kept{u.String(), "this user may not list it; where kdev made any, it stays, and a `kdev down` of somebody who may removes it"})
	}
	return hidden, d.removeVisible(ctx, m, all, len(unlisted) == 0, o, report)
}

// removeVisible removes all; whole says that these are all of the set, so that its namespace
// may go with them.
func (d *Deployer) removeVisible(ctx context.Context, m members, all []member, whole bool, o DownOptions, report *DownReport) error {
	found, err := d.claims(ctx, all, m.namespaces)
	if err != nil {
		return err
	}
	for _, ns := range found.unseen {
		report.Kept = append(report.Kept, Kept{"volumes in namespace " + ns + ", where there are any", "this user may not list its volume claims"})
	}
	claims := found.ours
	report.Kept = append(report.Kept, found.others...)
	var custom, builtin, namespaces, crds []member
	for _, m := range all {
		switch {
		case isMadeUp(m.Unstructured) && len(found.unseen) > 0, isMadeUp(m.Unstructured) && !o.Volumes && len(claims) > 0:
			report.Kept = append(report.Kept, Kept{m.label(), "its values were made up for the volumes; --volumes takes both"})
		case m.key.GroupKind == claimKind: // with the claims
		case keeps(m.Unstructured) != "" && !(o.All && m.GetNamespace() == d.options.Namespace):
			// It leaves the set as it is: a later down, or somebody else's, has nothing to do with it.
			if err := d.unlabel(ctx, m); err != nil {
				return err
			}
			report.Kept = append(report.Kept, Kept{m.label(), keeps(m.Unstructured)})
		case m.key.GroupKind == namespaceKind:
			namespaces = append(namespaces, m)
		case m.key.GroupKind == crdKind:
			crds = append(crds, m)
		case !scheme.Scheme.IsGroupRegistered(m.key.Group):
			custom = append(custom, m)
		default:
			builtin = append(builtin, m)
		}
	}
	if o.Volumes {
		builtin = append(builtin, claims...)
	} else {
		for _, c := range claims {
			if goesWith(c, all) {
				continue
			}
			if err := d.claim(ctx, c); err != nil {
				return err
			}
			report.KeptVolumes = append(report.KeptVolumes, d.volumeName(c))
		}
	}
	report.going.expect(slices.Concat(custom, builtin))
	// Instances of CRDs go first, while a controller that is a member too can
	// still take their finalizers off.
	if err := d.remove(ctx, custom, o, report); err != nil {
		return err
	}
	if whole {
		if builtin, err = d.removeWithNamespace(ctx, builtin, o, report); err != nil {
			return err
		}
	}
	if err := d.remove(ctx, builtin, o, report); err != nil {
		return err
	}
	return d.removeFoundations(ctx, crds, namespaces, o, report)
}

// removeWithNamespace deletes the project's namespace at once when kdev made it
// and all that is in it is about to go: the namespace controller deletes by
// collection, which is several times faster than object by object. It returns
// the members that are left to remove.
func (d *Deployer) removeWithNamespace(ctx context.Context, going []member, o DownOptions, report *DownReport) ([]member, error) {
	if len(report.KeptVolumes) > 0 {
		return going, nil
	}
	mine := map[types.UID]bool{}
	for _, m := range going {
		mine[m.GetUID()] = true
	}
	inside := func(m member) bool { return m.GetNamespace() == d.options.Namespace }
	why, err := d.removeNamespace(ctx, d.options.Namespace, o.Progress, mine, func() {
		for _, m := range going {
			if inside(m) {
				report.going.ask(m, "its namespace "+d.options.Namespace+", which is being deleted")
			}
		}
	})
	if err != nil || why != "" {
		return going, err
	}
	report.Namespace = true
	return slices.DeleteFunc(going, func(m member) bool {
		if inside(m) {
			report.going.gone(m)
		}
		return inside(m)
	}), nil
}

// removeFoundations deletes CRDs and namespaces, when they are empty: what lives
// in them or is an instance of them may be somebody else's.
func (d *Deployer) removeFoundations(ctx context.Context, crds, namespaces []member, o DownOptions, report *DownReport) error {
	var empty []member
	for _, m := range crds {
		instance, err := d.instance(ctx, m)
		switch {
		case err != nil:
			return err
		case instance != "":
			report.Kept = append(report.Kept, Kept{m.label(), "there are instances of it: " + instance})
			if err := d.release(ctx, m); err != nil {
				return err
			}
		default:
			empty = append(empty, m)
		}
	}
	if err := d.remove(ctx, empty, o, report); err != nil {
		return err
	}
	for _, m := range namespaces {
		if m.GetName() == d.options.Namespace {
			continue // the very last, with the parent
		}
		report.going.expect([]member{m})
		why, err := d.removeNamespace(ctx, m.GetName(), o.Progress, nil, func() { report.going.ask(m, "") })
		if why != "" {
			report.going.spare(m)
		}
		switch {
		case err != nil:
			return err
		case why == "":
			report.going.gone(m)
		default:
			report.Kept = append(report.Kept, Kept{m.label(), why})
			if err := d.release(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove deletes objects side by side and waits until they are gone.
func (d *Deployer) remove(ctx context.Context, going []member, o DownOptions, report *DownReport) error {
	report.going.expect(going)
	err := each(going, func(m member) error {
		if err := d.delete(ctx, m); err != nil {
			return err
		}
		report.going.ask(m, "")
		return nil
	})
	if err != nil {
		return err
	}
	return d.awaitEach(ctx, going, o.Progress, report.going)
}

// release gives up the fields of an object that stays, the set's label among them.
func (d *Deployer) release(ctx context.Context, m member) error {
	bare := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": m.GetAPIVersion(), "kind": m.GetKind(), "metadata": map[string]any{"name": m.GetName()},
	}}
	if m.key.GroupKind == crdKind {
		// Its spec cannot be given up without breaking it; only the label goes.
		return d.unlabel(ctx, m)
	}
	_, err := m.resource.Apply(ctx, m.GetName(), bare, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil && !apierrors.IsNotFound(err) {
		return d.apiProblem(err, m.label(), "")
	}
	return nil
}

func (d *Deployer) unlabel(ctx context.Context, m member) error {
	patch := []byte(fmt.Sprintf(`{"metadata":{"labels":{%q:null}}}`, partOfLabel))
	_, err := m.resource.Patch(ctx, m.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return d.apiProblem(err, m.label(), "")
	}
	return nil
}
